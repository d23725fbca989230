#!/usr/bin/env bash
# What relaying a packet costs: turnd beside coturn (where installed), in alternating rounds.
#
#   tests/bench/relay.sh [--rounds 3] [--seconds 4] [--allocations 32] [--window 4]
#                        [--payloads "160 1200"] [--vias "channel indication"] [--json FILE]
#
# One server runs at a time, on core 0, with one worker; the generator on core 1. The first number
# to look at is CPU time per relayed packet: it holds also where the generator is the slower one.
# On loopback the sender of a packet pays for its reception by the kernel too; both servers alike.
set -euo pipefail

rounds=3 seconds=4 allocations=32 window=4 payloads="160 1200" vias="channel indication" json=
while (($#)); do
    case $1 in
        --rounds | --seconds | --allocations | --window | --payloads | --vias | --json)
            [[ $# -ge 2 ]] || { echo "relay.sh: $1 needs a value" >&2; exit 2; }
            printf -v "${1#--}" %s "$2"
            shift 2
            ;;
        *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done

cd "$(dirname "$0")/../.."
for tool in jq taskset; do
    command -v "$tool" >/dev/null || { echo "relay.sh: $tool is not installed" >&2; exit 1; }
done
servers=(turnd)
if command -v turnserver >/dev/null; then servers+=(coturn); else echo "coturn is not installed: turnd alone"; fi

cargo build --quiet --release -p turnd -p cluster-tests --bin turnd --bin load
bin=$(cargo metadata --format-version 1 --no-deps | jq -r .target_directory)/release
work=$(mktemp -d)
pid=
stop() {
    [[ -n $pid ]] || return 0
    # The second SIGTERM ends a drain; SIGKILL is for one that does not listen.
    for signal in TERM TERM KILL; do
        kill -$signal "$pid" 2>/dev/null || break
        sleep 0.3
    done
    wait "$pid" 2>/dev/null || true
    pid=
}
trap 'stop; rm -rf "$work"' EXIT

address=127.0.83.1 port=34780 secret=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')

cat >"$work/turnd.toml" <<TOML
[relay]
id = "bench-1"
realm = "bench.test"
zone = "bench.test"
listen = ["$address:$port"]
relay_addresses = ["$address"]
relay_ports = "49152-65535"
workers = 1

[secrets]
current = "$secret"

[peers]
allow = ["127.0.0.0/8"]

[limits]
sessions = 10000
sessions_per_user = 10000
bandwidth = "10 Gbit/s"
# The caps of one session stay on, out of reach.
allocation_bandwidth = "100 Gbit/s"
allocation_packets = 100000000
new_peers = 1000000
TOML
chmod 600 "$work/turnd.toml"

start() {
    case $1 in
        turnd) set -- "$bin/turnd" run --config "$work/turnd.toml" ;;
        coturn)
            set -- turnserver -n --no-cli --no-tls --no-dtls --no-tcp --listening-ip=$address --relay-ip=$address \
                --listening-port=$port --min-port=49152 --max-port=65535 --use-auth-secret --static-auth-secret="$secret" \
                --realm=bench.test --allow-loopback-peers --relay-threads=1 --no-multicast-peers --no-stdout-log \
                --log-file=/dev/null --pidfile="$work/coturn.pid" --userdb="$work/coturn.db"
            ;;
    esac
    taskset -c 0 "$@" >"$work/server.log" 2>&1 &
    pid=$!
    for _ in {1..50}; do
        kill -0 "$pid" 2>/dev/null || break
        "$bin/load" "$address:$port" --secret "$secret" --allocations 1 --warmup 0 --seconds 0.05 >"$work/probe.log" 2>&1 && return
        sleep 0.1
    done
    echo "relay.sh: the server did not start:" >&2
    cat "$work/server.log" "$work/probe.log" >&2
    exit 1
}

printf '%-7s %-11s %8s %5s | %12s %11s %9s %8s %9s %7s\n' server via payload round 'us/packet' 'packets/cpu-s' 'packets/s' 'loss %' 'p99 us' 'gen CPU'
for ((round = 1; round <= rounds; round++)); do
    for server in "${servers[@]}"; do
        start "$server"
        for via in $vias; do
            for payload in $payloads; do
                taskset -c 1 "$bin/load" "$address:$port" --secret "$secret" --server-pid "$pid" --via "$via" --payload "$payload" \
                    --allocations "$allocations" --window "$window" --seconds "$seconds" --warmup 1 --json >"$work/one.json"
                jq -c --arg server "$server" --argjson round "$round" '{server: $server, round: $round} + {load: .}' \
                    "$work/one.json" | tee -a "$work/all.jsonl" | jq -r '[.server, .load.via, .load.payload, .round,
                        .load.server.cpu_us_per_packet, .load.server.packets_per_cpu_second, .load.relayed_per_second,
                        .load.loss_percent, .load.rtt_us.p99, .load.generator.percent] | @tsv' |
                    while IFS=$'\t' read -r a b c d e f g h i j; do
                        printf '%-7s %-11s %8s %5s | %12.2f %11.0f %9.0f %8.3f %9s %6.0f%%\n' "$a" "$b" "$c" "$d" "$e" "$f" "$g" "$h" "$i" "$j"
                    done
            done
        done
        stop
    done
done

echo
echo "Medians of $rounds rounds; the ratio is turnd's packets per CPU second over coturn's (above 1: turnd is cheaper)"
jq -s '
    def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
    group_by([.load.via, .load.payload]) | map({
        via: .[0].load.via, payload: .[0].load.payload,
        servers: (group_by(.server) | map({key: .[0].server, value: {
            cpu_us_per_packet: (map(.load.server.cpu_us_per_packet) | median),
            packets_per_cpu_second: (map(.load.server.packets_per_cpu_second) | median),
            packets_per_second: (map(.load.relayed_per_second) | median),
            loss_percent: (map(.load.loss_percent) | median),
            rtt_p99_us: (map(.load.rtt_us.p99) | median),
            rss_per_allocation: (map(.load.server.rss_per_allocation) | max)}}) | from_entries)})
    | map(. + {ratio: (if .servers.coturn and .servers.turnd
        then .servers.turnd.packets_per_cpu_second / .servers.coturn.packets_per_cpu_second else null end)})' \
    "$work/all.jsonl" >"$work/medians.json"
printf '%-11s %8s | %12s %12s %7s | %12s %12s\n' via payload 'turnd us' 'coturn us' ratio 'turnd pkt/s' 'coturn pkt/s'
jq -r '.[] | [.via, .payload, .servers.turnd.cpu_us_per_packet, .servers.coturn.cpu_us_per_packet // "-", .ratio // "-",
    .servers.turnd.packets_per_second, .servers.coturn.packets_per_second // "-"]
    | (.[5:] |= map(numbers |= round)) | map(numbers |= (. * 100 | round / 100)) | @tsv' "$work/medians.json" |
    while IFS=$'\t' read -r a b c d e f g; do
        printf '%-11s %8s | %12s %12s %7s | %12s %12s\n' "$a" "$b" "$c" "$d" "$e" "$f" "$g"
    done
if [[ -n $json ]]; then
    jq --slurpfile runs "$work/all.jsonl" '{medians: ., runs: $runs}' "$work/medians.json" >"$json"
fi
