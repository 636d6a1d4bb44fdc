// Package store keeps everything that must survive: signals and their dedup, decisions, actions and
// attempts, receipts, jobs, resources, secrets, and what the transmitter needs. One *Store serves
// two engines, SQLite and PostgreSQL, with one SQL text wherever both read it.
package store
