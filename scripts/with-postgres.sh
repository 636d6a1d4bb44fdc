#!/bin/sh
# Runs a command with COUNTERSIGN_TEST_POSTGRES set: to what it is already, or to a server started for
# the occasion as an unprivileged user in a temporary folder.
set -eu
if [ -n "${COUNTERSIGN_TEST_POSTGRES:-}" ]; then exec "$@"; fi
bindir=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[ -n "$bindir" ] || bindir=$(dirname "$(command -v initdb)")
dir=$(mktemp -d)
chmod 711 "$dir"
as() { "$@"; }
if [ "$(id -u)" = 0 ]; then
	chown nobody "$dir"
	as() { setpriv --reuid nobody --regid nogroup --clear-groups env HOME="$dir" "$@"; }
fi
port=$(awk 'BEGIN{srand(); print 20000+int(rand()*20000)}')
as "$bindir/initdb" -D "$dir/data" -U countersign -A trust --no-sync >/dev/null
as "$bindir/pg_ctl" -D "$dir/data" -w -l "$dir/log" -o "-p $port -k $dir -c listen_addresses=127.0.0.1" start >/dev/null
trap 'as "$bindir/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT INT TERM
COUNTERSIGN_TEST_POSTGRES="postgres://countersign@127.0.0.1:$port/postgres?sslmode=disable"
export COUNTERSIGN_TEST_POSTGRES
"$@"
