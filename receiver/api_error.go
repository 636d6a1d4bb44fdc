package receiver

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// APIError is an answer with a status other than 2xx.
type APIError struct {
	Operation  string        // such as "create stream"
	Status     int           // HTTP status
	RetryAfter time.Duration // of the answer, when it was a number of seconds; 0: none
	Excerpt    string        // the first printable part of the body, at most 200 bytes; the transmitter wrote it
}

// Error says what happened and what to do next.
func (e *APIError) Error() string {
	text := fmt.Sprintf("receiver: %s: transmitter answered %d %s", e.Operation, e.Status, http.StatusText(e.Status))
	if e.Excerpt != "" {
		text += fmt.Sprintf(" (%q)", e.Excerpt)
	}
	if hint := e.hint(); hint != "" {
		text += ": " + hint
	}
	return text
}

func (e *APIError) hint() string {
	switch {
	case e.Status >= 300 && e.Status < 400:
		return "redirects are not followed; configure the address it points to"
	case e.Status == http.StatusBadRequest:
		return "it does not take a part of the request; compare the request with what it supports"
	case e.Status == http.StatusUnauthorized:
		return "it does not know our credential; check the token, and that it has not expired"
	case e.Status == http.StatusForbidden:
		return "our credential lacks the right; have it granted there"
	case e.Status == http.StatusNotFound:
		return "it does not know the stream or the address; read the metadata again and list the streams"
	case e.Status == http.StatusConflict:
		return "there is a stream already; list the streams and take that one"
	case e.Status == http.StatusTooManyRequests:
		return "wait before asking again"
	case e.Status >= 500:
		return "it is in trouble; try again later"
	}
	return ""
}

// Temporary tells whether the same call may succeed later.
func (e *APIError) Temporary() bool {
	return e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout || e.Status >= 500
}

func excerpt(body []byte) string {
	const most = 200
	if len(body) > most {
		body = body[:most]
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, string(body)))
}

func retryAfter(h http.Header) time.Duration {
	d, err := time.ParseDuration(h.Get("Retry-After") + "s")
	if err != nil || d < 0 || d > 24*time.Hour {
		return 0
	}
	return d
}
