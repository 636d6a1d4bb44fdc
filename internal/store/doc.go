// Package store keeps everything that must survive a crash: signals and their dedup, decisions, actions
// and attempts, receipts and their chain, jobs, resources, secrets, keys and tokens, and what the
// transmitter needs (streams, outbox, orders sent, receipts accepted). What is decided, sent or signed is
// the business of internal/flow and of the SDK; what a secret means, of internal/vault.
//
// One *Store serves two engines with one SQL text wherever both read it:
//
//	             caller ── Keep, Done, Decide, … ──► bounded queue (full: hub.Unavailable)
//	                                                      │
//	SQLite:      one writer takes what is queued (at most 256), one transaction, COMMIT, answers, repeats.
//	             Hot writes share statements of many rows; each other write has a savepoint of its own.
//	PostgreSQL:  two writers send what is queued of the hot writes in one round trip each (pgxpool);
//	             other writes are transactions of their own over database/sql on the same pool.
//
// There is no timer: at low load a write has a commit of its own, on a slow disk batches grow by themselves.
//
// # When a commit fails
//
// SQLite: an error of COMMIT or fsync ends the process (Config.Fatal). Nobody knows then what is on the disk,
// and a second fsync would report success for pages that were dropped. PostgreSQL: the server looks after its own
// disk. When the connection breaks at COMMIT the write is there or not; the caller gets hub.Unavailable and
// the process goes on, because each verb bears a repeat: a kept signal is a repeat, a finished job is a
// stale claim, a receipt that is there is a conflict.
//
// # Jobs
//
// A job is claimed under a lease of 30 s and a claim id that nobody had before; each write of a worker names it, and
// a stale one is refused with hub.Conflict before anything is written. What an earlier life of
// the same Config.Node held is free again at Open, so kill -9 costs no lease; on PostgreSQL ClaimJobs looks
// again in the first seconds, since the server may still carry out what a killed process sent last.
//
// Rows have integer keys inside, taken in blocks so that a key costs no statement; people see the prefixed ids.
// Every row belongs to a tenant, itself or through its parent; an empty tenant is refused everywhere. Text with NUL
// or invalid UTF-8 is refused on both engines, since PostgreSQL would.
package store
