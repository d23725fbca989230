#!/bin/bash
# Line coverage of what reads untrusted bytes, by the tests of the crates it is in and the corpora
# of the fuzz targets. Prints each file's share and every line that no test reaches; with
# `--check`, fails if there is one.
#
# Needs llvm-profdata and llvm-cov of the same LLVM as rustc's (`rustc -vV`): the Debian package
# llvm-22, or rustup's component llvm-tools.
set -euo pipefail
cd "$(dirname "$0")/.."

watched=(
    turnd/core/src/wire.rs
    turnd/core/src/wire/*.rs
    turnd/core/src/peer_filter.rs
    turnd/core/src/peer_filter/*.rs
    turnd/src/net/stream/frame.rs
    turnd/src/net/stream/proxy.rs
    turnd/src/net/dtls/hello.rs
    dnsd/src/serve/fast/parse.rs
    dnsd/src/serve/transfer/mod.rs
    dnsd/src/serve/transfer/tsig.rs
)
# The packages' own tests, and the replay of the corpora.
suites=(--package turnd-core --package turnd --package dnsd --package fuzz-tests --lib --test scenarios --test corpora)

version=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
tool() {
    local bundled
    bundled=$(rustc --print target-libdir)/../bin/$1
    if [ -x "$bundled" ]; then echo "$bundled"
    elif command -v "$1-$version"; then :
    else
        echo "$1 of LLVM $version is missing: apt install llvm-$version" >&2
        return 1
    fi
}
profdata=$(tool llvm-profdata)
cov=$(tool llvm-cov)

out=$PWD/target/coverage
rm -rf "$out/profiles"
mkdir -p "$out/profiles"
# Our own packages alone: the rest is that of the ordinary build.
printf '#!/bin/sh\nexec "$@" -Cinstrument-coverage\n' >"$out/rustc"
chmod +x "$out/rustc"
export RUSTC_WORKSPACE_WRAPPER=$out/rustc LLVM_PROFILE_FILE=$out/profiles/%m.profraw
programs=()
while read -r program; do
    programs+=(--object "$program")
done < <(cargo test --quiet --locked "${suites[@]}" --no-run --message-format json \
    | jq -r 'select(.executable != null and .profile.test).executable')
cargo test --quiet --locked "${suites[@]}" >"$out/tests.log" 2>&1 \
    || { tail -40 "$out/tests.log" >&2; exit 1; }

"$profdata" merge --sparse "$out/profiles"/*.profraw --output "$out/tests.profdata"
sources=()
for file in "${watched[@]}"; do
    case $file in
        */tests.rs | */vectors.rs | */registries.rs) ;;
        *) sources+=("$PWD/$file") ;;
    esac
done
"$cov" export --format lcov --instr-profile "$out/tests.profdata" "${programs[@]}" \
    --sources "${sources[@]}" >"$out/lines.lcov"

missed=0
awk -F '[:,]' -v top="$PWD/" '
    $1 == "SF" { file = substr($2, length(top) + 1) }
    $1 == "DA" { all[file]++; total++
        if ($3 > 0) { hit[file]++; reached++ } else print "  not reached: " file ":" $2 }
    END {
        for (file in all) printf "%6.2f %%  %4d of %4d lines  %s\n", 100 * hit[file] / all[file], hit[file], all[file], file | "sort -k 7"
        close("sort -k 7")
        printf "%6.2f %%  %4d of %4d lines  altogether\n", 100 * reached / total, reached, total
        exit reached < total
    }' "$out/lines.lcov" || missed=1
if [ "${1-}" = --check ]; then exit $missed; fi
