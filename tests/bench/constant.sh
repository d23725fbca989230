#!/usr/bin/env bash
# What a name server's work is while relays die: with one name server and with three that vote, half of
# two hundred relays killed or hanging.
#
# Builds with optimizations, then measures for ten minutes. Needs root (network namespaces) and 4 GB.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --quiet --release --locked -p turnd -p dnsd -p local-cluster -p cluster-tests \
    --bin turnd --bin dnsd --bin local-cluster --bin constant
bin=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
export TURNFLEET_BINARIES="$bin/release"
worst=0
for nameservers in 1 3; do
    for end in killed stopped; do
        "$bin/release/constant" --nameservers "$nameservers" --end "$end" "$@" || worst=1
    done
done
exit "$worst"
