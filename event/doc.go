// Package event holds what is common to all security event types: the row that describes one type,
// the registry that finds rows and decodes payloads, and the description of members that vocabularies
// use. The types themselves live in vocabularies: caep, risc, ssf and scim beside this package, or your own.
//
// A registry is built by value, there is no global one:
//
//	registry := event.NewRegistry(caep.Vocabulary(), risc.Vocabulary(), ssf.Vocabulary(), scim.Vocabulary())
//	payload, err := registry.Decode(uri, raw)
//
// Decode is strict about the members a type defines and lenient about all others: a known member of
// the wrong JSON type, or with a value outside its closed set, is refused with its name; an unknown
// member is kept and written back as it came, byte for byte, large numbers included (SSF 1.0 §4.2.3). An unknown
// event type is no error either: its payload is a Raw.
//
// Which event a token carries, and about whom, is the business of set and subject; what to do about
// it is nobody's business here.
package event
