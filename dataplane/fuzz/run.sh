#!/usr/bin/env bash
# Runs every fuzz target for some seconds, from its seeds.
#
#   dataplane/fuzz/run.sh [SECONDS] [TARGET...]
#
# Fails when a parser has no target, a target no seeds, a target finds something, or does not get
# past what its seeds already cover: a target that learns nothing tests nothing. Findings stay in
# artifacts/<target>/ and are printed with the command that repeats them, for a machine may be gone
# before anybody looks.
#
# Without sanitizers, so that the stable toolchain will do; the parsers are safe Rust, where what
# there is to find is a panic, an overflow, an endless loop, or a broken promise of the target.
# RUSTC_BOOTSTRAP=1 with FUZZ_SANITIZER=address adds AddressSanitizer.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:-${FUZZ_SECONDS:-30}}
[ $# -eq 0 ] || shift
readonly seconds SANITIZER=${FUZZ_SANITIZER:-none} CARGO_FUZZ=0.13.2
# No datagram is longer; a target whose seeds are longer gets their length.
readonly INPUT_MAX=2048
# One input may take this many seconds before it counts as an endless loop.
readonly TIMEOUT=5
# Bytes of a finding that are printed: more than the longest seed has.
readonly FINDING_MAX=16384

problems=0
problem() {
    printf 'fuzz: %s\n' "$*" >&2
    problems=$((problems + 1))
}

# The public modules of a mod.rs.
modules() { sed -n 's/^pub mod \([a-z0-9_]*\);$/\1/p' "$1"; }

# Every parser of what others wrote, by the name its target must have.
parsers() {
    modules ../src/wire/mod.rs
    modules ../src/codec/mod.rs
    printf '%s\n' srtp dtls link signalling bwe_feedback
    # The control plane reads descriptions that browsers wrote.
    [ ! -e ../../controlplane/src/sdp/mod.rs ] || echo sdp
}

export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
command -v cargo-fuzz >/dev/null ||
    env -u CARGO_TARGET_DIR cargo install --locked --version $CARGO_FUZZ cargo-fuzz

for parser in $(parsers); do
    [ -e "fuzz_targets/$parser.rs" ] || problem "the parser $parser has no fuzz_targets/$parser.rs"
done
mapfile -t all < <(cargo fuzz list)
for file in fuzz_targets/*.rs; do
    target=$(basename "$file" .rs)
    printf '%s\n' "${all[@]}" | grep -qxF "$target" || problem "$target is not in Cargo.toml"
done
targets=("$@")
[ $# -gt 0 ] || targets=("${all[@]}")

cargo fuzz build -s "$SANITIZER"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# What the run of target $1 left in artifacts/, as hex, and how to repeat it elsewhere.
findings() {
    local file size
    while IFS= read -r file; do
        size=$(stat -c %s "$file")
        printf 'fuzz: %s: %s, %d bytes' "$1" "$file" "$size"
        [ "$size" -le $FINDING_MAX ] || printf ', of which the first %d' $FINDING_MAX
        printf '; to repeat it, in dataplane/fuzz:\n'
        printf "  basenc --base16 -d >finding <<'END'\n"
        head -c $FINDING_MAX "$file" | basenc --base16 -w 120
        printf 'END\n  cargo fuzz run -s %s %s finding\n' "$SANITIZER" "$1"
    done < <(find "artifacts/$1" -type f -newer "$work/$1.begun" ! -name 'slow-unit-*')
}

# The number after `cov:` or `ft:` in the lines of the log that match $2; the last of them.
measure() { sed -n "s/^#[0-9]*\s\+$2\b.* $3: \([0-9]*\).*/\1/p" "$1" | tail -n 1; }

# Fuzzes target $1; what it says and its status are left in the work folder.
fuzz() {
    local target=$1 longest max_len status=0
    longest=$(find "seeds/$target" -type f -printf '%s\n' | sort -n | tail -n 1)
    max_len=$((longest > INPUT_MAX ? longest : INPUT_MAX))
    # A fresh corpus each time, or a well-fed one would have nothing left to learn.
    mkdir -p "$work/$target" "artifacts/$target"
    touch "$work/$target.begun"
    cargo fuzz run -s "$SANITIZER" "$target" "$work/$target" "seeds/$target" -- \
        -max_total_time="$seconds" -max_len=$max_len -timeout=$TIMEOUT -rss_limit_mb=1024 \
        -print_final_stats=1 >"$work/$target.log" 2>&1 || status=$?
    echo $status >"$work/$target.status"
}

seeded=()
for target in "${targets[@]}"; do
    if [ -n "$(find "seeds/$target" -type f 2>/dev/null)" ]; then
        seeded+=("$target")
    else
        problem "$target has no seeds in seeds/$target"
        failed=$((failed + 1))
    fi
done

# One for each core.
for target in "${seeded[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
    fuzz "$target" &
done
wait

for target in "${seeded[@]}"; do
    log=$work/$target.log
    if [ "$(cat "$work/$target.status" 2>/dev/null)" != 0 ]; then
        tail -n 40 "$log" >&2
        findings "$target" >&2
        problem "$target: a finding, see above and artifacts/$target"
        failed=$((failed + 1))
        continue
    fi
    before=$(measure "$log" INITED cov) reached=$(measure "$log" DONE cov)
    learnt=$(measure "$log" DONE ft) known=$(measure "$log" INITED ft)
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    printf 'fuzz: %-12s %11s runs, coverage %s -> %s, features %s -> %s\n' \
        "$target" "${runs:-?}" "${before:-?}" "${reached:-?}" "${known:-?}" "${learnt:-?}"
    if [ "${reached:-0}" -gt "${before:-0}" ]; then
        passed=$((passed + 1))
    else
        problem "$target: coverage did not grow beyond its seeds"
        failed=$((failed + 1))
    fi
done

printf 'fuzz: %d targets passed, %d failed\n' "$passed" "$failed"
[ $problems -eq 0 ]
