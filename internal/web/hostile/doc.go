// Package hostile holds the doors of a whole hub to their answers when what comes in is wrong on purpose.
// It has tests only.
//
// A case is a file below testdata. It says what is sent, the exact status and error of the answer, and
// everything that may have changed afterwards: rows, metrics, calls to the application, fetches of keys,
// deliveries. What a file does not name must not have changed. The hub is a real one on a TLS listener, with
// SQLite and again with PostgreSQL; the application, the transmitter whose tokens come in and the receiver that
// answers with receipts are real and count what reaches them. A listener that tokens point at counts
// connections, and none may come.
//
//	receive/   pushed tokens and everything around them
//	receipts/  receipts for orders that this hub sent
//	streams/   the stream API
//	api/       the admin API
//	operate/   what operators ask about streams, deliveries, orders, keys and tenants
//	slow/      connections that stall; they run beside the others, on a hub of their own
//	evil/      texts that a transmitter with a good key may write to harm who reads them; pages, commands, logs, refusals and
//	           receipts show them as text
//	vectors.txt  what the push door answers to each token file of package set
//
// The format is in testdata/README.md.
package hostile
