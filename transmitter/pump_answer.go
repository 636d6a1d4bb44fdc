package transmitter

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"countersign/internal/strictjson"
)

// Bounds of an answer.
const (
	answerSize = 16 << 10 // octets of an error answer that are read
	drainSize  = 64 << 10
	reasonSize = 300
)

// class says what an answer means for the row and for its stream (engine §10.3).
type class int

const (
	delivered class = iota
	refused         // about this SET: set aside, and the stream goes on
	setup           // a fault of the stream's set-up: long probes, nothing dropped
	keyless         // a fault of ours: the row's signing key is missing
	retry           // a fault that may pass
	canceled        // nothing was sent: we are stopping, or the stream changed
)

type answer struct {
	class      class
	status     int
	reason     string // short, for figures and the history
	advice     string // a sentence for who can put it right
	retryAfter time.Duration
	took       time.Duration
}

// read takes an answer apart and leaves the connection fit for the next request.
func read(resp *http.Response, ours http.Header, now time.Time) answer {
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode}
	if a.status/100 == 2 { // 202 by RFC 8935 §2.2; any 2xx is taken (TX-170)
		drain(resp)
		return a
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, answerSize))
	drain(resp)
	var wire struct {
		Err         string `json:"err"`
		Description string `json:"description"`
	}
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		if strictjson.Unmarshal(body, &wire) != nil {
			wire.Err, wire.Description = "", ""
		}
	}
	said := wire.Err
	if said == "" {
		said = bearerError(resp.Header.Get("WWW-Authenticate"))
	}
	what := strconv.Itoa(a.status)
	text := what
	if said != "" {
		text += " " + printable(said)
		if plainCode(said) {
			what = text
		}
	}
	if wire.Description != "" && wire.Err != "" {
		text += ": " + printable(wire.Description)
	}
	a.reason = short(hide("HTTP "+text, ours))
	a.class = classify(a.status, wire.Err)
	if a.class == setup {
		a.advice = short(hide("the receiver answers "+what, ours)) + ": " + advise(a.status, wire.Err)
	}
	if a.class == retry {
		a.retryAfter = retryAfter(resp.Header.Get("Retry-After"), now)
	}
	return a
}

// classify is the one table from an answer that is not 2xx to its meaning.
func classify(status int, err string) class {
	switch status {
	case 400: // RFC 8935 §2.3, §2.4
		switch err {
		case "invalid_key", "invalid_issuer", "invalid_audience", "authentication_failed", "access_denied":
			return setup
		}
		return refused
	case 413, 422:
		return refused
	case 408, 425, 429:
		return retry
	}
	if status >= 500 {
		return retry
	}
	return setup // 401, 403, 404, redirects and whatever else no later SET would fare better with
}

// advise says what to do about a fault of a stream's set-up.
func advise(status int, err string) string {
	switch err {
	case "invalid_key":
		return "it does not know our key yet; it has to read our jwks_uri again, and to take the algorithm of the stream"
	case "invalid_issuer":
		return "it does not take SETs of our issuer; compare the iss that it expects with ours"
	case "invalid_audience":
		return "it is not the audience of these SETs; compare the aud that it expects with that of the stream"
	case "authentication_failed":
		return "check the authorization_header of the stream"
	case "access_denied":
		return "its credential may not push here; ask the receiver what the authorization_header of the stream may do"
	}
	switch {
	case status/100 == 3:
		return "redirects are not followed; the endpoint_url of the stream has to be the final address"
	case status == 401:
		return "check the authorization_header of the stream"
	case status == 403:
		return "its credential may not push here; ask the receiver what the authorization_header of the stream may do"
	case status == 404, status == 410, status == 405:
		return "check the endpoint_url of the stream"
	case status == 406, status == 415:
		return "it does not take application/secevent+jwt there; check that the endpoint_url is that of push delivery (RFC 8935)"
	case status == 407:
		return "a proxy on the way wants credentials"
	}
	return "check the endpoint_url and the authorization_header of the stream"
}

// plainCode reports whether an error code is one, and not a sentence, which may name somebody.
func plainCode(code string) bool {
	return len(code) <= 64 && strings.Trim(code, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

// logged is a reason without what a receiver wrote in words of its own: it may name the subject, and logs name nobody.
// The words are kept with the dead letter and in the history.
func logged(reason string) string {
	rest, ok := strings.CutPrefix(reason, "HTTP ")
	if !ok {
		return reason
	}
	status, words, _ := strings.Cut(rest, " ")
	code, _, _ := strings.Cut(words, ": ")
	if code == "" || !plainCode(code) {
		return "HTTP " + strings.TrimSuffix(status, ":")
	}
	return "HTTP " + status + " " + code
}

// bearerError takes the error code out of a WWW-Authenticate header (RFC 6750 §3).
func bearerError(h string) string {
	_, rest, ok := strings.Cut(h, `error="`)
	code, _, closed := strings.Cut(rest, `"`)
	if !ok || !closed || len(code) > 64 {
		return ""
	}
	for _, r := range code {
		if (r < 'a' || r > 'z') && r != '_' {
			return ""
		}
	}
	return code
}

func drain(resp *http.Response) {
	if resp.ContentLength != 0 {
		_, _ = io.CopyN(io.Discard, resp.Body, drainSize)
	}
}

// retryAfter reads the header in both its forms, RFC 9110 §10.2.3. What is longer than longestRetry is cut to it.
func retryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	if v == "" {
		return 0
	}
	if strings.Trim(v, "0123456789") == "" {
		s, err := strconv.ParseInt(v, 10, 64)
		if err != nil || s > int64(longestRetry/time.Second) {
			return longestRetry
		}
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(at.Sub(now), 0), longestRetry)
	}
	return 0
}

// netReason says what went wrong without the address, which may hold a secret path.
func netReason(err error, ours http.Header) string {
	var dns *net.DNSError
	var op *net.OpError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &dns):
		return "the host name is not found"
	case errors.As(err, &cert): // TX-165
		return short("its certificate is not good: " + printable(cert.Err.Error()))
	case errors.As(err, &op) && op.Op == "dial":
		return short("no connection: " + printable(op.Err.Error()))
	case errors.As(err, &op):
		return short("the connection broke: " + printable(op.Err.Error()))
	}
	return short("no answer: " + hide(printable(err.Error()), ours))
}

// short cuts a text to what is kept of a reason.
func short(text string) string {
	if len(text) <= reasonSize {
		return text
	}
	return strings.ToValidUTF8(text[:reasonSize], "") + "…"
}

// hide takes the receiver's own credential, which it may send back, out of a text that is logged and kept.
func hide(text string, ours http.Header) string {
	authorization := ours.Get("Authorization")
	_, credential, found := strings.Cut(authorization, " ")
	if !found {
		credential = authorization
	}
	if credential == "" {
		return text
	}
	return strings.ReplaceAll(text, credential, "***")
}

// printable takes control characters out of text that the other side wrote.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}
