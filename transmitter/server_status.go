package transmitter

import (
	"net/http"
	"strconv"
	"time"

	"countersign/event/ssf"
	"countersign/internal/strictjson"
	"countersign/set"
	"countersign/stream"
	"countersign/subject"
)

// readStatus answers GET on the status endpoint, SSF 1.0 §8.1.2.1.
func (s *Server) readStatus(w http.ResponseWriter, r *http.Request) {
	c, ok := s.caller(w, r)
	if !ok {
		return
	}
	id, present, ok := streamID(w, r)
	if !ok {
		return
	}
	if !present {
		s.failed(w, r, bad("stream_id is missing"))
		return
	}
	st, err := s.cfg.Store.Stream(r.Context(), c.Receiver, id)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	if allowed(w, c, ScopeRead) {
		reply(w, http.StatusOK, stream.Status{StreamID: st.ID, Status: st.Status, Reason: st.Reason})
	}
}

// setStatus answers POST on the status endpoint, SSF 1.0 §8.1.2.2. Every change is allowed, also out of disabled
// (P-31). A change that the receiver asked for is not announced by a stream-updated event (TX-108).
func (s *Server) setStatus(w http.ResponseWriter, r *http.Request) {
	c, ok := s.caller(w, r)
	if !ok {
		return
	}
	var want stream.Status
	if _, ok := s.body(w, r, &want); !ok {
		return
	}
	if err := want.Validate(); err != nil {
		invalid(w, err)
		return
	}
	if _, err := s.cfg.Store.Stream(r.Context(), c.Receiver, want.StreamID); err != nil {
		s.failed(w, r, err)
		return
	}
	if !allowed(w, c, ScopeManage) {
		return
	}
	st, err := s.cfg.Store.UpdateStream(r.Context(), c.Receiver, want.StreamID, func(st *Stream) error {
		st.Status, st.Reason, st.Updated = want.Status, cut(want.Reason, maxReason), At(s.cfg.Now())
		return nil
	})
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.changed(r.Context())
	reply(w, http.StatusOK, stream.Status{StreamID: st.ID, Status: st.Status, Reason: st.Reason})
}

// verify answers POST on the verification endpoint, SSF 1.0 §8.1.4.2: one event for each request, sent as soon as
// the stream may transmit. While it is paused the event is held; while it is disabled the request is refused (TX-133).
func (s *Server) verify(w http.ResponseWriter, r *http.Request) {
	c, ok := s.caller(w, r)
	if !ok {
		return
	}
	var want stream.VerifyRequest
	if _, ok := s.body(w, r, &want); !ok {
		return
	}
	if want.StreamID == "" {
		s.failed(w, r, bad("stream_id is missing"))
		return
	}
	st, err := s.cfg.Store.Stream(r.Context(), c.Receiver, want.StreamID)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	if !allowed(w, c, ScopeManage) {
		return
	}
	if st.Status == Disabled {
		s.failed(w, r, bad("the stream is disabled: nothing is sent on it"))
		return
	}
	if wait := s.tooSoon(st.Key); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		refuse(w, http.StatusTooManyRequests, "too_many_requests", "verification was requested less than min_verification_interval ago") // TX-125
		return
	}
	out, err := s.verification(st, want.State)
	if err == nil {
		err = s.cfg.Store.Enqueue(r.Context(), out)
	}
	if err == nil && out.Rows[0].Seq == 0 { // stopped or deleted since it was read
		err = ErrNotFound
	}
	if err != nil {
		s.forgive(st.Key)
		s.failed(w, r, err)
		return
	}
	s.t.Notify(out)
	w.WriteHeader(http.StatusNoContent)
}

// verification makes the event, SSF 1.0 §8.1.4.1: about the stream itself, with the state as it came.
func (s *Server) verification(st *Stream, state string) (*Outgoing, error) {
	signer, err := s.t.keys().signer(st.Algorithm)
	if err != nil {
		return nil, err
	}
	about := subject.Opaque(st.ID) // TX-129
	payload := []byte("{}")
	if state != "" { // never "state": null (TX-134)
		payload = append(strictjson.AppendString([]byte(`{"state":`), state), '}')
	}
	return &Outgoing{
		Event: Event{Type: ssf.VerificationURI, Subject: about.Key(), Body: Body("", 0, about.Raw(), ssf.VerificationURI, payload)},
		Rows: []Row{{Stream: st.Key, StreamID: st.ID, JTI: set.NewID(), IssuedAt: s.cfg.Now().Unix(),
			KeyID: signer.KeyID(), Algorithm: string(signer.Algorithm())}},
	}, nil
}

// tooSoon counts an accepted request, and says how long to wait where the last one is too fresh (P-72).
func (s *Server) tooSoon(key int64) time.Duration {
	if s.cfg.MinVerification <= 0 {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	if last, ok := s.verified[key]; ok {
		if wait := s.cfg.MinVerification - now.Sub(last); wait > 0 {
			return wait
		}
	}
	if len(s.verified) > 1000 {
		for k, last := range s.verified {
			if now.Sub(last) > s.cfg.MinVerification {
				delete(s.verified, k)
			}
		}
	}
	s.verified[key] = now
	return 0
}

// forgive takes back a request that was counted and then not accepted.
func (s *Server) forgive(key int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.verified, key)
}
