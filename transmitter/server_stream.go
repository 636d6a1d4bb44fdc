package transmitter

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"countersign/internal/strictjson"
	"countersign/set"
	"countersign/stream"
)

// create answers POST on the configuration endpoint, SSF 1.0 §8.1.1.1.
func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	c, ok := s.caller(w, r)
	if !ok {
		return
	}
	want, _, ok := s.wanted(w, r, c)
	if !ok {
		return
	}
	sh := s.shape(c)
	st := s.blank(c)
	if err := s.apply(r.Context(), c, st, want, true); err != nil {
		s.failed(w, r, err)
		return
	}
	if !allowed(w, c, ScopeManage) {
		return
	}
	if sh.single {
		old, err := s.owned(r.Context(), c, "")
		switch {
		case err == nil && slices.Equal(old.Audience, s.audience(c, old.ID, want)):
			s.change(w, r, c, old.ID, st, func(string) bool { return true }) // LEG-4
			return
		case err == nil: // the aud of a stream never changes, so this is another stream
			err = s.cfg.Store.DeleteStream(r.Context(), c.Receiver, old.ID)
			if err == nil {
				s.t.adjust(r.Context(), old.Key)
			}
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			s.failed(w, r, err)
			return
		}
	}
	if _, err := s.t.keys().signer(c.Algorithm); err != nil {
		s.failed(w, r, err)
		return
	}
	st.Audience = s.audience(c, st.ID, want)
	limit := streamLimit(s.cfg, c)
	if sh.single {
		limit = 1
	}
	if err := s.cfg.Store.CreateStream(r.Context(), st, limit); err != nil {
		s.failed(w, r, err)
		return
	}
	s.t.adjust(r.Context(), st.Key)
	s.greet(st)
	reply(w, sh.created, s.configuration(c, st))
}

// blank is a stream of a caller before anything is said about it.
func (s *Server) blank(c Caller) *Stream {
	now := At(s.cfg.Now())
	return &Stream{
		ID: "str_" + set.NewID(), Receiver: c.Receiver, Algorithm: c.Algorithm, Status: Enabled, Method: stream.PollMethod,
		DefaultSubjects: s.baseline(c), Naming: c.Naming, Shape: s.shape(c).name,
		InactivityTimeout: int64(s.cfg.Inactivity / time.Second), Created: now, Updated: now,
	}
}

// wanted reads a configuration that a receiver wants.
func (s *Server) wanted(w http.ResponseWriter, r *http.Request, c Caller) (want *stream.Configuration, data []byte, ok bool) {
	want = new(stream.Configuration)
	if data, ok = s.body(w, r, want); !ok {
		return nil, nil, false
	}
	if err := noNulls(data); err != nil { // TX-84
		s.failed(w, r, err)
		return nil, nil, false
	}
	s.shape(c).translate(want)
	return want, data, true
}

// readStreams answers GET: one object with stream_id, an array without, SSF 1.0 §8.1.1.2.
func (s *Server) readStreams(w http.ResponseWriter, r *http.Request) {
	c, ok := s.caller(w, r)
	if !ok {
		return
	}
	id, one, ok := streamID(w, r)
	if !ok {
		return
	}
	if one || s.shape(c).single { // LEG-3
		st, err := s.owned(r.Context(), c, id)
		if err != nil {
			s.failed(w, r, err)
			return
		}
		if allowed(w, c, ScopeRead) {
			reply(w, http.StatusOK, s.configuration(c, st))
		}
		return
	}
	if !allowed(w, c, ScopeRead) {
		return
	}
	streams, err := s.cfg.Store.Streams(r.Context(), c.Receiver)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	all := make([]stream.Configuration, 0, len(streams)) // [] and never null (TX-74)
	for i := range streams {
		all = append(all, s.configuration(c, &streams[i]))
	}
	reply(w, http.StatusOK, all)
}

// patch answers PATCH: top-level members that are present replace what was, SSF 1.0 §8.1.1.3.
func (s *Server) patch(w http.ResponseWriter, r *http.Request) { s.update(w, r, false) }

// put answers PUT: receiver-supplied members that are absent are deleted, SSF 1.0 §8.1.1.4.
func (s *Server) put(w http.ResponseWriter, r *http.Request) { s.update(w, r, true) }

func (s *Server) update(w http.ResponseWriter, r *http.Request, whole bool) {
	c, ok := s.caller(w, r)
	if !ok {
		return
	}
	want, data, ok := s.wanted(w, r, c)
	if !ok {
		return
	}
	// Everything is checked on a copy first, so that nothing slow happens in the transaction and nothing is changed
	// by a request that is refused.
	now, err := s.owned(r.Context(), c, want.StreamID) // TX-76, TX-87: the id is in the body
	has := func(name string) bool { return present(data, name) }
	if err == nil {
		err = s.match(c, now, want, has) // TX-79, TX-80: compared with what was before
	}
	if err == nil {
		err = s.apply(r.Context(), c, now, want, whole)
	}
	if err != nil {
		s.failed(w, r, err)
		return
	}
	if !allowed(w, c, ScopeManage) {
		return
	}
	s.change(w, r, c, now.ID, now, func(name string) bool { return whole || has(name) })
}

// change carries the members that are named from now, where they were checked, into the stream, and answers.
func (s *Server) change(w http.ResponseWriter, r *http.Request, c Caller, id string, now *Stream, has func(name string) bool) {
	st, err := s.cfg.Store.UpdateStream(r.Context(), c.Receiver, id, func(st *Stream) error {
		if has("events_requested") {
			st.Requested, st.Delivered = slices.Clone(now.Requested), slices.Clone(now.Delivered)
		}
		if has("delivery") {
			st.Method, st.Endpoint, st.Authorization = now.Method, now.Endpoint, now.Authorization
		}
		if has("description") {
			st.Description = now.Description
		}
		if has("format") {
			st.Format = now.Format
		}
		if has(s.cfg.Vocabulary.Settings) {
			st.Receipts, st.ReceiptIssuer = now.Receipts, now.ReceiptIssuer
		}
		st.Updated = At(s.cfg.Now())
		return nil
	})
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.t.adjust(r.Context(), st.Key)
	reply(w, http.StatusOK, s.configuration(c, st)) // all of it (TX-82)
}

// remove answers DELETE, SSF 1.0 §8.1.1.5. All streams are never deleted at once (TX-96).
func (s *Server) remove(w http.ResponseWriter, r *http.Request) {
	c, ok := s.caller(w, r)
	if !ok {
		return
	}
	id, _, ok := streamID(w, r)
	if !ok {
		return
	}
	if id == "" && s.shape(c).single && r.ContentLength != 0 { // LEG-23: with the id in a body, or with none
		var in struct {
			ID string `json:"stream_id"`
		}
		data, ok := s.bytes(w, r, s.cfg.MaxBody)
		if !ok {
			return
		}
		if len(data) > 0 {
			if err := strictjson.Unmarshal(data, &in); err != nil {
				invalid(w, err)
				return
			}
		}
		id = in.ID
	}
	st, err := s.owned(r.Context(), c, id)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	if !allowed(w, c, ScopeManage) {
		return
	}
	if err := s.cfg.Store.DeleteStream(r.Context(), c.Receiver, st.ID); err != nil {
		s.failed(w, r, err)
		return
	}
	s.t.adjust(r.Context(), st.Key) // held polls end (TX-95)
	w.WriteHeader(s.shape(c).deleted)
}

// configuration is a stream as its receiver sees it. The authorization header is a secret and stays here (TX-71).
func (s *Server) configuration(c Caller, st *Stream) stream.Configuration {
	sh := shapeOf(st)
	out := stream.Configuration{
		StreamID: st.ID, Issuer: s.cfg.Issuer, Audience: st.Audience,
		EventsSupported: s.supported(c), EventsRequested: st.Requested, EventsDelivered: st.Delivered,
		Delivery:                &stream.Delivery{Method: sh.spelled(st.Method), EndpointURL: s.endpoint(st)},
		MinVerificationInterval: s.interval(st), InactivityTimeout: st.InactivityTimeout, Description: st.Description,
		Extra: map[string]json.RawMessage{"status": strictjson.AppendString(nil, st.Status)},
	}
	if out.EventsDelivered == nil {
		out.EventsDelivered = []string{} // REQUIRED (TX-49)
	}
	if st.Receipts != nil {
		out.Extra[s.cfg.Vocabulary.Settings] = st.Receipts
	}
	if st.Format != "" {
		out.Extra["format"] = strictjson.AppendString(nil, st.Format)
	}
	if baseline := defaultSubjects(st); baseline != s.baseline(Caller{}) { // other than the metadata says
		out.Extra["default_subjects"] = strictjson.AppendString(nil, baseline)
	}
	return out
}
