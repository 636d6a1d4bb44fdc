package ssf

import "countersign/event"

// The event type URIs (SSF 1.0 §8.1.4.1, §8.1.5).
const (
	VerificationURI  = "https://schemas.openid.net/secevent/ssf/event-type/verification"
	StreamUpdatedURI = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated"
)

// Vocabulary lists the event types of SSF 1.0.
func Vocabulary() []event.Type {
	return []event.Type{
		{
			URI: VerificationURI, Name: "ssf/verification", Title: "Verification", Clause: "SSF 1.0 §8.1.4.1",
			StreamLevel: true, New: func() event.Payload { return new(Verification) }, Members: event.Names(new(Verification)),
		},
		{
			URI: StreamUpdatedURI, Name: "ssf/stream-updated", Title: "Stream updated", Clause: "SSF 1.0 §8.1.5",
			StreamLevel: true, New: func() event.Payload { return new(StreamUpdated) }, Members: event.Names(new(StreamUpdated)),
		},
	}
}
