#!/usr/bin/env bash
# What changes of the relays' health cost those who ask: the latency of answers while all is quiet, and
# while relays leave and come back without end.
#
#   tests/bench/changes.sh                          all of it: eight minutes
#   tests/bench/changes.sh --rounds 3 --seconds 3   quicker, and less sure
#   tests/bench/changes.sh --relays 200 --zones signed
#
# One dnsd on the first core, with one thread that answers, is asked at a fixed rate by dnsperf on the
# second one. Its relays report at a steady rate (10,000 times a minute) and answer its probes; in every
# second round each report says that its relay drains, is full, or serves again. The zone is unsigned
# first, then signed and asked with DNSSEC.
#
# Prints medians over the rounds, with the least and the most:
#   p50, p99      latency, microseconds
#   us/query      CPU time of the thread that answers
#   others, ms/s  CPU time of all other threads of dnsd
#   changes/s     verdicts that changed, as dnsd logs them: no more than relays report
#   published/s   how often answers were compiled, as its metrics count
#
# Needs dnsperf and curl. Everything stays on loopback, and everything started is ended by its process
# id. Ends with 1 where the changes move the 99th percentile by more than a tenth.
set -euo pipefail
cd "$(dirname "$0")/../.."
export LC_ALL=C

seconds=15 rounds=7 rate=20000 relays=48 changes=10000 zones="unsigned signed" ip=127.0.89.1 first=127.0.90.1
while [ $# -gt 0 ]; do
    case $1 in
        --seconds) seconds=$2; shift 2 ;;
        --rounds) rounds=$2; shift 2 ;;
        --rate) rate=$2; shift 2 ;;
        --relays) relays=$2; shift 2 ;;
        --changes) changes=$2; shift 2 ;;
        --zones) zones=$2; shift 2 ;;
        -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"; exit ;;
        *) echo "no such option: $1" >&2; exit 2 ;;
    esac
done
for tool in dnsperf curl; do
    command -v "$tool" >/dev/null || { echo "$tool is missing" >&2; exit 1; }
done

cargo build --quiet --release --locked -p dnsd -p turnd -p cluster-tests --bin dnsd --bin turnd --bin health_changes
bin=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release
dir=$(mktemp -d)
key="a key of thirty-two bytes at least" secret="a secret for benchmarks only"
declare -A pid
end() {
    kill "${pid[$1]}" 2>/dev/null || true
    wait "${pid[$1]}" 2>/dev/null || true
    unset "pid[$1]"
}
stop() {
    local one
    for one in "${!pid[@]}"; do end "$one"; done
    rm -rf "$dir"
}
trap stop EXIT

# One turnd answers the probes of all relays: it listens at all their addresses.
cat >"$dir/turnd.toml" <<-EOF
	[relay]
	id = "all"
	realm = "turn.example"
	zone = "turn.example"
	listen = ["0.0.0.0:3588"]
	relay_addresses = ["$first"]
	workers = 1
	[secrets]
	current = "$secret"
	[peers]
	allow = ["127.0.0.0/8"]
	[admin]
	listen = "$first:9741"
EOF
taskset -c 1 "$bin/turnd" run --config "$dir/turnd.toml" >"$dir/turnd.log" 2>&1 &
pid[turnd]=$!

for name in turn.example a.turn.example b.turn.example udp.turn.example eu.turn.example us.turn.example; do
    echo "$name A"
done >"$dir/queries"

configure() { # zone
    cat <<-EOF
	[node]
	id = "ns1"
	listen = ["$ip:5400"]
	reports = "$ip:5401"
	probe_address = ["$ip"]
	control = "$dir/$1/control"
	admin = "$ip:5402"
	state = "$dir/$1/state"
	workers = 1
	[zone]
	name = "turn.example"
	contact = "hostmaster.turn.example"
	nameservers = [{ name = "ns1", addresses = ["$ip"] }]
	[dns]
	responses_per_second = 0
	[secrets]
	current = "$secret"
	[[keys]]
	id = 1
	key = "$key"
	[[regions]]
	id = "eu"
	default = true
	fallback = ["us"]
	[[regions]]
	id = "us"
	fallback = ["eu"]
	EOF
    if [ "$1" = signed ]; then printf '[dnssec]\nkeys = "%s"\n' "$dir/signed/keys"; fi
    local relay
    for relay in $(seq 0 $((relays - 1))); do
        cat <<-EOF
	[[relays]]
	id = "relay-$((relay + 1))"
	region = "$([ $((relay / 8 % 2)) = 0 ] && echo eu || echo us)"
	zone = "zone-$((relay / 16))"
	vendor = "vendor-$((relay / 2 % 4))"
	addresses = ["${first%.*}.$((${first##*.} + relay)):3588"]
	keys = [1]
	EOF
    done
}

# Starts dnsd and its relays' reports; returns when all relays are up.
start() { # zone
    mkdir -p "$dir/$1"
    configure "$1" >"$dir/$1/dnsd.toml"
    if [ "$1" = signed ]; then
        mkdir -m 700 "$dir/signed/keys"
        "$bin/dnsd" key generate --config "$dir/signed/dnsd.toml" >/dev/null
    fi
    taskset -c 0 "$bin/dnsd" run --config "$dir/$1/dnsd.toml" >"$dir/$1/log" 2>&1 &
    pid[dnsd]=$!
    taskset -c 1 "$bin/health_changes" "$ip:5401" "$key" "$first:3588" \
        --relays "$relays" --rate $((changes / 60)) --seconds 3600 &
    pid[reports]=$!
    local up
    for _ in $(seq 200); do
        up=$(metric 'relay_verdict\{.*state="up"' || true)
        if [ "${up:-0}" = "$relays" ]; then return; fi
        sleep 0.1
    done
    echo "of $relays relays ${up:-0} are up:" >&2
    tail -n 5 "$dir/$1/log" "$dir/turnd.log" >&2
    return 1
}

# The sum of all metrics of dnsd that a pattern fits.
metric() {
    curl -s "http://$ip:5402/metrics" | awk -v pattern="^turnfleet_dnsd_$1" '$0 ~ pattern { sum += $NF } END { print sum }'
}

# CPU time so far, in nanoseconds: of the thread that answers, and of all others.
cpu() {
    local task own=0 others=0 spent
    for task in /proc/"${pid[dnsd]}"/task/*; do
        read -r spent _ <"$task/schedstat" || continue
        case $(cat "$task/comm") in dns-udp-*) own=$((own + spent)) ;; *) others=$((others + spent)) ;; esac
    done
    echo "$own $others"
}

verdicts() { grep -c 'verdict changed' "$dir/$1/log" || true; }

# One round; appends to the results.
ask() { # zone kind
    local own others own_after others_after changed published options=()
    if [ "$1" = signed ]; then options=(-D); fi
    read -r own others < <(cpu)
    changed=$(verdicts "$1")
    published=$(metric answer_publications)
    taskset -c 1 dnsperf -s "$ip" -p 5400 -d "$dir/queries" -l "$seconds" -e "${options[@]}" -T 1 -c 16 -Q "$rate" -v \
        >"$dir/out" 2>&1
    read -r own_after others_after < <(cpu)
    echo $((($(metric answer_publications) - published) / seconds)) >>"$dir/$1/$2.published"
    echo $((($(verdicts "$1") - changed) / seconds)) >>"$dir/$1/$2.changes"
    echo $(((others_after - others) / seconds / 1000000)) >>"$dir/$1/$2.others"
    awk -v spent=$((own_after - own)) '/Queries completed/ { printf "%.2f\n", spent / 1000 / $3 }' \
        "$dir/out" >>"$dir/$1/$2.query"
    awk '/^> / { print $NF }' "$dir/out" | sort -n >"$dir/latencies"
    percentile 50 >>"$dir/$1/$2.p50"
    percentile 99 >>"$dir/$1/$2.p99"
}

percentile() { # of the last round, in microseconds
    awk -v at="$1" '{ all[NR] = $1 } END { print int(all[int((NR * at + 99) / 100)] * 1e6) }' "$dir/latencies"
}

median() { sort -n "$1" | awk '{ all[NR] = $1 } END { printf "%s (%s-%s)", all[int((NR + 1) / 2)], all[1], all[NR] }'; }

echo "$(nproc) cores, $relays relays, $changes changes a minute, $rate queries/s, $seconds s, $rounds rounds, $(uname -r)"
worst=0
for zone in $zones; do
    start "$zone"
    for _ in $(seq "$rounds"); do
        kill -USR2 "${pid[reports]}"
        # Until the last that left is back.
        sleep 1
        ask "$zone" quiet
        kill -USR1 "${pid[reports]}"
        sleep 1
        ask "$zone" changing
    done
    printf '\n%-10s %-18s %-20s %-20s %-18s %-16s %s\n' "$zone" "p50, us" "p99, us" "us/query" "others, ms/s" \
        "changes/s" "published/s"
    for kind in quiet changing; do
        of() { median "$dir/$zone/$kind.$1"; }
        printf '%-10s %-18s %-20s %-20s %-18s %-16s %s\n' "$kind" "$(of p50)" "$(of p99)" "$(of query)" "$(of others)" \
            "$(of changes)" "$(of published)"
    done
    of() { median "$dir/$zone/$1.p99" | cut -d' ' -f1; }
    moved=$((100 * $(of changing) / $(of quiet) - 100))
    echo "p99 moves by $moved %; RSS $(awk '/VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/${pid[dnsd]}/status") MiB"
    if [ "$moved" -gt 10 ]; then worst=1; fi
    end reports
    end dnsd
done
exit "$worst"
