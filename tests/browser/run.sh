#!/usr/bin/env bash
# Fail-over of a real browser: a call over the local cluster, its relay killed, measured until data flows again.
#
#   tests/browser/run.sh chromium|firefox [--build-profile dev|release] [--bin DIR] [--lanes a|ab] [--notice ice|gap] [--verbose]
#
#   --lanes a      use only the first of the credential's two names: DNS steering alone must save the call (default)
#   --lanes ab     use both names, as an app would
#   --notice gap   repair after half a second without data, instead of waiting for ICE's `disconnected`
#   --bin DIR      take local-cluster, turnd and dnsd from DIR instead of building them
#
# Cluster, resolver and browser run in a network namespace of their own, which is removed with all that runs in it.
# Without the tools it needs the test is skipped (exit 0), or fails where TURNFLEET_REQUIRE_TOOLS=1.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
browser=${1:-}
profile=dev bin=
pass=()
usage() { sed -n '2,13s/^# \{0,1\}//p' "$0" >&2; exit 2; }
case $browser in chromium) program=chromium ;; firefox) program=firefox-esr ;; *) usage ;; esac
shift
while (($#)); do
    case $1 in
        --build-profile | --bin | --lanes | --notice) [[ $# -ge 2 ]] || usage ;;&
        --build-profile) profile=$2; shift 2 ;;
        --bin) bin=$(cd "$2" && pwd); shift 2 ;;
        --lanes | --notice) pass+=("$1" "$2"); shift 2 ;;
        --verbose) pass+=("$1"); shift ;;
        *) usage ;;
    esac
done

skip() {
    echo "SKIP $browser failover: $1"
    [[ ${TURNFLEET_REQUIRE_TOOLS:-} != 1 ]] || exit 1
    exit 0
}
for tool in "$program" unbound ip node npm; do
    command -v "$tool" >/dev/null || skip "$tool not installed"
done
root=()
if [[ $EUID -ne 0 ]]; then
    root=(sudo -n)
    "${root[@]}" true 2>/dev/null || skip "network namespaces need root"
fi

cd "$here"
if [[ ! node_modules/.package-lock.json -nt package-lock.json ]]; then
    PUPPETEER_SKIP_DOWNLOAD=1 npm ci --ignore-scripts --no-audit --no-fund --loglevel=error || skip "npm could not install puppeteer-core"
fi
if [[ -z $bin ]]; then
    cargo build --quiet --profile "$profile" -p local-cluster -p turnd -p dnsd
    target=$(cargo metadata --format-version 1 --no-deps | node -p 'JSON.parse(require("fs").readFileSync(0)).target_directory')
    bin=$target/${profile/#dev/debug}
fi

work=$(mktemp -d)
ns=turnfleet-browser-$$
cleanup() {
    trap '' INT TERM
    # Whatever is still in the namespace was started here: first the chance to end, then the end.
    for signal in TERM KILL; do
        for _ in {1..20}; do
            pids=$("${root[@]}" ip netns pids "$ns" 2>/dev/null) || pids=
            [[ -n $pids ]] || break
            # shellcheck disable=SC2086
            "${root[@]}" kill -$signal $pids 2>/dev/null || true
            sleep 0.1
        done
    done
    "${root[@]}" ip netns del "$ns" 2>/dev/null || true
    "${root[@]}" rm -rf "$work" "/etc/netns/$ns"
    "${root[@]}" rmdir --ignore-fail-on-non-empty /etc/netns 2>/dev/null || true
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"${root[@]}" mkdir -p "/etc/netns/$ns"
echo "nameserver 127.0.0.53" | "${root[@]}" tee "/etc/netns/$ns/resolv.conf" >/dev/null
"${root[@]}" ip netns add "$ns"
"${root[@]}" ip -n "$ns" link set lo up
# Browsers gather candidates only where there is an interface with a route to the world: one that leads nowhere will do.
"${root[@]}" ip -n "$ns" link add up0 type veth peer name down0
"${root[@]}" ip -n "$ns" address add 10.97.0.2/24 dev up0
"${root[@]}" ip -n "$ns" link set up0 up
"${root[@]}" ip -n "$ns" link set down0 up
"${root[@]}" ip -n "$ns" route add default via 10.97.0.1 dev up0

"${root[@]}" ip netns exec "$ns" timeout --kill-after=10 240 node failover.mjs "$browser" --bin "$bin" --work "$work" "${pass[@]}" &
wait $!
