#!/bin/bash
# Has DNSViz judge a signed zone of dnsd, offline: both stand in a network namespace without a way
# out. Exits 1 for anything that it warns of.
# Needs root, and on Debian: apt-get install dnsviz bind9-dnsutils iproute2
#
# dnsd/tests/judges.sh [--bin DIR]    DIR: where dnsd was built, target/debug by default
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=target/debug
if [ "${1:-}" = --bin ]; then bin=$2; fi
dnsd=$(realpath "$bin/dnsd")
for tool in dnsviz dig ip; do
    command -v "$tool" >/dev/null || { echo "missing: $tool" >&2; exit 2; }
done

dir=$(mktemp -d)
space=dnsd-judges-$$
daemon=
finish() {
    if [ -n "$daemon" ]; then kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true; fi
    ip netns delete "$space" 2>/dev/null || true
    rm -rf "$dir"
}
trap finish EXIT
# Two networks that are nobody's special purpose: judges look down on addresses from documentation.
one=45.66.1.1 other=91.77.1.1 one6=2a10:1::1 other6=2a11:1::1
ip netns add "$space"
inside() { ip netns exec "$space" "$@"; }
inside ip link set lo up
for address in $one/24 $other/24; do inside ip address add "$address" dev lo; done
for address in $one6/64 $other6/64; do inside ip address add "$address" dev lo nodad; done
# DNSViz asks nobody as long as there is no way to the world.
inside ip route add default dev lo
inside ip -6 route add default dev lo

cat >"$dir/dnsd.toml" <<END
[node]
id = "ns1"
listen = ["$one:53", "$other:53", "[$one6]:53", "[$other6]:53"]
reports = "$one:5301"
probe_address = ["$one"]
control = "$dir/control"
admin = "127.0.0.1:9153"
state = "$dir/state"
[zone]
name = "turn.example"
contact = "hostmaster.turn.example"
nameservers = [
    { name = "ns1", addresses = ["$one", "$one6"] },
    { name = "ns2", addresses = ["$other", "$other6"] },
]
[dnssec]
keys = "$dir/keys"
[secrets]
current = "the secret of the judged zone"
[[regions]]
id = "eu"
default = true
[[keys]]
id = 1
key = "the key that its relays sign with"
[[relays]]
id = "fra-1"
region = "eu"
zone = "eu-a"
vendor = "alpha"
addresses = ["45.66.2.1:3478"]
keys = [1]
END
mkdir -m 700 "$dir/keys"
"$dnsd" key generate --config "$dir/dnsd.toml"
ip netns exec "$space" "$dnsd" run --config "$dir/dnsd.toml" 2>"$dir/log" &
daemon=$!
for try in $(seq 100); do
    if inside dig @$one +short +tries=1 +time=1 turn.example SOA | grep -q .; then break; fi
    if [ "$try" = 100 ]; then cat "$dir/log" >&2; exit 1; fi
    sleep 0.1
done
ds=$("$dnsd" key ds --config "$dir/dnsd.toml" | sed -n 's/^.*[[:space:]]DS[[:space:]]*//p' | head -1)
echo "DS $ds"

echo "== DNSViz"
inside dnsviz probe -A -a turn.example -x "turn.example:ns1.turn.example=$one,ns2.turn.example=$other" \
    -N "turn.example:ns1.turn.example=$one,ns1.turn.example=[$one6],ns2.turn.example=$other,ns2.turn.example=[$other6]" \
    -D "turn.example:$ds" -o "$dir/probe.json" turn.example
dnsviz grok -l info -r "$dir/probe.json" -o "$dir/grok.json"
grep -oE '"status": "[A-Z_]+"' "$dir/grok.json" | sort | uniq -c
# Its findings, and that there was something to find at all: a chain from the DS record on.
if grep -nE -A12 '"(errors|warnings)"' "$dir/grok.json"; then exit 1; fi
grep -q '"status": "SECURE"' "$dir/grok.json" || { echo "the chain of trust was not found" >&2; exit 1; }
