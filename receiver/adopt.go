package receiver

import (
	"slices"
	"strings"

	"countersign/stream"
)

// Difference is one point in which a stream that is there is not the one that we want.
type Difference struct {
	Member string // such as "delivery.endpoint_url"
	Have   string // what the stream says; empty: nothing
	Want   string
	// Foreign says that the stream is in use by somebody else, as far as can be seen: it delivers elsewhere or is meant for
	// another audience. Such a stream is neither changed nor deleted. Other differences an update mends.
	Foreign bool
}

// The older names of the delivery methods, from the drafts.
const (
	OldPushMethod = "https://schemas.openid.net/secevent/risc/delivery-method/push"
	OldPollMethod = "https://schemas.openid.net/secevent/risc/delivery-method/poll"
)

// Method gives the name of SSF 1.0 for a delivery method under either of its names.
func Method(name string) string {
	switch name {
	case OldPushMethod:
		return stream.PushMethod
	case OldPollMethod:
		return stream.PollMethod
	}
	return name
}

// Adopt compares a stream that is there with the one that we want, before it is taken as ours: 409 on create, or a stream_id
// that an operator gave. Nothing different: take it as it is. What the transmitter supplies or may leave out of its answers
// (the secret, and the address of a poll) is not compared, and events only as far as they were asked for.
func Adopt(have, want *stream.Configuration) []Difference {
	var all []Difference
	differ := func(member, h, w string, foreign bool) {
		if h != w {
			all = append(all, Difference{Member: member, Have: h, Want: w, Foreign: foreign})
		}
	}
	if want.StreamID != "" {
		differ("stream_id", have.StreamID, want.StreamID, true)
	}
	if want.Issuer != "" {
		differ("iss", have.Issuer, want.Issuer, true)
	}
	// An audience that we know must be among those of the stream; more of them do no harm.
	for _, aud := range want.Audience {
		if !slices.Contains(have.Audience, aud) {
			all = append(all, Difference{Member: "aud", Have: strings.Join(have.Audience, " "), Want: aud, Foreign: true})
		}
	}
	if want.Delivery != nil {
		// A stream without delivery is a poll stream (SSF 1.0 §8.1.1.1).
		h := stream.Delivery{Method: stream.PollMethod}
		if have.Delivery != nil {
			h = *have.Delivery
		}
		method := Method(want.Delivery.Method)
		push := method == stream.PushMethod
		differ("delivery.method", Method(h.Method), method, Method(h.Method) == stream.PushMethod)
		if push && Method(h.Method) == stream.PushMethod {
			differ("delivery.endpoint_url", h.EndpointURL, want.Delivery.EndpointURL, true)
		}
	}
	if want.EventsRequested != nil && !sameSet(have.EventsRequested, want.EventsRequested) {
		all = append(all, Difference{Member: "events_requested",
			Have: strings.Join(sorted(have.EventsRequested), " "), Want: strings.Join(sorted(want.EventsRequested), " ")})
	}
	if want.Description != "" {
		differ("description", have.Description, want.Description, false)
	}
	return all
}

// Foreign tells whether a difference says that the stream is somebody else's.
func Foreign(all []Difference) bool {
	return slices.ContainsFunc(all, func(d Difference) bool { return d.Foreign })
}

func sorted(in []string) []string {
	out := slices.Clone(in)
	slices.Sort(out)
	return slices.Compact(out)
}

func sameSet(a, b []string) bool { return slices.Equal(sorted(a), sorted(b)) }
