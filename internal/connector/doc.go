// Package connector runs packs: it reads pack.yaml, renders a request, authenticates, sends it, and
// judges the answer.
//
// A pack is data. Its format is surface.md §4: settings and secrets as typed fields, one auth kind,
// guards, and operations, each with a request template and outcome rules in CEL. Go holds only the few
// shared verbs: the HTTP exchange, the auth kinds (one file each), the rules' order, redaction, rates.
//
// The flow through Runner.Do is: guards (never) → render → rate → send → bound and parse the answer →
// done, already_done, accepted, refused, retry, else unknown. The room never repeats a request, never
// waits for a read-back and knows no states: which operation follows which, and what an answer means
// for an action, is internal/flow/act's business. Who may be called at all is internal/egress's.
//
// Answers come from outside and are hostile: at most 1 MiB is read, JSON passes internal/strictjson
// first, and what is kept for people is cut short with every secret and declared field masked.
package connector
