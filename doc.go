// Package countersign is the tour of the house: every room in reading order, with the first call to make.
//
// The SDK, importable alone, no database and no hub:
//
//   - set: Security Event Tokens. Start with set.Verify and set.NewSigner.
//   - subject: who a signal is about. Start with subject.Parse and subject.Match.
//   - event, event/caep, event/risc, event/ssf, event/scim: the event types. Start with event.NewRegistry.
//   - stream: the JSON that both ends of a stream speak.
//   - receipt: directives, action receipts, evidence files, the slip. Start with receipt.Verify.
//   - transmitter: a Transmitter as http.Handler and the pump that delivers. Start with transmitter.New.
//   - receiver: a Receiver as http.Handler and the stream client. Start with receiver.Handler.
//   - ssftest: for anybody's tests.
//
// Data, where a folder is added and not a program: connectors (one product a folder) and policies (starter rules).
//
// The hub, private: internal/hub holds the nouns, internal/flow the verbs in order, internal/web the doors,
// internal/store the rows, internal/server the wiring, internal/cli the commands. internal/demo and
// internal/bench look at a hub from outside.
//
// Imports point down, and floors_test.go says so.
package countersign
