package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"countersign/internal/hub"
)

// problem is an RFC 9457 problem detail. Title is for people; Code is one of hub's, for programs.
type problem struct {
	Type      string   `json:"type"`
	Title     string   `json:"title"`
	Status    int      `json:"status"`
	Code      hub.Code `json:"code"`
	Hint      string   `json:"hint,omitempty"`
	Reference string   `json:"reference"`
}

func (d *Door) problem(w http.ResponseWriter, status int, p problem) {
	p.Type, p.Status = "about:blank", status
	if p.Reference == "" {
		p.Reference = hub.NewID("ref", d.c.Now())
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="countersign"`)
	}
	if (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "1")
	}
	body, _ := json.Marshal(p)
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}

// statusError gives an error a status that its code alone does not have.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

func withStatus(status int, err error) error { return &statusError{status, err} }

// fail is the one table from errors to answers. What has no code is logged in full under the
// reference and shown as one calm sentence.
func (d *Door) fail(w http.ResponseWriter, r *http.Request, err error) {
	code := hub.CodeOf(err)
	p := problem{Code: code, Reference: hub.NewID("ref", d.c.Now())}
	status := code.HTTP()
	var se *statusError
	if errors.As(err, &se) {
		status = se.status
	}
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // nobody waits for the answer
	}
	var he *hub.Error
	switch {
	case code == hub.Internal:
		d.c.Log.ErrorContext(r.Context(), "request failed", "reference", p.Reference, "method", r.Method, "route", r.Pattern, "err", err)
		p.Title, p.Hint = "something went wrong here", "look for the reference in the hub's log"
	case errors.As(err, &he):
		p.Title, p.Hint = he.Error(), he.Hint
	}
	d.problem(w, status, p)
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(b.Bytes())
	return nil
}

// checkHost refuses a request for another name, which is how a page of another site would reach an
// admin listener on loopback (DNS rebinding).
func checkHost(r *http.Request, hosts []string) error {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if host == "localhost" || slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
		return nil
	}
	if a, err := netip.ParseAddr(host); err == nil && a.IsLoopback() {
		return nil
	}
	return withStatus(http.StatusMisdirectedRequest, hub.Errorf(hub.Invalid, "this listener does not answer for that host name").WithHint("add the name to admin_hosts in the configuration"))
}
