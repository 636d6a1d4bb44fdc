// Package countersign is the tour of the house: every room in reading order, with the first call to make.
//
// The SDK, importable alone, no database and no hub:
//
//   - set: Security Event Tokens. Start with set.Verify and set.NewSigner.
//   - subject: who a signal is about. Start with subject.Parse and subject.Match.
//   - event, event/caep, event/risc, event/ssf, event/scim: the event types. Start with event.NewRegistry.
//   - stream: the JSON that both ends of a stream speak. Start with stream.Configuration.
//   - receipt: directives, action receipts, evidence files, the slip. Start with receipt.Verify.
//   - transmitter: a Transmitter as http.Handler and the pump that delivers. Start with transmitter.New.
//   - receiver: a Receiver as http.Handler and the stream client. Start with receiver.Handler and receiver.Client.
//   - outbox: a signal is part of an application's own database transaction. Start with outbox.Table and outbox.Relay.
//   - ssftest: for anybody's tests. Start with ssftest.NewReceiver, and ssftest.StoreSuite for a store.
//
// Data, where a folder is added and not a program: connectors (one product a folder) and policies (starter rules).
//
// The hub, private, below internal/. The nouns are in hub. The verbs are in flow, which carries work from one to
// the next:
//
//   - flow/ingest: a signal comes in, is verified and kept.
//   - flow/correlate: whom it is about.
//   - flow/decide: what follows, with reasons.
//   - flow/act: at an app, under a lease, read back.
//   - flow/emit: the receipt, cut and delivered.
//   - flow/enroll: our stream at a source.
//   - flow/naming: by which identifier a receiver of ours knows a person.
//
// The doors are in web:
//
//   - web/ssf: for other systems: discovery, keys, streams, receive, receipts in. web/oauth: access tokens, made here and
//     checked for every door.
//   - web/api: the admin API, health and metrics. web/console: pages. web/hostile: tests that hold the doors to their
//     answers when what comes in is wrong on purpose.
//
// Below the verbs and the doors:
//
//   - sight: what operators see of streams, deliveries and orders, for the API and the console.
//   - store: the rows, on SQLite and PostgreSQL. vault: secrets and keys.
//   - connector: runs a pack. egress: the one dialer to the outside.
//   - resource: reads what apply takes. config: the settings. yaml and strictjson: strict decoders. expr: CEL.
//   - telemetry: metrics, traces and the log.
//
// Above them, server wires one hub and cli is the command line; cmd/countersign is its main. demo and bench look at a
// hub from outside, with the props of stage and the identity provider of stage/idp. req and pgtest are for tests; req/conformance writes
// docs/conformance.md from them.
//
// Imports point down, and floors_test.go says so.
package countersign
