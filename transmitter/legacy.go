package transmitter

import (
	"time"

	"countersign/event/ssf"
	"countersign/stream"
)

// The older shapes that a transmitter can serve in place of SSF 1.0, for Config.Legacy, Caller.Shape and Stream.Shape.
const (
	ShapeSSE   = "sse-id1" // Shared Signals and Events, Implementer's Draft 1 of 2021
	ShapeApple = "apple"   // as Apple Business Manager and Apple School Manager speak it
	// For receivers without a stream API, of whom an operator makes the stream; not for Config.Legacy.
	ShapeOkta      = "okta"             // the subject stands in the event only, wrapped as the user
	ShapeWorkspace = "google-workspace" // it stands in the event and in sub_id
)

// The delivery methods of SSE ID1 §11.2.1 (LEG-2).
const (
	legacyPush = "https://schemas.openid.net/secevent/risc/delivery-method/push"
	legacyPoll = "https://schemas.openid.net/secevent/risc/delivery-method/poll"
)

const wellKnownSSE = "/.well-known/sse-configuration"

// shape is what differs between SSF 1.0 and an older form of the stream API. The form of the SETs is shapeBody's.
type shape struct {
	name string
	// wellKnown are the paths of the metadata, inserted and appended.
	wellKnown []string
	// plain metadata has no spec_version and none of the members that came with SSF 1.0 (LEG-1, LEG-26).
	plain bool
	// methods are the delivery methods that the metadata lists.
	methods []string
	// single: a receiver has one stream, which requests without stream_id mean, and which POST replaces (LEG-3 to LEG-7).
	single bool
	// created is the status of the answer to the POST that made the stream.
	created int
	// updates: PATCH and PUT are served.
	updates bool
	// deleted is the status of the answer to DELETE.
	deleted int
	// terms: the receiver brings its own aud and format, which are kept and echoed (LEG-21).
	terms bool
	// verification and updated are the event types about the stream (LEG-8).
	verification, updated string
	// bare: the verification event has no subject but only the state (SSE ID1 §7.1.4.1).
	bare bool
	// direct: it has no stream API of its own, and is of single streams only.
	direct bool
	// greeting is how long after its creation a stream gets a verification event unasked; 0: it does not (LEG-24).
	greeting time.Duration
}

// final is SSF 1.0.
var final = &shape{
	wellKnown:    []string{stream.WellKnownPath},
	methods:      []string{stream.PushMethod, stream.PollMethod},
	created:      201,
	updates:      true,
	deleted:      204,
	verification: ssf.VerificationURI,
	updated:      ssf.StreamUpdatedURI,
}

// shapes are the older ones.
var shapes = []*shape{
	{
		name:         ShapeSSE,
		wellKnown:    []string{wellKnownSSE},
		plain:        true,
		methods:      []string{legacyPush, legacyPoll},
		single:       true,
		created:      200,
		deleted:      200,
		verification: "https://schemas.openid.net/secevent/sse/event-type/verification",
		updated:      "https://schemas.openid.net/secevent/sse/event-type/stream-updated",
		bare:         true,
	},
	{
		name:         ShapeApple,
		wellKnown:    []string{stream.WellKnownPath, wellKnownSSE},
		plain:        true,
		methods:      []string{stream.PushMethod, stream.PollMethod, legacyPush, legacyPoll}, // LEG-20
		single:       true,
		created:      201,
		updates:      true,
		deleted:      204,
		terms:        true,
		verification: ssf.VerificationURI,
		updated:      ssf.StreamUpdatedURI,
		greeting:     3 * time.Second,
	},
	direct(ShapeOkta),
	direct(ShapeWorkspace),
}

// direct is SSF 1.0 but for the form of the SETs.
func direct(name string) *shape {
	s := *final
	s.name, s.direct = name, true
	return &s
}

// shapeNamed gives a shape by its name, nil where there is none. The empty name is SSF 1.0.
func shapeNamed(name string) *shape {
	if name == "" {
		return final
	}
	for _, s := range shapes {
		if s.name == name {
			return s
		}
	}
	return nil
}

// method gives the delivery method that a name of any draft stands for; empty: none.
func method(name string) string {
	switch name {
	case stream.PushMethod, legacyPush:
		return stream.PushMethod
	case stream.PollMethod, legacyPoll:
		return stream.PollMethod
	}
	return ""
}
