package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"countersign/internal/hub"
)

// lines is an answer of long work: one JSON object a line, as it goes on (application/x-ndjson). The last one is the result,
// or {"error": problem} where it broke off.
type lines struct {
	d       *Door
	w       http.ResponseWriter
	r       *request
	control *http.ResponseController
	err     error
}

// longest is how long a step of long work may wait for its client.
const longest = time.Minute

func (d *Door) lines(w http.ResponseWriter, r *request) *lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	return &lines{d: d, w: w, r: r, control: http.NewResponseController(w)}
}

// write sends one line. What cannot be sent any more is told by the error of the request's context, not here.
func (l *lines) write(v any) {
	if l.err != nil {
		return
	}
	raw, err := json.Marshal(v)
	if err != nil {
		l.err = err
		return
	}
	_ = l.control.SetWriteDeadline(time.Now().Add(longest))
	if _, l.err = l.w.Write(append(raw, '\n')); l.err == nil {
		_ = l.control.Flush()
	}
}

// fail sends the error as the last line. Work that failed is told so, though the status was sent long ago.
func (l *lines) fail(err error) {
	p := problem{Type: "about:blank", Code: hub.CodeOf(err), Reference: hub.NewID("ref", l.d.c.Now())}
	p.Status = p.Code.HTTP()
	var he *hub.Error
	switch {
	case p.Code == hub.Internal:
		l.d.c.Log.ErrorContext(l.r.Context(), "long work failed", "reference", p.Reference, "route", l.r.Pattern, "err", err)
		p.Title, p.Hint = "something went wrong here", "look for the reference in the hub's log"
	case errors.As(err, &he):
		p.Title, p.Hint = he.Error(), he.Hint
	}
	l.write(map[string]any{"error": p})
}
