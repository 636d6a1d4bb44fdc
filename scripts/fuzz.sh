#!/bin/sh
# Runs every fuzz target for FUZZTIME each (30s by default). Targets are found, not listed, so that none is forgotten.
set -eu
cd "$(dirname "$0")/.."
time=${FUZZTIME:-30s}
found=0
for file in $(grep -rlE '^func Fuzz' --include='*_test.go' . | sort); do
	pkg=$(dirname "$file")
	for target in $(grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | sed 's/^func //'); do
		found=$((found + 1))
		printf '%-34s %-32s ' "$pkg" "$target"
		if out=$(go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x "$pkg" 2>&1); then
			printf '%s\n' "$out" | grep -oE 'execs: [0-9]+' | tail -1 | tr '\n' ' '
			echo ok
		else
			echo FAILED
			printf '%s\n' "$out"
			exit 1
		fi
	done
done
echo "fuzz: $found targets, $time each"
