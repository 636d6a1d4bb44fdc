// Package ssf is the listener for other systems: discovery, keys and the stream API for our own
// receivers, the receive addresses of our sources, and receipts in.
//
// It owns who a caller is (bearer tokens of clients, by hash), which path leads where, and what a
// connection may cost: times, header and body sizes, and how many requests are worked on at once. What
// the paths do is transmitter's (streams, receipts in) and internal/flow/ingest's (receive). Nothing
// here is for people; the admin API and the console listen elsewhere.
package ssf
