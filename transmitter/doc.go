// Package transmitter is an SSF Transmitter: it serves the stream API, keeps what is to be sent, and delivers it by push and
// by poll.
//
// The flow of one event:
//
//	Send ─► match with the streams in memory ─► Store.Enqueue (one commit) ─► Notify
//	                                                                            │
//	        Store.Done ◄─ outcomes in batches ◄─ answer ◄─ push ◄─ sign ◄─ Pump takes a row
//	Store.Acknowledge ◄─ ack, setErrs ◄─ the receiver polls ─► sign ─► SETs in the answer
//
// A row fixes jti, iat and kid when it is committed, so that every try of it has the same signing input and with
// it the same content address; the token itself is made at delivery and never stored. For an order, a SET with a
// directive, the signing input is in the row as a whole, and the order is kept until its receipts have come.
//
//   - Transmitter puts the parts together: New, Run, Send, and what an operator does: Establish, SetStatus, Verification,
//     ListSubject, RemoveStream, Redrive, SetKeys, Reissue, Withdraw. Overview and View show the streams, Explain says why
//     an event would be sent or not, Orders and Standing where the orders are.
//   - Server is the http.Handler: discovery and keys (SSF 1.0 §7), streams, status, subjects and verification (§8.1),
//     polls (RFC 8936), and the receipt endpoint (receipts design §6.2).
//   - Pump delivers by push (RFC 8935): a window and a back-off for each stream, one limit for all, never two SETs about
//     one subject in flight on one stream. Several processes on one Store share the streams by shards.
//   - Store is the contract of its memory, Memory the Store of small programs; ssftest.StoreSuite tests any.
//
// # Which streams get an event
//
// Those that are enabled or paused and whose events_delivered has the type: what was requested and is offered, or
// everything offered where nothing was requested. A stream with default_subjects ALL, the shipped default, takes every
// subject but those that were removed exactly so. One with NONE takes the subjects that match an entry of its list by
// subject.Match: identical, a member of a complex one, one of its aliases, or complex ones of which no common member
// differs and one is the same. A removed subject is still sent for Config.RemovalGrace. Events about the stream itself pass
// every list. A stream with Naming is told the subject by the name that Config.Name gives; where there is none it is
// skipped, and Sent.Skipped and the history say why. Its list is asked for that name, the only one its receiver knows.
//
// Streams without a list cost no reading of the store; lists cost one lookup for each event and name.
//
// # How a row fares
//
// After a push: 2xx, delivered. 400 with any other err than those below, 413 and 422 are about
// this SET: it is set aside with its reason and the stream goes on. 400 with invalid_key, invalid_issuer,
// invalid_audience, authentication_failed or access_denied, and 401, 403, redirects and other 4xx are faults of the stream's
// set-up: nothing is dropped, and one row probes every few minutes until somebody puts it right; a change of the
// configuration or status over the API probes at once. Everything else (no answer, 408, 425, 429, 5xx) is
// tried again under a doubling bound of at most five minutes with full jitter, no sooner than Retry-After says. Nothing is
// given up by count. After a poll: ack delivers, setErrs sets aside, and what neither names is offered again.
//
// What waits longer than Config.Retention is set aside as "expired". What was set aside can be redriven, one, many, or all
// of one reason, each to its old place; after Config.History it is forgotten.
//
// A paused stream holds what comes, a disabled one holds nothing. When the transmitter changes the status itself, the
// receiver is told by a stream-updated event before the stream stops. A verification request is answered 204 while the
// stream is paused (the event is held) and 400 while it is disabled.
//
// Receivers of older drafts are served by a Transmitter of their own, with Config.Legacy and an issuer of its own.
//
// It leaves tokens to package set, event types to event, the JSON of streams to stream, who a caller is to Config.Caller,
// how people are named to Config.Name, and what a directive or a receipt means to receipt.
package transmitter
