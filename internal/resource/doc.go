// Package resource reads the declarative form of surface.md §3: one document in, one checked resource out.
//
// Everything that can be known from the document alone is checked here, each refusal with its line, column
// and cure: unknown keys, kinds and fields that this version does not act on, words outside their list,
// secrets given as values. What needs other resources (does the pack exist, does the event type have that
// member, is the named source there) is checked by the caller with internal/connector and
// internal/flow/decide.
package resource
