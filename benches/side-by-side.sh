#!/usr/bin/env bash
# kall beside Janus (VideoRoom, Debian's package): the same livestream from the same generator, each server on one and
# the same core. Says what each forwarded packet costs, with as many subscribers as Janus carries without loss, and what
# kall does with as many.
#
#   benches/side-by-side.sh [SUBSCRIBERS...]     numbers to try, rising; 50 100 150 200 250 300 350 400
#
# SECONDS_MEASURED, CPUS (server,generator) and JANUS_LOOPS (its event_loops) may be set. It needs root, `make release`,
# kall-load, and deploy/install-tools.sh beside. All of it is in a network namespace of its own, where packets to the
# only address go over loopback; Janus wants one that is not 127.0.0.1. With the script all of that is gone.
set -euo pipefail

readonly SECONDS_MEASURED=${SECONDS_MEASURED:-10} CPUS=${CPUS:-0,1} PORT=8088 LOOPS=${JANUS_LOOPS:-0}
readonly SERVER=${CPUS%%,*} GENERATOR=${CPUS##*,}
numbers=("$@")
[ $# -gt 0 ] || numbers=(50 100 150 200 250 300 350 400)

die() {
    printf 'side-by-side: %s\n' "$*" >&2
    exit 1
}

cd "$(dirname "$0")/.."
bin=${CARGO_TARGET_DIR:-target}/release
[ -x "$bin/kall-load" ] || die "no $bin/kall-load: cargo build --release -p kall-benches"
[ -x "$bin/kall" ] || die "no $bin/kall: make release"
for program in janus taskset curl ip unshare; do
    command -v $program >/dev/null || die "no $program: deploy/install-tools.sh beside"
done

if [ -z "${KALL_BESIDE:-}" ]; then
    [ "$(id -u)" = 0 ] || die "a network namespace is made by root"
    KALL_BESIDE=1 exec unshare --net "benches/side-by-side.sh" "${numbers[@]}"
fi
ip link set lo up
ip link add media type veth peer name none
ip address add 198.51.100.1/32 dev media
ip link set media up
ip link set none up

# A socket for each client, and several for each of Janus' sessions.
ulimit -n "$(ulimit -Hn)"

folder=$(mktemp -d)
janus=
stop() {
    [ -z "$janus" ] || kill "$janus" 2>/dev/null || true
    [ -z "$janus" ] || wait "$janus" 2>/dev/null || true
    janus=
}
trap 'stop; rm -rf "$folder"' EXIT

# Lite as kall is, with the one plugin and the one API that are used.
modules=$(dirname "$(dpkg -L janus | grep -m 1 '/plugins/libjanus_videoroom.so')")/..
# Debian names the libraries with their version behind, and Janus without.
plugins=$(ls "$modules/plugins" | sed -E 's/\.so.*/.so/' | sort -u | grep -v videoroom | paste -sd,)
transports=$(ls "$modules/transports" | sed -E 's/\.so.*/.so/' | sort -u | grep -v http | paste -sd,)
cat >"$folder/janus.jcfg" <<JCFG
general: { configs_folder = "$folder", debug_level = 2, event_loops = $LOOPS }
nat: { ice_lite = true, ice_enforce_list = "media" }
plugins: { disable = "$plugins" }
transports: { disable = "$transports" }
JCFG
cat >"$folder/janus.transport.http.jcfg" <<JCFG
general: { http = true, ip = "127.0.0.1", port = $PORT, base_path = "/janus" }
admin: { admin_http = false }
JCFG
touch "$folder/janus.plugin.videoroom.jcfg"

start() {
    taskset --cpu-list "$SERVER" janus -F "$folder" --disable-colors >"$folder/log" 2>&1 &
    janus=$!
    for _ in $(seq 100); do
        ! curl --silent --fail --output "$folder/info" "http://127.0.0.1:$PORT/janus/info" || return 0
        sleep 0.1
    done
    tail -n 5 "$folder/log" >&2
    die "Janus does not answer"
}

load() {
    taskset --cpu-list "$GENERATOR" "$bin/kall-load" livestream --cpus "$CPUS" --duration "$SECONDS_MEASURED" \
        --json --subscribers "$@"
}

# figure KEY: of the JSON on standard input; the values are numbers, strings or null.
figure() { grep -oE "\"$1\":[^,}]*" | head -n 1 | cut -d: -f2 | tr -d '"'; }

line() { # NAME FILE
    printf '%-8s %11s %12.0f %14.0f %8.0f %% %10s %9.1f %9.1f  %s\n' "$1" "$(figure subscribers <"$2")" \
        "$(figure packets_per_second <"$2")" "$(figure dataplane_cpu_ns_per_packet <"$2")" \
        "$(figure dataplane_cpu_share <"$2" | awk '{ print $1 * 100 }')" "$(figure loss <"$2")" \
        "$(figure latency_p50_us <"$2" | awk '{ print $1 / 1000 }')" \
        "$(figure latency_p99_us <"$2" | awk '{ print $1 / 1000 }')" "$(figure profile <"$2")"
}

printf '%-8s %11s %12s %14s %10s %10s %9s %9s  %s\n' server subscribers packets/s 'ns a packet' 'of a core' loss \
    'p50, ms' 'p99, ms' profile
carried=
for number in "${numbers[@]}"; do
    start
    version=$(figure version_string <"$folder/info")
    load "$number" --janus "http://127.0.0.1:$PORT/janus" --pid "$janus" >"$folder/janus.json" ||
        die "with Janus and $number subscribers"
    stop
    line Janus "$folder/janus.json"
    [ "$(figure loss <"$folder/janus.json")" = 0.0 ] && [ "$(figure joined <"$folder/janus.json")" = "$number" ] || break
    carried=$number
done
[ -n "$carried" ] || die "Janus did not carry ${numbers[0]} subscribers without loss"
load "$carried" >"$folder/kall.json"
line kall "$folder/kall.json"
printf 'Janus %s, %s, event_loops = %s; %s\n' "$version" "$(dpkg-query -W -f='janus ${Version}' janus)" "$LOOPS" \
    "$("$bin/kall" --version)"
