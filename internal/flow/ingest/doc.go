// Package ingest is where a signal comes in: a pushed SET, or plain JSON of an API client. It is
// verified, given the one form of hub.Signal, and kept once; only then the sender has its answer.
//
// The wire and its errors are receiver's, signatures set's, directives receipt's, rows the store's. What is
// ours: which policy holds for which source (the audience that the stream's configuration says, A9 and
// A10 for orders), what makes a repeat a repeat, and what becomes of a directive.
//
//	POST /receive/{id} ─► receiver.Handler ─► signature, claims, event, subject ─┐
//	                                                                             ├► signal ─► Keep ─► 202
//	POST /api/v1/signals ─► web/api ─► [Door.Submit] ────────────────────────────┘    │
//	                                                                    repeat: 202, nothing again
//	                                                                    clash:  400, kept as evidence, alarmed
package ingest
