// Package expr is the one room that knows CEL: the conditions of policies, the outcome rules of packs,
// and the ${…} interpolation of requests.
//
// An Env knows which names there are and what they hold; a Program is one expression, compiled once and
// evaluated often; a Template is a text with ${…} in it, escaped for the place it stands in. Names are
// checked when an expression is compiled: a member that an event type lacks is refused then, and one that
// is merely absent from an event reads as empty, while has() and .? still tell that it is absent.
//
// Every program runs under a cost budget and every source under a size limit, since packs and policies
// are written by people and evaluated over what strangers send. No CEL type leaves the room.
package expr
