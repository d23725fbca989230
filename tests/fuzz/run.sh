#!/bin/bash
# Fuzzes everything that reads what strangers send: replays the committed corpora, then looks for
# new inputs. Needs a C++ compiler for libFuzzer, and no other toolchain than the project's own.
#
#   tests/fuzz/run.sh                              every target for a minute, as CI does
#   tests/fuzz/run.sh --seconds 300 peer_filter    one target for longer
#   tests/fuzz/run.sh --executions 100000000 stun_message
#   tests/fuzz/run.sh --profile overnight          every target for an hour, each in two processes
#   tests/fuzz/run.sh --replay FILE TARGET         one input
#   tests/fuzz/run.sh --minimise                   folds what was found into the committed corpora
#
# Two targets run at a time. What a run finds beyond the corpora stays in target/fuzz/found; an
# input that fails is put into target/fuzz/failed, and named.
set -euo pipefail
cd "$(dirname "$0")"
top=$(cd ../.. && pwd)
built=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug
out=$top/target/fuzz
programs=$out/programs

seconds=60 executions=0 processes=1 action=fuzz input='' targets=()
while [ $# -gt 0 ]; do
    case $1 in
        --seconds) seconds=$2; shift 2 ;;
        --executions) executions=$2; seconds=0; shift 2 ;;
        --profile)
            case $2 in
                ci) seconds=60 ;;
                overnight) seconds=3600 processes=2 ;;
                *) echo "no such profile: $2" >&2; exit 2 ;;
            esac
            shift 2 ;;
        --replay) action=replay input=$(realpath "$2"); shift 2 ;;
        --minimise) action=minimise; shift ;;
        -*) echo "no such option: $1" >&2; exit 2 ;;
        *) targets+=("$1"); shift ;;
    esac
done
if [ ${#targets[@]} = 0 ]; then
    for program in src/bin/*.rs; do targets+=("$(basename "$program" .rs)"); done
fi

# Instruments our own packages alone: the rest, and what it took to build it, is that of the
# ordinary build.
build() {
    local bins=() target
    mkdir -p "$programs"
    for target in "${targets[@]}"; do bins+=(--bin "$target"); done
    cat >"$out/rustc" <<-'EOF'
	#!/bin/sh
	exec "$@" -Cpasses=sancov-module \
	    -Cllvm-args=-sanitizer-coverage-level=4 \
	    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	    -Cllvm-args=-sanitizer-coverage-pc-table \
	    -Cllvm-args=-sanitizer-coverage-trace-compares
	EOF
    chmod +x "$out/rustc"
    RUSTC_WORKSPACE_WRAPPER=$out/rustc CARGO_PROFILE_DEV_OPT_LEVEL=3 \
        cargo build --quiet --locked --package fuzz-tests --features engine "${bins[@]}"
    # An ordinary build makes programs of the same names.
    for target in "${targets[@]}"; do cp "$built/$target" "$programs/"; done
}

# The arguments of one target: how long its inputs may be, and the words it is likely to need.
arguments() {
    local target=$1 sample=$top/deploy/config/turnd.toml
    case $target in
        relay_operations) echo -max_len=256 ;;
        configuration)
            # Every key, value and header of the sample.
            grep -oE '"[^"\\]+"|\[+[a-z_.]+\]+|[a-z_]+ = ' "$sample" | sort -u \
                | sed 's/"/\\"/g; s/.*/"&"/' >"$out/$target.dict"
            echo "-max_len=4096 -timeout=10 -dict=$out/$target.dict" ;;
        zone_file | tsig_message) echo "-max_len=2048 -timeout=10" ;;
        *) echo -max_len=512 ;;
    esac
}

# Directories with what a target starts from.
seeds() {
    echo "corpus/$1"
    case $1 in
        configuration) echo "$top/deploy/config $top/turnd/tests/wrong" ;;
    esac
}

fuzz_one() {
    local target=$1 log=$out/$1.log status=0 more=()
    mkdir -p "$out/found/$target" "$out/failed"
    # First what is known, each input alone: a failure here is a regression.
    # shellcheck disable=SC2046
    if ! "$programs/$target" $(find $(seeds "$target") -type f) >"$log" 2>&1; then
        report "$target" "$log"
        return 1
    fi
    # Values compared with each other guide it further, at a third of the speed.
    if [ "$processes" -gt 1 ]; then more+=("-fork=$processes" -use_value_profile=1); fi
    if [ "$seconds" -gt 0 ]; then more+=("-max_total_time=$seconds"); fi
    if [ "$executions" -gt 0 ]; then more+=("-runs=$executions"); fi
    # shellcheck disable=SC2046
    "$programs/$target" $(arguments "$target") "${more[@]}" -print_final_stats=1 -artifact_prefix="$out/failed/$target-" \
        "$out/found/$target" $(seeds "$target") >"$log" 2>&1 || status=$?
    if [ $status != 0 ]; then
        report "$target" "$log"
        return 1
    fi
    awk -v target="$target" '
        / cov: / { for (n = 1; n < NF; n++) { if ($n == "cov:") cov = $(n + 1); if ($n == "ft:") ft = $(n + 1) } }
        / Loaded .* counters/ { for (n = 1; n < NF; n++) if ($n ~ /^\(/) edges = substr($n, 2) }
        /^stat::number_of_executed_units/ { runs = $2 }
        /^stat::average_exec_per_sec/ { rate = $2 }
        /^Done .* runs in/ { spent = $5 }
        /^#[0-9]+: cov: / { runs = substr($1, 2) + 0 }
        END { printf "%-18s %11d executions  %7d/s  %5d s  %6d edges of %d  %6d features\n", target, runs, rate, spent, cov, edges, ft }
    ' "$log"
}

# What failed, and how to see it again.
report() {
    local target=$1 log=$2 file
    file=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
    [ -n "$file" ] || file=$(sed -n 's/^Running: //p' "$log" | tail -1)
    echo "== $target failed" >&2
    grep -a -A3 'panicked at\|^==.*ERROR' "$log" | head -20 >&2 || tail -5 "$log" >&2
    echo "reproducer: $file" >&2
    echo "again:      tests/fuzz/run.sh --replay $file $target" >&2
}

# Keeps what reaches all that was reached, besides the inputs that have a name, which stay: they
# are the usual cases, and those that once failed.
minimise_one() {
    local target=$1 fresh file kept
    fresh=$(mktemp -d "$out/minimise.XXXXXX")
    mkdir -p "$out/found/$target"
    # shellcheck disable=SC2046
    for file in $(find $(seeds "$target") -type f -not -name 'input-*'); do
        cp "$file" "$fresh/named-$(basename "$file")"
    done
    # shellcheck disable=SC2046
    "$programs/$target" $(arguments "$target") -set_cover_merge=1 -use_counters=0 "$fresh" \
        "corpus/$target" "$out/found/$target" >"$out/$target.log" 2>&1
    rm -f "corpus/$target"/input-* "$fresh"/named-*
    for file in "$fresh"/*; do
        [ -e "$file" ] || continue
        kept=$(sha256sum "$file" | cut -c1-12)
        mv "$file" "corpus/$target/input-$kept"
    done
    rmdir "$fresh"
    echo "$target: $(find "corpus/$target" -type f | wc -l) inputs"
}

build
case $action in
    replay) exec "$programs/${targets[0]}" "$input" ;;
    minimise) for target in "${targets[@]}"; do minimise_one "$target"; done; exit ;;
esac

failed=0
for target in "${targets[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge 2 ]; do
        wait -n || failed=1
    done
    fuzz_one "$target" &
done
while [ -n "$(jobs -p)" ]; do
    wait -n || failed=1
    if [ -z "$(jobs -rp)" ]; then break; fi
done
wait || failed=1
exit $failed
