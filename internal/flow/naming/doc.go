// Package naming gives the identifier by which a receiver knows a person: the account id at the place that the stream
// says, or another form that the receiver understands.
//
//	subject of the event ─► who it is (read only) ─► account at account_at ─► identifier in the stream's format
//	                                     │                     └ none ─► otherwise ─► or a skip with its reason
//	                                     └ nobody, or several ─► a skip with its reason
//
// Whatever the event called the person, a stream with a rule is told only what the rule makes: an identifier of one
// place never reaches a receiver that is named by another. iss_sub takes the issuer of the source that account_at
// names. complex holds a user and nothing else: what an event says of devices, sessions and tenants stands in the name
// spaces of the place that it came from.
//
// Who a person is comes from the tenant's identities. A subject that came from a source, or whose person was found
// already, is handed on with [With]; any other one is looked up by e-mail address, and by the issuers that the
// tenant's sources may speak for. A reason names no subject.
//
// It leaves which streams an event goes to, and the place of a skip in the history, to package transmitter; whom a
// received signal is about to internal/flow/correlate; and what a rule may say to internal/resource.
package naming
