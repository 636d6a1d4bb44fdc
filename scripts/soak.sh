#!/bin/sh
# Kills on both engines, a database that goes away, a disk that fills up, then every fuzz target. The result, with its date, is written to docs/soak.md.
set -eu
cd "$(dirname "$0")/.."
scripts/need.sh
out=docs/soak.md
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT
# Everything goes to the file and to the screen; the first failure ends it, and the old result stays.
say() { printf '%s\n' "$@" >>"$tmp"; }
run() {
	say "\$ $1"
	shift
	if ! "$@" >>"$tmp" 2>&1; then
		cat "$tmp"
		echo "soak: failed" >&2
		exit 1
	fi
	say ""
}
say "# The last soak" "" "Made by \`make soak\` on $(date -u +%Y-%m-%d) at commit \`$(git rev-parse --short HEAD)\` ($(nproc) cores, $(uname -sm), $(go version | cut -d' ' -f3))." "" '```'
KILLS=${KILLS:-10}
export KILLS
run "countersign bench kill" bin/countersign bench kill --kills "$KILLS"
run "countersign bench kill --database postgres://…" scripts/with-postgres.sh sh -c 'bin/countersign bench kill --kills "$KILLS" --database "$COUNTERSIGN_TEST_POSTGRES"'
run "countersign bench kill-receive" bin/countersign bench kill-receive
run "countersign bench kill-receive --database postgres://…" scripts/with-postgres.sh sh -c 'bin/countersign bench kill-receive --database "$COUNTERSIGN_TEST_POSTGRES"'
run "countersign bench outage --seconds 60 --database postgres://…" scripts/with-postgres.sh sh -c 'bin/countersign bench outage --seconds 60 --database "$COUNTERSIGN_TEST_POSTGRES"'
run "countersign bench full --seconds 20 --dir (a file system of 48 MB)" scripts/with-small-disk.sh sh -c 'bin/countersign bench full --seconds 20 --dir "$SMALL"'
run "make fuzz FUZZTIME=${FUZZTIME:-30s}" scripts/fuzz.sh
say '```'
cat "$tmp"
cp "$tmp" "$out"
echo "soak: ok, written to $out"
