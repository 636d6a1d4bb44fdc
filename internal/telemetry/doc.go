// Package telemetry is the home of the Prometheus client, of OpenTelemetry, and of the log's set-up.
//
// Metrics is a struct of plain methods, one per thing that happens, so that other rooms count
// without knowing Prometheus: each names the one or two methods it needs as a small interface.
// Logger makes the one slog.Logger; attributes whose names speak of tokens, secrets or subjects are
// masked there as a last resort, the first being that nobody logs them.
//
// Tracer makes the spans of a signal's way, the attribute txn on each:
//
//	door ─► ingest ─► decide ─► act ─► receipt.send
//	   (traceparent)         └► transmit.push
//
// They are sent by OTLP over HTTP where somebody wants them, and are not made otherwise.
package telemetry
