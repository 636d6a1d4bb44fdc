package transmitter

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"countersign/internal/strictjson"
	"countersign/set"
	"countersign/stream"
)

// shapeOf is the shape of a stream.
func shapeOf(st *Stream) *shape {
	if sh := shapeNamed(st.Shape); sh != nil {
		return sh
	}
	return final
}

// spelled is a delivery method as the shape spells it.
func (sh *shape) spelled(m string) string {
	for _, name := range slices.Backward(sh.methods) { // an older name, where there is one, stands last
		if method(name) == m {
			return name
		}
	}
	return m
}

// translate brings a wanted configuration of an older draft to the names of SSF 1.0: the examples of SSE ID1 §7.1.2 say
// delivery_method and url where its text says method and endpoint_url.
func (sh *shape) translate(want *stream.Configuration) {
	if !sh.plain || want.Delivery == nil {
		return
	}
	for name, into := range map[string]*string{"delivery_method": &want.Delivery.Method, "url": &want.Delivery.EndpointURL} {
		if raw, ok := want.Delivery.Extra[name]; ok && *into == "" {
			if text, err := strictjson.String(raw); err == nil {
				*into = text
			}
		}
	}
}

// applyTerms takes over what receivers of such a shape bring along: the format in which they want people named, and at
// creation the aud of their SETs (LEG-21).
func (s *Server) applyTerms(st *Stream, want *stream.Configuration, whole bool) error {
	raw, ok := want.Extra["format"]
	switch {
	case ok:
		format, err := strictjson.String(raw)
		if err != nil {
			return bad("format is not a string")
		}
		if format == "" || len(format) > 64 {
			return bad("format is empty or too long")
		}
		st.Format = format
	case whole:
		st.Format = ""
	}
	if len(want.Audience) > 10 {
		return bad("aud has more than 10 values")
	}
	for _, aud := range want.Audience {
		if aud == "" || len(aud) > maxAudience {
			return bad("aud is empty or longer than %d octets", maxAudience)
		}
	}
	return nil
}

// legacyBody is Body for an event about a stream, in an older shape.
func legacyBody(sh *shape, about json.RawMessage, typ string, payload []byte) []byte {
	b := strictjson.AppendString([]byte(`,"txn":`), set.NewID())
	b = strictjson.AppendString(append(b, `,"events":{`...), typ)
	if !sh.bare {
		payload = append(append([]byte(`{"subject":`), about...), append(separator(payload), payload[1:]...)...)
	}
	b = append(append(b, ':'), payload...)
	return append(b, "}}"...)
}

// separator is the comma after a first member, where more follow.
func separator(object []byte) []byte {
	if len(object) > len("{}") {
		return []byte{','}
	}
	return nil
}

// greetings are the streams that get a verification event unasked, and when.
type greetings struct {
	mu  sync.Mutex
	due map[string]time.Time // by stream_id
}

// greet notes that a new stream's receiver waits for a verification event (LEG-24). It is lost where the process ends
// first; the receiver can ask for one.
func (s *Server) greet(st *Stream) {
	wait := shapeOf(st).greeting
	if wait == 0 {
		return
	}
	s.greetings.mu.Lock()
	defer s.greetings.mu.Unlock()
	if s.greetings.due == nil {
		s.greetings.due = map[string]time.Time{}
	}
	s.greetings.due[st.ID] = s.cfg.Now().Add(wait)
}

// sendGreetings sends what is due.
func (s *Server) sendGreetings(ctx context.Context) {
	now := s.cfg.Now()
	var ids []string
	s.greetings.mu.Lock()
	for id, at := range s.greetings.due {
		if !at.After(now) {
			ids = append(ids, id)
			delete(s.greetings.due, id)
		}
	}
	s.greetings.mu.Unlock()
	for _, id := range ids {
		if err := s.t.Verification(ctx, id); err != nil && ctx.Err() == nil {
			s.cfg.Log.WarnContext(ctx, "a new stream got no verification event", "stream", id, "error", err)
		}
	}
}
