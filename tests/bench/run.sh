#!/usr/bin/env bash
# What relaying costs: turnd beside coturn (where installed), webrtc-rs and bare forwarders.
#
#   tests/bench/run.sh --help
#
# Builds everything with optimizations, then measures for a quarter of an hour unless told to do less.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --quiet --release --locked -p turnd -p cluster-tests \
    --bin turnd --bin bench --bin load --bin forwarder --bin webrtc_turn_server
bin=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
exec "$bin/release/bench" "$@"
