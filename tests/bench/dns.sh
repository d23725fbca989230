#!/usr/bin/env bash
# What a DNS answer costs: dnsd beside NSD, Knot and gdnsd, on the same zone and the same queries, and
# beside the floor: a responder that only reads and sends, at once (`floor`) or after queries have
# gathered for as long as they do in dnsd (`floor-gather`). gdnsd has records for the steered names, or
# steers them too, by its plugin `weighted` (`gdnsd-weighted`). Each server has one thread on the first
# core; who asks has the second one.
#
#   tests/bench/dns.sh                           all of it: half an hour
#   tests/bench/dns.sh --rounds 3                quicker, and less sure
#   tests/bench/dns.sh --servers "floor dnsd" --mixes "one labels"
#
# Prints medians over the rounds, in which the servers, all started anew, take turns, where they are
# saturated short ones: how dear memory is that the other core wrote changes by the minute on some
# machines, and what is compared has to have had the same of it.
#   saturated   CPU time per query (microseconds) and queries a second, asked by `dns_load` as fast as it
#               answers
#   fixed rate  CPU time per query, median and 99th percentile of the latency (microseconds), asked by
#               dnsperf
#   ratios      of labels that are another with each query, made up (`labels`) or sealed by the fleet
#               (`genuine`), to one name, of steered names to static ones, of signed answers to
#               others, and of dnsd to the others
#   RSS         memory before the last round and after it, MiB
#
# The zone is signed (but gdnsd's, which cannot be): it is asked without DNSSEC and with, by turns.
#
# Needs dnsperf, ldnsutils, nsd, knot and gdnsd (Debian's packages); a server that is missing is left
# out and named. Everything stays on loopback, and everything started is ended by its process id.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C

seconds=1 turns=4 rounds=8 rate=20000 ip=127.0.88.1
servers="floor floor-gather dnsd dnsd-at-once nsd knot gdnsd gdnsd-weighted" mixes="steered static one labels genuine missing"
while [ $# -gt 0 ]; do
    case $1 in
        --seconds) seconds=$2; shift 2 ;;
        --turns) turns=$2; shift 2 ;;
        --rounds) rounds=$2; shift 2 ;;
        --rate) rate=$2; shift 2 ;;
        --servers) servers=$2; shift 2 ;;
        --mixes) mixes=$2; shift 2 ;;
        -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"; exit ;;
        *) echo "no such option: $1" >&2; exit 2 ;;
    esac
done
for tool in dnsperf ldns-signzone; do
    command -v "$tool" >/dev/null || { echo "$tool is missing" >&2; exit 1; }
done

cargo build --quiet --release --locked -p dnsd -p cluster-tests --bin dnsd --bin dns_floor --bin dns_load \
    --bin dns_labels
bin=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release
dir=$(mktemp -d)
declare -A pid port
end() {
    local server
    # Each is a session of its own: the process that was started, and those that it started.
    for server in "${!pid[@]}"; do pkill -s "${pid[$server]}" 2>/dev/null || true; done
    wait 2>/dev/null || true
    pid=()
}
stop() {
    end
    rm -rf "$dir"
}
trap stop EXIT

# One zone for all: what dnsd answers from its relays, the others have as records.
{
    echo "\$TTL 30"
    echo "\$ORIGIN turn.example."
    echo "@ 300 IN SOA ns1 hostmaster 1 60 15 1209600 5"
    echo "@ 300 IN NS ns1"
    echo "ns1 300 IN A 127.0.88.1"
    for name in @ a b '*.a' '*.b' udp tcp www www2 www3 www4; do
        echo "$name IN A 127.0.77.1"
        echo "$name IN A 127.0.77.2"
    done
} >"$dir/zone"
(
    cd "$dir"
    ldns-signzone -f signed zone "$(ldns-keygen -a ECDSAP256SHA256 turn.example)"
)
for name in www www2 www3 www4; do
    echo "$name 30 A 127.0.77.1"
    echo "$name 30 A 127.0.77.2"
done >"$dir/records"

# The queries.
for name in turn.example a.turn.example b.turn.example udp.turn.example; do
    echo "$name A"
done >"$dir/steered"
for name in www www2 www3 www4; do
    echo "$name.turn.example A"
done >"$dir/static"
echo "a.turn.example A" >"$dir/one"
awk 'BEGIN { srand(1); letters = "0123456789abcdefghijklmnopqrstuv"
    for (n = 0; n < 200000; n++) {
        label = ""
        for (i = 0; i < 63; i++) label = label substr(letters, 1 + int(rand() * 32), 1)
        print label (n % 2 ? ".a" : ".b") ".turn.example A"
    } }' >"$dir/labels"
"$bin/dns_labels" "a secret for benchmarks only" turn.example >"$dir/genuine"
awk 'BEGIN { srand(2); for (n = 0; n < 20000; n++) printf "x%08x.turn.example A\n", rand() * 4294967295 }' \
    >"$dir/missing"

configure_dnsd() { # name gather
    mkdir -p "$dir/$1"
    {
        cat <<-EOF
	[node]
	id = "ns1"
	listen = ["$ip:${port[$1]}"]
	reports = "$ip:$((port[$1] + 100))"
	probe_address = ["$ip"]
	control = "$dir/$1/control"
	workers = 1
	[zone]
	name = "turn.example"
	contact = "hostmaster.turn.example"
	nameservers = [{ name = "ns1", addresses = ["$ip"] }]
	records = "$dir/records"
	[dns]
	responses_per_second = 0
	gather = "$2"
	[dnssec]
	keys = "$dir/$1/keys"
	[secrets]
	current = "a secret for benchmarks only"
	[[keys]]
	id = 1
	key = "a key of thirty-two bytes at least"
	[[regions]]
	id = "eu"
	default = true
	EOF
        for relay in 1 2 3 4 5 6; do
            cat <<-EOF
	[[relays]]
	id = "relay-$relay"
	region = "eu"
	zone = "eu-$((relay % 3))"
	vendor = "vendor-$((relay % 3))"
	addresses = ["127.0.77.$relay:3478"]
	keys = [1]
	EOF
        done
    } >"$dir/$1/dnsd.toml"
}

# Starts a server on the first core, in a session of its own.
launch() {
    local server=$1
    shift
    setsid taskset -c 0 "$@" >"$dir/$server.log" 2>&1 &
    pid[$server]=$!
}

start() {
    local server=$1 at=${port[$1]}
    case $server in
        floor) launch floor "$bin/dns_floor" "$ip:$at" ;;
        floor-gather) launch floor-gather "$bin/dns_floor" "$ip:$at" --gather 200 ;;
        dnsd | dnsd-at-once)
            configure_dnsd "$server" "$([ "$server" = dnsd ] && echo 200us || echo 0us)"
            mkdir -m 700 "$dir/$server/keys"
            "$bin/dnsd" key generate --config "$dir/$server/dnsd.toml" >/dev/null
            launch "$server" "$bin/dnsd" run --config "$dir/$server/dnsd.toml"
            for _ in $(seq 100); do [ -S "$dir/$server/control" ] && break; sleep 0.1; done
            "$bin/dnsd" force up region:eu --for 1h --why "a benchmark" --config "$dir/$server/dnsd.toml" >/dev/null
            ;;
        nsd)
            cat >"$dir/nsd.conf" <<-EOF
	server:
	  ip-address: $ip@$at
	  server-count: 1
	  username: ""
	  zonesdir: "$dir"
	  database: ""
	  pidfile: "$dir/nsd.pid"
	  xfrdfile: "$dir/nsd.xfrd"
	  zonelistfile: "$dir/nsd.list"
	  minimal-responses: yes
	  rrl-ratelimit: 0
	zone:
	  name: turn.example
	  zonefile: "$dir/signed"
	remote-control:
	  control-enable: no
	EOF
            launch nsd nsd -d -c "$dir/nsd.conf"
            ;;
        knot)
            mkdir -p "$dir/knot"
            cat >"$dir/knot.conf" <<-EOF
	server:
	  rundir: "$dir/knot"
	  listen: $ip@$at
	  udp-workers: 1
	  tcp-workers: 1
	  background-workers: 1
	database:
	  storage: "$dir/knot"
	zone:
	  - domain: turn.example
	    file: "$dir/signed"
	    zonefile-sync: -1
	    journal-content: none
	EOF
            launch knot knotd -c "$dir/knot.conf"
            ;;
        gdnsd | gdnsd-weighted)
            local etc=$dir/$server/etc
            mkdir -p "$etc/zones" "$dir/$server/run" "$dir/$server/state"
            # It takes the zone's name from the file's.
            sed '/ORIGIN/d' "$dir/zone" >"$etc/zones/turn.example"
            cat >"$etc/config" <<-EOF
	options => {
	  listen => ["$ip:$at"]
	  udp_threads => 1
	  tcp_threads => 1
	  run_dir => "$dir/$server/run"
	  state_dir => "$dir/$server/state"
	}
EOF
            if [ "$server" = gdnsd-weighted ]; then
                # The names that dnsd steers, by its own means: as many addresses for each answer.
                sed -i '/^www/!{/127.0.77.2/d;s/IN A 127.0.77.1/DYNA weighted!pool/}' "$etc/zones/turn.example"
                cat >>"$etc/config" <<-EOF
	plugins => { weighted => {
	  service_types => up
	  multi => true
	  pool => { one => [127.0.77.1, 10], two => [127.0.77.2, 10] }
	} }
EOF
            fi
            launch "$server" gdnsd -c "$etc" start
            ;;
    esac
    for _ in $(seq 50); do
        if dig +short +tries=1 +timeout=1 -p "$at" @"$ip" www.turn.example A | grep -q 127.0.77 \
            || [[ "$server" = floor* ]]; then
            return
        fi
        sleep 0.1
    done
    echo "$server does not answer:" >&2
    tail -5 "$dir/$server.log" >&2
    return 1
}

# CPU time of a server so far, in nanoseconds: of all its threads.
cpu() {
    local process
    for process in $(pgrep -s "${pid[$1]}"); do cat "/proc/$process"/task/*/schedstat 2>/dev/null; done \
        | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

rss() {
    local process
    for process in $(pgrep -s "${pid[$1]}"); do grep VmRSS "/proc/$process/status" || true; done \
        | awk '{ sum += $2 } END { printf "%.1f", sum / 1024 }'
}

# Has a server asked for a while by what follows; prints its CPU time per query and the queries a
# second, and keeps the latencies that dnsperf tells with -v.
ask() { # server, command
    local server=$1 before after
    shift
    before=$(cpu "$server")
    taskset -c 1 "$@" >"$dir/out" 2>&1 || { cat "$dir/out" >&2; return 1; }
    after=$(cpu "$server")
    awk -v spent=$((after - before)) '
        /Queries completed/ { done = $3 }
        /Queries per second/ { rate = $4 }
        /^> / { latency[++n] = $NF }
        END {
            printf "%.3f %.0f\n", spent / 1000 / (done ? done : 1), rate
            for (i = 1; i <= n; i++) print latency[i] >"/dev/stderr"
        }' "$dir/out" 2>"$dir/latencies"
}

percentile() { # of the last run, in microseconds
    sort -n "$dir/latencies" | awk -v at="$1" '{ all[NR] = $1 }
        END { place = int(NR * at / 100); print NR ? int(all[place < 1 ? 1 : place] * 1e6) : "-" }'
}

median() { sort -n | awk '{ all[NR] = $1 } END { printf "%s (%s-%s)", all[int((NR + 1) / 2)], all[1], all[NR] }'; }

present=()
next=5400
for server in $servers; do
    case $server in
        nsd) need=nsd ;; knot) need=knotd ;; gdnsd*) need=gdnsd ;; *) need=true ;;
    esac
    if ! command -v "$need" >/dev/null; then echo "$server is not installed and left out"; continue; fi
    port[$server]=$next
    next=$((next + 1))
    present+=("$server")
done
# Anew for each round: where its memory happens to lie makes a server faster or slower by several
# per cent for as long as it lives.
start_all() {
    local server
    end
    for server in "${present[@]}"; do
        rm -rf "${dir:?}/$server"
        start "$server"
        rss "$server" >"$dir/rss.$server"
    done
}

echo "$(nproc) cores, $seconds s, $rounds rounds, $(uname -r); dnsperf $(dnsperf -h 2>&1 | sed -n 's/.*Version //p')"
for _ in $(seq "$rounds"); do
    start_all
    for _ in $(seq "$turns"); do
        for mix in $mixes; do
            for server in "${present[@]}"; do
                for dnssec in "" -D; do
                    # gdnsd's answers have no signatures, the floor's no more bytes.
                    case $dnssec$server in -Dgdnsd* | -Dfloor*) continue ;; esac
                    results=$dir/$server.$mix$dnssec
                    ask "$server" "$bin/dns_load" "$ip:${port[$server]}" "$dir/$mix" \
                        --milliseconds "$((seconds * 1000 / turns))" ${dnssec:+--dnssec} >"$dir/line"
                    read -r spent reached <"$dir/line"
                    echo "$spent" >>"$results.cpu"
                    echo "$reached" >>"$results.rate"
                done
            done
        done
    done
    for mix in $mixes; do
        for server in "${present[@]}"; do
            results=$dir/$server.$mix
            ask "$server" dnsperf -s "$ip" -p "${port[$server]}" -d "$dir/$mix" -l "$seconds" -e \
                -T 1 -c 16 -t 1 -Q "$rate" -v >"$dir/line"
            read -r spent _ <"$dir/line"
            echo "$spent" >>"$results.slow"
            percentile 50 >>"$results.p50"
            percentile 99 >>"$results.p99"
        done
    done
done
for dnssec in "" -D; do
    for mix in $mixes; do
        printf '\n%s%s\n' "$mix" "${dnssec:+, DO set}"
        printf '%-14s %-24s %-26s' "" "saturated, us/query" "queries/s"
        [ -z "$dnssec" ] && printf '%-24s %-20s %-20s' "$rate/s, us/query" "p50, us" "p99, us"
        echo
        for server in "${present[@]}"; do
            results=$dir/$server.$mix$dnssec
            [ -f "$results.cpu" ] || continue
            of() { median <"$results.$1"; }
            printf '%-14s %-24s %-26s' "$server" "$(of cpu)" "$(of rate)"
            [ -z "$dnssec" ] && printf '%-24s %-20s %-20s' "$(of slow)" "$(of p50)" "$(of p99)"
            echo
        done
    done
done

# What one mix costs beside another, or one server beside another: the median over all turns, which both
# had soon after one another, and the middle half of them.
beside() { # results, results, what they are
    [ -f "$1" ] && [ -f "$2" ] || return
    paste "$1" "$2" | awk '{ print $1 / $2 }' | sort -n | awk -v what="$3" '{ all[NR] = $1 }
        END {
            middle = all[int((NR + 1) / 2)]
            printf "%-44s %.3f times (%.3f to %.3f)\n", what, middle, all[int((NR + 3) / 4)], all[int((3 * NR + 1) / 4)]
        }'
}

printf '\nsaturated, us/query, one mix beside another\n'
for dnssec in "" -D; do
    for server in "${present[@]}"; do
        for pair in "labels one" "genuine one" "steered static"; do
            read -r mix other <<<"$pair"
            beside "$dir/$server.$mix$dnssec.cpu" "$dir/$server.$other$dnssec.cpu" \
                "$server${dnssec:+, DO set}: $mix beside $other" || true
        done
    done
done
printf '\nsaturated, us/query, with DO beside without\n'
for server in "${present[@]}"; do
    for mix in $mixes; do
        beside "$dir/$server.$mix-D.cpu" "$dir/$server.$mix.cpu" "$server: $mix" || true
    done
done
for what in cpu slow; do
    printf '\n%s, us/query, dnsd beside the others\n' "$([ $what = cpu ] && echo saturated || echo "$rate/s")"
    for mix in $mixes; do
        for server in "${present[@]}"; do
            [ "$server" = dnsd ] && continue
            beside "$dir/dnsd.$mix.$what" "$dir/$server.$mix.$what" "$mix: dnsd beside $server" || true
        done
    done
done
printf '\nRSS, MiB\n'
for server in "${present[@]}"; do
    printf '%-14s %s to %s\n' "$server" "$(<"$dir/rss.$server")" "$(rss "$server")"
done
