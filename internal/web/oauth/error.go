package oauth

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"countersign/internal/hub"
)

// Error codes of RFC 6749 §5.2, RFC 8707 §2, and the one of §4.1.2.1 for what will pass.
const (
	invalidRequest       = "invalid_request"
	invalidClient        = "invalid_client"
	unsupportedGrantType = "unsupported_grant_type"
	invalidScope         = "invalid_scope"
	invalidTarget        = "invalid_target"
	unavailable          = "temporarily_unavailable"
)

// refusal is the answer to a request that is not granted. Its words hold nothing of the request.
type refusal struct {
	status int // 0: 400
	code   string
	why    string
	wait   int // seconds, for Retry-After
}

// Error gives the code and the reason.
func (f refusal) Error() string { return f.code + ": " + f.why }

func (f refusal) write(w http.ResponseWriter) {
	h := w.Header()
	switch {
	case f.status == 0:
		f.status = http.StatusBadRequest
	case f.status == http.StatusUnauthorized:
		// RFC 6749 §5.2 wants it after Basic, RFC 9110 §15.5.2 with every 401.
		h.Set("WWW-Authenticate", `Basic realm="oauth", charset="UTF-8"`)
	}
	if f.wait > 0 {
		h.Set("Retry-After", strconv.Itoa(f.wait))
	}
	writeJSON(w, f.status, struct {
		Error string `json:"error"`
		Why   string `json:"error_description,omitempty"`
	}{f.code, f.why})
}

// refuse answers for an error; what is not a refusal is ours and told to nobody but the log.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var f refusal
	if !errors.As(err, &f) {
		f = refusal{status: http.StatusServiceUnavailable, code: unavailable, why: "the request cannot be worked on now", wait: 2}
		if hub.CodeOf(err) != hub.Unavailable {
			s.cfg.Log.ErrorContext(r.Context(), "a token request failed", "error", err)
		}
	}
	f.write(w)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
