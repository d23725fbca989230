#!/bin/bash
# Has DNSViz, Zonemaster, drill and delv judge a signed zone of dnsd, offline: all stand in a network
# namespace without a way out, in which NSD is the root and the zone's parent, both signed. One line
# for each judge; exits 1 for anything that one of them warns of.
# Needs root, and on Debian:
# apt-get install dnsviz zonemaster-cli ldnsutils nsd bind9-dnsutils iproute2
#
# dnsd/tests/judges.sh [--bin DIR]    DIR: where dnsd was built, target/debug by default
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=target/debug
if [ "${1:-}" = --bin ]; then bin=$2; fi
dnsd=$(realpath "$bin/dnsd")
for tool in dnsviz zonemaster-cli drill delv ldns-signzone nsd dig ip python3; do
    command -v "$tool" >/dev/null || { echo "missing: $tool" >&2; exit 2; }
done

dir=$(mktemp -d)
space=dnsd-judges-$$
started=()
finish() {
    for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; wait "$process" 2>/dev/null || true; done
    ip netns delete "$space" 2>/dev/null || true
    rm -rf "$dir"
}
trap finish EXIT
# Networks that are nobody's special purpose: judges look down on addresses from documentation.
one=45.66.1.1 other=91.77.1.1 one6=2a10:1::1 other6=2a11:1::1
parent=45.88.1.1 parent6=2a12:1::1
ip netns add "$space"
inside() { timeout 120 ip netns exec "$space" "$@"; }
inside ip link set lo up
for address in $one/24 $other/24 $parent/24; do inside ip address add "$address" dev lo; done
for address in $one6/64 $other6/64 $parent6/64; do inside ip address add "$address" dev lo nodad; done
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
"$dnsd" key ds --config "$dir/dnsd.toml" >"$dir/zone.ds"
ds=$(sed -n 's/^.*[[:space:]]DS[[:space:]]*//p' "$dir/zone.ds" | head -1)
echo "DS $ds"

# The root, the zone's parent, and what tells Zonemaster whose networks these are.
zone() {
    cat <<END
\$ORIGIN $1
\$TTL 3600
$1 SOA ns.example. hostmaster.example. 1 7200 3600 1209600 3600
$1 NS ns.example.
END
}
reverse() { python3 -c 'import ipaddress, sys; print(ipaddress.ip_address(sys.argv[1]).reverse_pointer + ".")' "$1"; }
glue="ns.example. A $parent
ns.example. AAAA $parent6"
{
    zone .
    echo "example. NS ns.example.
asn.example. NS ns.example.
$glue"
    for address in $one $one6; do echo "$(reverse $address) PTR ns1.turn.example."; done
    for address in $other $other6; do echo "$(reverse $address) PTR ns2.turn.example."; done
} >"$dir/root"
{
    zone example.
    echo "$glue
asn NS ns.example.
turn NS ns1.turn
turn NS ns2.turn
ns1.turn A $one
ns1.turn AAAA $one6
ns2.turn A $other
ns2.turn AAAA $other6"
    cat "$dir/zone.ds"
} >"$dir/example"
{
    zone asn.example.
    echo '*.66.45.origin TXT "64496 | 45.66.1.0/24 | ZZ | other | 2020-01-01"
*.77.91.origin TXT "64497 | 91.77.1.0/24 | ZZ | other | 2020-01-01"
*.1.0.0.0.0.1.a.2.origin6 TXT "64496 | 2a10:1::/32 | ZZ | other | 2020-01-01"
*.1.0.0.0.1.1.a.2.origin6 TXT "64497 | 2a11:1::/32 | ZZ | other | 2020-01-01"'
} >"$dir/asn.example"
key() { (cd "$dir" && ldns-keygen -a ECDSAP256SHA256 -k "$1"); }
root_key=$(key .)
example_key=$(key example)
cat "$dir/$example_key.ds" >>"$dir/root"
ldns-signzone -o . -f "$dir/root.signed" "$dir/root" "$dir/$root_key"
ldns-signzone -o example -f "$dir/example.signed" "$dir/example" "$dir/$example_key"
cat >"$dir/nsd.conf" <<END
server:
    ip-address: $parent
    ip-address: $parent6
    username: ""
    chroot: ""
    zonesdir: "$dir"
    pidfile: "$dir/nsd.pid"
    zonelistfile: "$dir/nsd.list"
    database: ""
    xfrdfile: "$dir/nsd.xfrd"
    xfrdir: "$dir"
remote-control:
    control-enable: no
zone:
    name: "."
    zonefile: "root.signed"
zone:
    name: "example"
    zonefile: "example.signed"
zone:
    name: "asn.example"
    zonefile: "asn.example"
END

# Starts a server, and waits until it has a zone at an address.
serve() {
    local zone=$1 address=$2
    shift 2
    ip netns exec "$space" "$@" >"$dir/log" 2>&1 &
    started+=($!)
    for try in $(seq 100); do
        if inside dig "@$address" +short +tries=1 +time=1 "$zone" SOA | grep -q .; then return; fi
        sleep 0.1
    done
    cat "$dir/log" >&2
    exit 1
}
serve example. $parent nsd -d -c "$dir/nsd.conf"
serve turn.example $one "$dnsd" run --config "$dir/dnsd.toml"

failed=0
# What a judge says, on one line, with what it found below if that is not well.
verdict() {
    echo "$1: $2"
    if [ "$2" != well ] && [ "${2#well,}" = "$2" ]; then
        failed=1
        cat "$3"
    fi
}
cd "$dir"

inside dnsviz probe -A -a turn.example -x "turn.example:ns1.turn.example=$one,ns2.turn.example=$other" \
    -N "turn.example:ns1.turn.example=$one,ns1.turn.example=[$one6],ns2.turn.example=$other,ns2.turn.example=[$other6]" \
    -D "turn.example:$ds" -o probe.json turn.example 2>dnsviz || true
dnsviz grok -l info -r probe.json -o grok.json 2>>dnsviz || true
# Its findings, and that there was something to find at all: a chain from the DS record on.
if grep -nE -A12 '"(errors|warnings)"' grok.json >>dnsviz; then
    verdict DNSViz "errors or warnings" dnsviz
elif ! grep -q '"status": "SECURE"' grok.json; then
    verdict DNSViz "the chain of trust was not found" dnsviz
else
    states=$(grep -oE '"status": "[A-Z_]+"' grok.json | sort | uniq -c | awk '{ printf ", %d %s", $1, $3 }' | tr -d '"')
    verdict DNSViz "well$states" dnsviz
fi

echo '{ "asn_db": { "style": "cymru", "sources": { "cymru": ["asn.example"] } } }' >profile.json
echo ". 3600 NS ns.example.
ns.example. 3600 A $parent
ns.example. 3600 AAAA $parent6" >hints
inside zonemaster-cli --hints hints --profile profile.json --level INFO --raw --show-testcase \
    turn.example >zonemaster 2>&1 || true
if grep -qwE 'WARNING|ERROR|CRITICAL|CANNOT_CONTINUE' zonemaster; then
    verdict Zonemaster "warnings or worse" zonemaster
# The tests of DNSSEC come late, those of the zone last.
elif ! grep -qw DS15_HAS_CDS_AND_CDNSKEY zonemaster || ! grep -qw ONE_SOA zonemaster; then
    verdict Zonemaster "it did not come to the end" zonemaster
else
    # What it expects of zones that change seldom, and have mail: the timers and TTLs of this one are short
    # because it is steered, and names for relays get no mail.
    notices=$(awk '$2 == "NOTICE" { printf ", %s", $4 }' zonemaster)
    verdict Zonemaster "well, $(grep -cw INFO zonemaster) findings that are as they should$notices" zonemaster
fi

# Steered names, labels, services, names that are always there, and what is not there.
names=(
    "turn.example SOA" "turn.example NS" "turn.example A" "turn.example DNSKEY" "turn.example CDS" "turn.example NAPTR"
    "label.a.turn.example A" "udp.b.turn.example A" "fra-1.turn.example A" "ns2.turn.example AAAA"
    "_turn._udp.turn.example SRV" "turn.example MX" "label.a.turn.example TXT"
    "nothing.turn.example A" "x.y.z.turn.example AAAA"
)
# Whether a judge finds a text in what it is told about each name.
each() {
    local judge=$1 text=$2 name file
    shift 2
    file=${judge// /-}
    : >"$file"
    for name in "${names[@]}"; do
        # Two words, a name and a type.
        # shellcheck disable=SC2086
        inside "$@" $name >answer 2>&1 || echo "exit code $?" >>answer
        if ! grep -qE "$text" answer || grep -qE '^exit code|^\[[BUS]\]' answer; then
            { echo "-- $name"; cat answer; } >>"$file"
        fi
    done
    if [ -s "$file" ]; then
        verdict "$judge" "$(grep -c '^-- ' "$file") of ${#names[@]} answers not trusted" "$file"
    else
        verdict "$judge" "well, ${#names[@]} answers trusted" "$file"
    fi
}
each "drill -S" '^;; Chase successful' drill -S -k zone.ds "@$one"
each "drill -S by IPv6 and TCP" '^;; Chase successful' drill -S -t -k zone.ds "@$other6"
# Of a name with nothing but names below it `drill -S` wants to see that no wildcard is there, of NSD too.
names+=("_udp.turn.example SRV")
each "drill -TD from the root" '^\[T\] (Existence denied: )?[a-z0-9._-]*turn\.example' drill -TD -r hints -k "$root_key.key"
read -r tag algorithm digest hash <<<"$ds"
echo "trust-anchors { turn.example. static-ds $tag $algorithm $digest \"$hash\"; };" >anchors
each delv 'fully validated' delv "@$one" -a anchors +root=turn.example
exit $failed
