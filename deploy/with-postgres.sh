#!/bin/bash
# Runs a command beside a PostgreSQL of its own: deploy/with-postgres.sh COMMAND...
#
# A fresh cluster in a temporary folder, on a Unix socket only, without the guarantees that a test does not
# need. Its URL is in KALL_TEST_POSTGRES. It is gone when the command ends.

set -euo pipefail

die() {
    echo "with-postgres: $*" >&2
    exit 1
}

[ $# -gt 0 ] || die "a command is needed"

bin=
for folder in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
    [ -x "$folder/initdb" ] && bin=$folder
done
[ -n "$bin" ] || die "no PostgreSQL here: deploy/install-tools.sh test"

folder=$(mktemp -d /tmp/kall-postgres-XXXXXX)
as_owner=()
if [ "$(id -u)" = 0 ]; then
    # PostgreSQL refuses to run as root.
    id -u postgres >/dev/null 2>&1 || die "no user 'postgres' to run it as"
    chown postgres "$folder"
    as_owner=(setpriv --reuid postgres --regid postgres --clear-groups env HOME="$folder")
fi

stop() {
    cd /
    "${as_owner[@]}" "$bin/pg_ctl" --pgdata "$folder/data" --mode immediate --silent stop >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap stop EXIT

(
    cd "$folder"
    "${as_owner[@]}" "$bin/initdb" --pgdata "$folder/data" --username kall --auth trust --no-sync \
        --encoding UTF8 --locale C >"$folder/initdb.log" 2>&1
) || { cat "$folder/initdb.log" >&2; die "initdb failed"; }
(
    cd "$folder"
    "${as_owner[@]}" "$bin/pg_ctl" --pgdata "$folder/data" --log "$folder/log" --silent --wait --timeout 60 start \
        --options "-c listen_addresses='' -c unix_socket_directories='$folder' -c fsync=off \
            -c synchronous_commit=off -c full_page_writes=off -c max_connections=200 -c shared_buffers=32MB"
) || { cat "$folder/log" >&2; die "PostgreSQL did not start"; }

export KALL_TEST_POSTGRES="postgres://kall@localhost/postgres?host=$folder"
"$@"
