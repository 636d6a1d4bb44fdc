// Package receiver is the receiving end of a stream: Handler takes SETs by push (RFC 8935), Client
// finds a transmitter, manages streams there (SSF 1.0 §7, §8.1) and polls for SETs (RFC 8936), of which
// Handler.Take judges each as it would a pushed one.
//
// Credentials: TokenSource gets access tokens by OAuth client credentials in each usual way, RefreshSource by a person's
// consent, SignedJWT makes its own, Bearer and Fixed show what they are given.
//
// A Poller runs poll delivery for one stream: long polls, acknowledged after Keep. A Mux is the whole receiving end of an
// application: a function for each event type, called for what its Inbox keeps, whose answer becomes the receipt where the
// signal was an order (package receipt). MemoryInbox forgets, SQLInbox does not.
//
//	push ─► Mux.ServeHTTP ─┐
//	                       ├─ Handler ─► Inbox.Keep ─► 202, ack      Mux.Run ─► function ─► receipt.Line ─► Receipts
//	poll ─► Poller ─► Take ┘
//
// What a Handler does with a request, in this order: method, caller's credential, encoding and media
// type, size, then signature and claims of the token (package set), its one event (package event) and
// its subject (package subject). Only then Keep is called, and only when Keep has returned nil the
// sender gets its 202. After that the sender owes nothing more, so Keep must have made the SET durable;
// acting on it comes later and is not done here (RFC 8935 §2).
//
// A refusal never says what was expected in place of the issuer or the audience that came.
package receiver
