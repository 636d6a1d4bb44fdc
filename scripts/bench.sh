#!/bin/sh
# The figures of docs/performance.md, each beside the floors of its own run. With --assert it fails below the bar.
set -eu
cd "$(dirname "$0")/.."
assert=no
[ "${1:-}" = --assert ] && assert=yes
seconds=${SECONDS_EACH:-10}
failed=0
# figure JSON EXPRESSION TEXT: checks one bar with awk on a number taken out of the JSON.
value() { printf '%s' "$1" | grep -oE "\"$2\":[0-9.]+" | head -1 | cut -d: -f2; }
bar() { # json member op limit text
	v=$(value "$1" "$2")
	v=${v:-0}
	if awk "BEGIN{exit !($v $3 $4)}"; then mark=ok; else mark=BELOW; failed=1; fi
	printf '    %-5s %s = %s (bar: %s %s)\n' "$mark" "$5" "$v" "$3" "$4"
}
run() {
	echo "\$ countersign bench $*"
	json=$(bin/countersign bench "$@" --json)
	printf '    %s\n' "$json"
}
run deliver --alg RS256 --fan-out 10 --seconds "$seconds"
bar "$json" ratio '>=' 0.75 "share of the sign floor"
bar "$json" cpu_per_signature '<=' 1.2 "CPU per SET over a bare signature"
run deliver --alg RS256 --fan-out 1 --seconds "$seconds"
bar "$json" cpu_per_signature '<=' 1.4 "CPU per SET over a bare signature"
run deliver --alg ES256 --fan-out 10 --seconds "$seconds"
bar "$json" ratio '>=' 0.27 "share of the HTTP floor"
bar "$json" cpu_us_per_set '<=' 140 "CPU per SET, µs"
run deliver --alg ES256 --fan-out 1 --seconds "$seconds"
bar "$json" ratio '>=' 0.15 "share of the HTTP floor"
bar "$json" cpu_us_per_set '<=' 200 "CPU per SET, µs"
bar "$json" sql_per_signal '<=' 0.1 "SQL round trips per signal"
bar "$json" idle_rss_mb '<=' 64 "idle RSS, MB"
run ingest --alg ES256 --rate 1000 --seconds "$seconds"
bar "$json" ack_p50_ms '<=' 1 "acknowledged p50, ms"
bar "$json" ack_p99_ms '<=' 5 "acknowledged p99, ms"
bar "$json" p50_ms '<=' 1.5 "end to end p50, ms"
bar "$json" p99_ms '<=' 8 "end to end p99, ms"
run ingest --alg ES256 --fan-out 0 --clients 256 --fsync-delay 8ms --seconds "$seconds"
bar "$json" rate '>=' 8000 "durable ingest per second with 8 ms added to each fsync"
bar "$json" ack_p99_ms '<=' 50 "acknowledged p99, ms"
run loop --rate 200 --seconds "$seconds"
bar "$json" p99_ms '<=' 50 "loop p99, ms"
if [ $assert = yes ] && [ $failed = 1 ]; then
	echo "bench-assert: below the bar" >&2
	exit 1
fi
echo "bench: done"
