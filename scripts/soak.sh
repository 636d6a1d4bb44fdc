#!/bin/sh
# Kills on both engines, then every fuzz target. The result, with its date, is written to docs/soak.md.
set -eu
cd "$(dirname "$0")/.."
scripts/need.sh
out=docs/soak.md
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT
{
	echo "# The last soak"
	echo
	echo "Made by \`make soak\` on $(date -u +%Y-%m-%d) ($(nproc) cores, $(uname -sm), $(go version | cut -d' ' -f3))."
	echo
	echo '```'
	echo '$ countersign bench kill'
	bin/countersign bench kill --kills "${KILLS:-10}"
	echo
	echo '$ countersign bench kill --database postgres://…'
	scripts/with-postgres.sh sh -c 'bin/countersign bench kill --kills "${KILLS:-10}" --database "$COUNTERSIGN_TEST_POSTGRES"'
	echo
	echo "\$ make fuzz FUZZTIME=${FUZZTIME:-30s}"
	scripts/fuzz.sh
	echo '```'
} >"$tmp" 2>&1 || { cat "$tmp"; echo "soak: failed" >&2; exit 1; }
cat "$tmp"
cp "$tmp" "$out"
echo "soak: ok, written to $out"
