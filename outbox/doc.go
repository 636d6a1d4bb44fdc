// Package outbox lets an application tell a signal in the same database transaction that makes it true: a sale, a role
// taken away, an account closed. Where the transaction is rolled back nothing is sent; where it commits, the signal is sent
// at least once, under one idempotency key, and so arrives once.
//
//	app's transaction ─► Table.Put ─► commit
//	                                    │
//	Relay.Run ─► claims rows under a lease ─► Send (Hub: POST /api/v1/signals) ─► marks them sent
//
// It works on database/sql with PostgreSQL or SQLite and imports no driver: the application has one already. Several
// relays, in one process or in many, share the work: PostgreSQL by FOR UPDATE SKIP LOCKED, SQLite by its one writer, both by
// a claim that ends with its lease, so that the rows of a relay that died are taken over. A row that was sent and could not
// be marked is sent again under the same key.
//
// A send that fails is tried again under a doubling bound with full jitter, no sooner than the other side asked for. One
// that can never succeed (Permanent), or that has failed for longer than Relay.MaxAge, is dead: it stays in the table with
// its reason until it is requeued or pruned.
//
// Leases are compared by the clocks of the relays, which may differ by much less than Relay.Lease.
//
// It leaves what an event means to package event and the receiving side to the hub.
package outbox
