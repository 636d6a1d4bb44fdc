package receiver

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// APIError is an answer with a status other than 2xx.
type APIError struct {
	Operation  string        // such as "create stream"
	Status     int           // HTTP status
	RetryAfter time.Duration // of the answer, at most an hour; 0: none
	Excerpt    string        // the first printable part of the body, at most 200 bytes; the transmitter wrote it
	Renewed    bool          // it is the second refusal: the credential had been renewed after a 401
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
	case e.Status == http.StatusUnauthorized && e.Renewed:
		return "it refused a fresh token too; possible causes, all on its side: the client lacks the scope (some answer 401 and not 403 for that), " +
			"the stream API is switched off for this client, the token is of another realm or audience than its own, " +
			"or it takes no token older than a logout of everybody"
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

// unshown takes the credential of a request out of a text that the other side wrote: some send back what they were sent, and
// the text is logged.
func unshown(text string, req *http.Request) string {
	shown := req.Header.Get("Authorization")
	_, credential, found := strings.Cut(shown, " ")
	if !found {
		credential = shown
	}
	if credential == "" {
		return text
	}
	return strings.ReplaceAll(text, credential, "***")
}

// without is an error without the credential of its request, which a status line may have sent back.
func without(err error, req *http.Request) error {
	if clean := unshown(err.Error(), req); clean != err.Error() {
		return errors.New(clean)
	}
	return err
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

// retryAfter reads Retry-After in either of its forms (RFC 9110 §10.2.3); 0: there is none that we follow.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	// The other side's clock, where it tells it: ours may differ.
	from, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		from = time.Now()
	}
	return min(max(at.Sub(from), 0), maxRetryAfter)
}

// harmless is an error for a log: without the address of a call, which may hold a credential.
func harmless(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		at := ""
		if parsed, perr := url.Parse(u.URL); perr == nil {
			at = " " + parsed.Scheme + "://" + parsed.Host
		}
		return u.Op + at + ": " + u.Err.Error()
	}
	return err.Error()
}
