#!/bin/bash
# Runs schemathesis, all of whose checks are on unless schemathesis.toml says otherwise, against a server of its own: deploy/fuzz-api.sh PATH_OF_KALL [OPTIONS...]
# The same cases each time, unless the options say --seed.

set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
kall=$(realpath "$1")
shift
folder=$(mktemp -d /tmp/kall-api-XXXXXX)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/kall.toml" <<CONFIG
[server]
host = "127.0.0.1"
port = $port

[api]
requests_per_second = 100000
burst = 100000

[[api.keys]]
key = "fuzz"
secret = "a-secret-for-the-fuzzer"

[auth]
mode = "open"

[room]
max_rooms = 100000

[dataplane]
udp_port = 0
tcp_port = 0
cores = 1
CONFIG

cd "$folder"
"$kall" --config "$folder/kall.toml" server >"$folder/kall.log" 2>&1 &
pid=$!
stop() {
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT

for _ in $(seq 300); do
    curl --silent --fail "http://127.0.0.1:$port/health/ready" >/dev/null && break
    sleep 0.1
done
curl --silent --fail "http://127.0.0.1:$port/health/ready" >/dev/null ||
    { cat "$folder/kall.log" >&2; echo "fuzz-api: kall did not become ready" >&2; exit 1; }

status=0
"$root/.tools/api/bin/schemathesis" --config-file "$root/deploy/schemathesis.toml" run "http://127.0.0.1:$port/openapi.json" \
    --header "Authorization: Bearer fuzz:a-secret-for-the-fuzzer" \
    --seed 1 --no-color "$@" || status=$?
if grep -E '"level":"ERROR"| ERROR |panicked' "$folder/kall.log"; then
    echo "fuzz-api: the server reported errors" >&2
    status=1
fi
exit $status
