#!/bin/sh
# Runs every fuzz target for FUZZTIME each (30s by default), two at a time. Targets are found, not listed, so that none is forgotten.
set -eu
cd "$(dirname "$0")/.."
FUZZTIME=${FUZZTIME:-30s}
export FUZZTIME
if [ "${1:-}" = one ]; then
	if out=$(go test -run '^$' -fuzz "^$3\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 10x -parallel 1 "$2" 2>&1); then
		printf '%-24s %-24s %s ok\n' "$2" "$3" "$(printf '%s\n' "$out" | grep -oE 'execs: [0-9]+' | tail -1)"
		exit 0
	fi
	printf '%-24s %-24s FAILED\n%s\n' "$2" "$3" "$out"
	exit 1
fi
list=$(grep -rhoE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' -H . | sed -E 's#/[^/]+_test.go:func # #' | sort)
printf '%s\n' "$list" | xargs -P 2 -n 2 "$0" one
echo "fuzz: $(printf '%s\n' "$list" | wc -l) targets, $FUZZTIME each"
