#!/usr/bin/env bash
# Runs every fuzz target of the data plane for FUZZ_SECONDS (30), as many at once as there are cores.
#
# It fails when a target crashes, and also when fuzzing would only seem to happen: a parser that no
# target names, a target without seeds, or one whose coverage does not grow beyond its seeds'.
set -euo pipefail
cd "$(dirname "$0")/../dataplane"

readonly SECONDS_EACH=${FUZZ_SECONDS:-30}
# Stable Rust has no sanitizer; parsers have no unsafe code, so panics and hangs are what is looked for.
readonly SANITIZER=(-s none)
kept=$(cd .. && pwd)/artifacts/fuzz
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$kept"

failed=0
complain() {
    echo "fuzz: $*" >&2
    failed=$((failed + 1))
}

mapfile -t targets < <(cargo fuzz list)
[ ${#targets[@]} -gt 0 ] || {
    echo "fuzz: no targets" >&2
    exit 1
}

# A parser is a file that reads bytes from outside into a checked view.
while read -r parser; do
    name=$(basename "$parser" .rs)
    [ "$name" = mod ] && name=$(basename "$(dirname "$parser")")
    grep -rqiw -- "$name" fuzz/fuzz_targets || complain "$parser has no target that names '$name'"
done < <(grep -lrE 'pub fn (parse|classify|packets|header_len)\b' src/wire src/codec --include='*.rs')

cargo fuzz build "${SANITIZER[@]}"
host=$(rustc -vV | sed -n 's/^host: //p')
binaries=${CARGO_TARGET_DIR:-fuzz/target}/$host/release

# number FIELD EVENT FILE: the number behind "FIELD:" on the last line of libFuzzer's EVENT.
number() { grep -E "^#[0-9]+[[:space:]]+$2" "$3" | tail -n 1 | grep -oE "$1: [0-9]+" | grep -oE '[0-9]+' || true; }

run_one() {
    local target=$1
    mkdir -p "$work/$target" "$kept/$target"
    # A fresh corpus each time: growth is measured from the seeds.
    "$binaries/$target" -max_total_time="$SECONDS_EACH" -timeout=5 -rss_limit_mb=2048 -max_len=4096 \
        -artifact_prefix="$kept/$target/" "$work/$target" "fuzz/seeds/$target" \
        </dev/null >"$work/$target.log" 2>&1 || echo crashed >"$work/$target.crashed"
}

passed=0
for target in "${targets[@]}"; do
    if [ -z "$(find "fuzz/seeds/$target" -type f 2>/dev/null | head -n 1)" ]; then
        complain "$target has no seeds in dataplane/fuzz/seeds/$target"
        continue
    fi
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n || true; done
    run_one "$target" &
done
wait

for target in "${targets[@]}"; do
    log=$work/$target.log
    [ -e "$log" ] || continue
    before=$(number ft INITED "$log") after=$(number ft DONE "$log")
    if [ -e "$work/$target.crashed" ]; then
        tail -n 40 "$log" >&2
        complain "$target: a finding, kept in artifacts/fuzz/$target"
    elif [ -z "$before" ] || [ -z "$after" ] || [ "$after" -le "$before" ]; then
        tail -n 5 "$log" >&2
        complain "$target: coverage did not grow (${before:-?} to ${after:-?} features)"
    else
        passed=$((passed + 1))
        echo "fuzz: $target: $before to $after features, $(grep -oE '^Done [0-9]+ runs' "$log" || true)"
    fi
done
echo "fuzz: $passed targets passed, $failed failed"
[ $failed = 0 ]
