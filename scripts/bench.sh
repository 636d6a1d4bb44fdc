#!/bin/sh
# The figures of docs/performance.md, each beside the floors of its own run. With --assert it fails below a bar.
# A word limits it to one group: loop (the door, the store, the loop), transmitter (streams and deliveries) or receiver (sources).
set -eu
cd "$(dirname "$0")/.."
assert=no
groups="loop transmitter receiver"
for word in "$@"; do
	case $word in
	--assert) assert=yes ;;
	loop | transmitter | receiver) groups=$word ;;
	*)
		echo "usage: scripts/bench.sh [--assert] [loop|transmitter|receiver]" >&2
		exit 2
		;;
	esac
done
seconds=${SECONDS_EACH:-10}
failed=0
value() { printf '%s' "$1" | grep -oE "\"$2\":-?[0-9.]+" | head -1 | cut -d: -f2; }
# bar MEMBER OP LIMIT TEXT: holds a number of the last run against its bar. One that is missing is below it.
bar() {
	v=$(value "$json" "$1")
	if [ -n "$v" ] && awk "BEGIN{exit !($v $2 $3)}"; then mark=ok; else mark=BELOW failed=1; fi
	printf '    %-5s %s = %s (bar: %s %s)\n' "$mark" "$4" "${v:-none}" "$2" "$3"
}
# same: nothing was lost and nothing sent twice.
same() {
	bar lost '==' 0 "lost"
	bar sent_twice '==' 0 "sent twice"
}
run() {
	echo "\$ countersign bench $*"
	json=$(bin/countersign bench "$@" --json) || failed=1
	printf '    %s\n' "$json"
}
on_postgres() {
	echo "\$ countersign bench $* --database postgres://…"
	json=$(scripts/with-postgres.sh sh -c 'exec bin/countersign bench "$@" --json --database "$COUNTERSIGN_TEST_POSTGRES"' sh "$@") || failed=1
	printf '    %s\n' "$json"
}
deliver() {
	run deliver --alg RS256 --fan-out 10 --seconds "$seconds"
	bar ratio '>=' 0.75 "share of the sign floor"
	bar cpu_per_signature '<=' 1.2 "CPU per SET over a bare signature"
	same
	run deliver --alg RS256 --fan-out 1 --seconds "$seconds"
	bar cpu_per_signature '<=' 1.4 "CPU per SET over a bare signature"
	same
	run deliver --alg ES256 --fan-out 10 --seconds "$seconds"
	bar ratio '>=' 0.27 "share of the HTTP floor"
	bar cpu_us_per_set '<=' 140 "CPU per SET, µs"
	same
	run deliver --alg ES256 --fan-out 1 --seconds "$seconds"
	bar ratio '>=' 0.15 "share of the HTTP floor"
	bar cpu_us_per_set '<=' 200 "CPU per SET, µs"
	bar sql_per_signal '<=' 0.1 "SQL round trips per signal"
	same
}
loop() {
	run ingest --alg ES256 --rate 1000 --seconds "$seconds"
	bar ack_p50_ms '<=' 1 "acknowledged p50, ms"
	bar ack_p99_ms '<=' 5 "acknowledged p99, ms"
	bar p50_ms '<=' 1.5 "end to end p50, ms"
	bar p99_ms '<=' 8 "end to end p99, ms"
	run ingest --alg ES256 --fan-out 0 --clients 256 --fsync-delay 8ms --seconds "$seconds"
	bar rate '>=' 8000 "durable ingest per second with 8 ms added to each fsync"
	bar ack_p99_ms '<=' 50 "acknowledged p99, ms"
	run loop --rate 200 --seconds "$seconds"
	bar p99_ms '<=' 50 "loop p99, ms"
}
receiver() {
	run receive
	bar rate '>=' 5000 "tokens received per second (RS256)"
	bar max_ms '<=' 2000 "decided after the last answer, ms"
	bar lost '==' 0 "lost"
	# A rise of more than 128 MB over the hub at rest is a failure of the run itself.
	run receive --signals 1000000 --alg ES256
	bar rss_mb '<=' "($(value "$json" idle_rss_mb || echo 0) + 128)" "memory after a million, MB"
	bar lost '==' 0 "lost"
}
transmitter() {
	run steady --seconds 60
	start=$(value "$json" queue_start)
	# What a tenth of a second brings is no queue that grows.
	bar queue_end '<=' "(${start:-0} + $(value "$json" offered || echo 0) / 10)" "queue at the end (start ${start:-0})"
	same
	run isolation
	bar times '<=' 1.5 "p99 of the others over that without bad receivers"
	bar max_ms '<=' 1000 "the slowest of the others, ms"
	run backlog
	bar times '<=' 1.2 "CPU per SET with a million waiting over none"
	run polls
	bar kb_each '<=' 50 "memory of a parked poll over TLS, KB"
	bar max_ms '<=' 1000 "a thousand woken by one event, ms"
	run polls-plain
	bar kb_each '<=' 20 "memory of a parked poll behind a proxy, KB"
	run streams
	bar idle_rss_mb '<=' 64 "idle RSS, MB"
	bar kb_each '<=' 6.55 "memory of an idle stream of 10,000, KB (64 MB in all)"
	run lot
	bar lookup_us '<=' 20 "look-up among 10 million pairs at a 64 MB cache, µs"
	bar rss_mb '<=' 384 "10,000 streams, 1,000 TLS polls, 10 million subjects: RSS, MB"
	on_postgres nodes --seconds "$seconds"
	bar times '>=' 1.6 "two nodes over one"
	same
}
echo "load of the machine before: $(cut -d' ' -f1-3 /proc/loadavg 2>/dev/null || uptime)"
deliver
for group in $groups; do "$group"; done
if [ $assert = yes ] && [ $failed = 1 ]; then
	echo "bench-assert: below a bar" >&2
	exit 1
fi
echo "bench: done"
