package transmitter

import (
	"context"
	"net/http"

	"countersign/stream"
	"countersign/subject"
)

// maxParts bounds how many identifiers one subject on a list has.
const maxParts = 64

// maxSubjects bounds the list of a stream where nothing is configured.
const maxSubjects = 10_000_000

// addSubject answers POST on the endpoint of SSF 1.0 §8.1.3.2: 200 and nothing more, whoever the subject is (TX-113,
// TX-116).
func (s *Server) addSubject(w http.ResponseWriter, r *http.Request) {
	s.subject(w, r, true, http.StatusOK)
}

// removeSubject answers POST on the endpoint of SSF 1.0 §8.1.3.3 (TX-119).
func (s *Server) removeSubject(w http.ResponseWriter, r *http.Request) {
	s.subject(w, r, false, http.StatusNoContent)
}

func (s *Server) subject(w http.ResponseWriter, r *http.Request, on bool, done int) {
	c, ok := s.caller(w, r)
	if !ok {
		return
	}
	var want stream.SubjectRequest
	if _, ok := s.body(w, r, &want); !ok {
		return
	}
	if want.Subject == nil {
		s.failed(w, r, bad("subject is missing"))
		return
	}
	sub, err := subject.Parse(want.Subject)
	if err != nil {
		invalid(w, err)
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
	if err := s.t.listSubject(r.Context(), st, sub, on, want.IsVerified()); err != nil {
		s.failed(w, r, err)
		return
	}
	w.WriteHeader(done)
}

// listSubject keeps the entry. Nobody is looked up, so that every subject takes the same answer and the same time (P-63).
func (t *Transmitter) listSubject(ctx context.Context, st *Stream, sub subject.Identifier, on, verified bool) error {
	if sub.IsZero() {
		return bad("subject is missing")
	}
	if subject.Identical(sub, subject.Opaque(st.ID)) { // it is always on the stream (TX-122)
		if on {
			return nil
		}
		return bad("the subject that names the stream itself cannot be removed")
	}
	now := At(t.cfg.Now())
	e := subjectEntry(st.Key, sub)
	if len(e.Keys) > maxParts {
		return bad("subject has more than %d identifiers", maxParts)
	}
	e.Off, e.Verified, e.At = !on, verified, now
	if grace := t.cfg.RemovalGrace; !on && grace > 0 { // SSF 1.0 §9.3
		e.Until = now + Micros(grace.Microseconds())
		listed, err := t.cfg.Store.Subjects(ctx, e.Keys)
		if err != nil {
			return err
		}
		for _, old := range listed {
			if old.Stream == st.Key && old.ID == e.ID && old.Off { // a second removal does not make it last longer
				e.Until = old.Until
			}
		}
	}
	limit := t.cfg.MaxSubjects
	if limit <= 0 {
		limit = maxSubjects
	}
	if err := t.cfg.Store.PutSubject(ctx, &e, limit); err != nil {
		return err
	}
	if !st.Listed { // the first entry: from now on events are looked up
		t.adjust(ctx, st.Key)
	}
	return nil
}
