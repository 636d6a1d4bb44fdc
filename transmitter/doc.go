// Package transmitter is an SSF Transmitter: it serves the stream API, keeps what is to be sent, and delivers it.
//
// The flow of one event:
//
//	Send ─► match with the streams in memory ─► Store.Enqueue (one commit) ─► Notify
//	                                                                            │
//	Store.Done ◄─ outcomes in batches ◄─ answer ◄─ push ◄─ sign ◄─ Pump takes a row
//
// A row fixes jti, iat and kid when it is committed, so that every try of it has the same signing input and with
// it the same content address; the token itself is made at delivery and never stored. For an order, a SET with a
// directive, the signing input is in the row as a whole, and the order is kept until its receipts have come.
//
//   - Transmitter puts the parts together: New, Run, Send.
//   - Server is the http.Handler: discovery and keys (SSF 1.0 §7), streams, status and verification (§8.1), and
//     the receipt endpoint (receipts design §6.2).
//   - Pump delivers by push (RFC 8935): a window and a back-off for each stream, one limit for all, never two SETs about
//     one subject in flight on one stream.
//   - Store is the contract of its memory, Memory the Store of small programs.
//
// What this version offers is in the metadata and nothing else: push delivery, no subject endpoints
// (default_subjects is ALL). PATCH and PUT of a configuration are served; PATCH replaces top-level members, so a
// delivery in it replaces the whole old one, secret included. A stream without events_requested is given every
// event type that its receiver may have. A verification request is answered 204 while the stream is paused (the event is
// held) and 400 while it is disabled.
//
// How a row fares after an answer: 2xx, delivered. 400 with any other err than those below, 413 and 422 are about
// this SET: it is set aside with its reason and the stream goes on. 400 with invalid_key, invalid_issuer,
// invalid_audience, authentication_failed or access_denied, and 401, 403, redirects and other 4xx are faults of the stream's
// set-up: nothing is dropped, and one row probes every few minutes until somebody puts it right; a change of the
// configuration or status over the API probes at once. Everything else (no answer, 408, 425, 429, 5xx) is
// tried again under a doubling bound of at most five minutes with full jitter, no sooner than Retry-After says. Nothing is given up by count.
//
// It leaves tokens to package set, event types to event, the JSON of streams to stream, and what a directive or a
// receipt means to receipt.
package transmitter
