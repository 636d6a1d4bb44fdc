// Package flow is the way of a signal through the hub. The verbs are rooms of their own below it,
// which do not know each other; this package holds the map, the belt that carries claimed work from
// one to the next, and the step in the middle, [Processor], where correlation and decision meet.
//
//	receive door ─┐                                   ┌► act ─► connector ─► apps
//	POST /signals ┴► ingest ─► process ───────────────┤   │ attempt kept, sent, judged, read back
//	                 verify    correlate ─► decide    │   ▼
//	                 keep      decision + actions     │  cut ─► send ─► the sender's receipt endpoint
//	                 202       in one transaction     └► outbox ─► transmitter.Pump ─► our receivers
//
//	room       begins with            ends with, in one transaction            job that follows
//	ingest     bytes of a SET, JSON   replay row, signal                       process
//	process    job process            decision, actions, what is transmitted,  act for each action; cut
//	                                  or "unresolved"
//	act        job act                attempt (before sending), then outcome   act again when due; cut
//	emit       job cut                receipt with its fixed signing input     send
//	emit       job send               accepted, a later try, or dead letter    –
//	enroll     job enroll             our stream at a source                   enroll again when due
//
// What is transmitted is told about a person by the name that its receiver knows: room naming, which has no job.
//
// Each step writes its result and the next job in the same transaction, so that a crash between two
// lines loses nothing: docs/flow.md draws the states and says what a restart does at each of them. A
// job that was written by this node is already claimed by it and goes over the [Belt] in memory;
// nobody waits for a poll. The poll finds what is due later and what a dead node left.
//
// The rows are internal/store's, the tokens set's, the wire receiver's and transmitter's. Nothing in
// flow knows SQL, and nothing opens a connection but through the client it is handed.
package flow
