// Package server builds the hub from its configuration: store, vault, flow and doors, and how they
// hang together. It starts everything, stops everything, and does nothing else.
//
// [New] opens the store, makes what a first start needs (signing keys, the operator's token) and binds the
// listeners; [Server.Run] serves until its context ends. In between, view.go compiles the resources into
// what each room needs and swaps it whole when they change, judge.go joins correlation and decision, check.go
// is what apply asks before it writes, adapt.go fits rooms that do not know each other together.
//
// Several tenants live side by side: tenant.go holds what is a tenant's own (its view and its transmitter), route.go
// gives each request to the tenant of its address. The store, the belt, the way out and the metrics are shared, and
// every row and job says whose it is. settle.go makes the streams that operators declare and holds receivers to what their
// client may have; transmit.go carries out what policies pass on; keys.go lets signing keys change; watch.go looks after
// streams and orders; trace.go makes spans.
//
//	           ┌ web/ssf ── ingest ─┐                 ┌ act ── connector ─┐
//	listeners ─┤                    ├─ flow.Belt ─────┼ emit              ├─ egress ─► outside
//	           └ web/api, console ──┘   (jobs)        └ enroll            ┘
//	                      │                 │
//	                      └──── store ──────┘          vault: keys, secrets
package server
