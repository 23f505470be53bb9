#!/usr/bin/env bash
# Measures every bar of the data plane in one run, half an hour long: each scenario of kall-load with a kall of its
# own, and the limit beside. A line of JSON for each goes to the file named, {"row": NAME, "report": {…}}, from which
# bench-page makes the tables of benches/README.md.
#
#   benches/bars.sh FILE
#
# The machine should have nothing else to do. CPUS (data plane first, then everybody else's) may be set; two cores for the
# data plane are measured with whatever CPUs there are.
set -euo pipefail

file=$(realpath "${1:?the file for the lines}")
target=$(realpath "${CARGO_TARGET_DIR:-$(dirname "$0")/../target}")
readonly file target bin=$target/release
cd "$(dirname "$0")/.."
# Each client has a socket and a WebSocket.
ulimit -n "$(ulimit -Hn)"
for program in kall kall-dataplane kall-load kall-limit; do
    [ -x "$bin/$program" ] || { echo "bars: no $bin/$program: make bars" >&2; exit 1; }
done
command -v strace >/dev/null || { echo "bars: no strace: deploy/install-tools.sh beside" >&2; exit 1; }
cpus=(${CPUS:+--cpus "$CPUS"})
: >"$file"

# Each line that a program prints, under the row's name.
row() {
    local name=$1
    shift
    echo "bars: $name" >&2
    "$@" --json | while read -r line; do
        printf '{"row":"%s","report":%s}\n' "$name" "$line" >>"$file"
    done
}

load() {
    local name=$1 scenario=$2
    shift 2
    row "$name" "$bin/kall-load" "$scenario" "${cpus[@]}" "$@"
}

load livestream livestream --subscribers 500 --with-limit
load meeting meeting --publishers 10 --subscribers 40 --with-limit
load audio audio --publishers 10 --subscribers 800 --with-limit
load storm join-storm --subscribers 500 --within 2
load elsewhere join-storm --present 50 --subscribers 1000 --within 1 --elsewhere --verify 1
load memory memory --few 100 --many 500
load memory-16 memory --few 100 --many 500 --audio-slots 3 --video-slots 13
load memory-16-in-use memory --few 100 --many 500 --audio-slots 3 --video-slots 13 --in-use
load idle idle --subscribers 2000
load one-core livestream --subscribers 400 --cores 1
load two-cores livestream --subscribers 400 --cores 2
load syscalls livestream --subscribers 500 --settle 20 --duration 8 --syscalls
row limit "$bin/kall-limit" ${CPUS:+--cpu "${CPUS%%,*}"}
load capacity capacity --from 200 --step 200 --to 2400 --with-limit
