package transmitter

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"countersign/stream"
	"countersign/subject"
)

// maxState bounds the state of a verification request, in octets.
const maxState = 4096

// readStatus answers GET on the status endpoint, SSF 1.0 §8.1.2.1.
func (s *Server) readStatus(w http.ResponseWriter, r *http.Request) {
	c, ok := s.caller(w, r)
	if !ok {
		return
	}
	id, _, ok := streamID(w, r)
	if !ok {
		return
	}
	st, err := s.owned(r.Context(), c, id) // TX-97
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
	data, ok := s.body(w, r, &want)
	if !ok {
		return
	}
	if err := want.Validate(); err != nil && (want.StreamID != "" || !s.shape(c).single) {
		invalid(w, err)
		return
	}
	st, err := s.owned(r.Context(), c, want.StreamID)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	if s.shape(c).single {
		want.StreamID = st.ID
		if err := want.Validate(); err != nil {
			invalid(w, err)
			return
		}
	}
	if !allowed(w, c, ScopeManage) {
		return
	}
	if s.shape(c).single && present(data, "subject") {
		s.setSubjectStatus(w, r, st, want.Status, data)
		return
	}
	if want.Status == Enabled && st.Status != Enabled && st.Method == stream.PushMethod {
		// Where a receiver may be pushed to can have become less since its stream was made.
		if err := s.checkURL(r.Context(), c, "delivery.endpoint_url", st.Endpoint); err != nil {
			s.failed(w, r, err)
			return
		}
	}
	st, err = s.cfg.Store.UpdateStream(r.Context(), c.Receiver, st.ID, func(st *Stream) error {
		st.Status, st.Reason, st.Updated = want.Status, cut(want.Reason, maxReason), At(s.cfg.Now())
		return nil
	})
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.t.adjust(r.Context(), st.Key) // in force when the answer leaves (TX-104, TX-106)
	reply(w, http.StatusOK, stream.Status{StreamID: st.ID, Status: st.Status, Reason: st.Reason})
}

// setSubjectStatus sets the status of one subject, which SSE ID1 §7.1.1 has and SSF 1.0 has not: it is put on the list
// of the stream or taken off (LEG-6).
func (s *Server) setSubjectStatus(w http.ResponseWriter, r *http.Request, st *Stream, status string, data []byte) {
	var in struct {
		Subject json.RawMessage `json:"subject"`
	}
	_ = json.Unmarshal(data, &in)
	sub, err := subject.Parse(in.Subject)
	switch {
	case err != nil:
		invalid(w, err)
		return
	case status == Paused:
		s.failed(w, r, bad("a single subject is enabled or disabled; it cannot be paused"))
		return
	}
	if err := s.t.listSubject(r.Context(), st, sub, status == Enabled, true); err != nil {
		s.failed(w, r, err)
		return
	}
	reply(w, http.StatusOK, struct {
		Status  string          `json:"status"`
		Subject json.RawMessage `json:"subject"`
	}{status, in.Subject})
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
	if len(want.State) > maxState {
		s.failed(w, r, bad("state is longer than %d octets", maxState))
		return
	}
	st, err := s.owned(r.Context(), c, want.StreamID)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	if !allowed(w, c, ScopeManage) {
		return
	}
	if st.Status == Disabled {
		s.failed(w, r, ErrDisabled)
		return
	}
	if wait := s.tooSoon(st); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		refuse(w, http.StatusTooManyRequests, "too_many_requests", "verification was requested less than min_verification_interval ago") // TX-125
		return
	}
	if err := s.t.verify(r.Context(), st, want.State); err != nil {
		s.forgive(st.Key)
		s.failed(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent) // the event is kept (TX-126)
}

// tooSoon counts an accepted request, and says how long to wait where the last one is too fresh (P-72).
func (s *Server) tooSoon(st *Stream) time.Duration {
	least := time.Duration(s.interval(st)) * time.Second
	if least <= 0 {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	if next, ok := s.verified[st.Key]; ok {
		if wait := next.Sub(now); wait > 0 {
			return wait
		}
	}
	if len(s.verified) > 1000 {
		for key, next := range s.verified {
			if !next.After(now) {
				delete(s.verified, key)
			}
		}
	}
	s.verified[st.Key] = now.Add(least)
	return 0
}

// forgive takes back a request that was counted and then not accepted.
func (s *Server) forgive(key int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.verified, key)
}
