package stream

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"countersign/set"
	"countersign/subject"
)

// The error codes of a delivery (RFC 8935 §2.4; the last one SSF 1.0 §8.1.4.1).
const (
	InvalidRequest       = "invalid_request"
	InvalidKey           = "invalid_key"
	InvalidIssuer        = "invalid_issuer"
	InvalidAudience      = "invalid_audience"
	AuthenticationFailed = "authentication_failed"
	AccessDenied         = "access_denied"
	InvalidState         = "invalid_state"
)

// Unavailable is the err of answers that are no verdict on the SET (429, 5xx). RFC 8935 has no code
// there and leaves such answers to HTTP; the word is ours.
const Unavailable = "temporarily_unavailable"

// WireError is the body of a refusal (RFC 8935 §2.3).
type WireError struct {
	Err          string `json:"err"`
	Description  string `json:"description"`
	ReceiptError string `json:"receipt_error,omitempty"` // the finer code of a refused action receipt
}

// Error gives code and description.
func (e WireError) Error() string { return e.Err + ": " + e.Description }

// refusals is the one table from what set and subject find to RFC 8935 codes. The descriptions
// say nothing that only a legitimate sender should know: no issuer, no audience, no key.
var refusals = []struct {
	err  error
	wire WireError
}{
	{set.ErrTooLarge, WireError{Err: InvalidRequest, Description: "the token is larger than this endpoint takes"}},
	{set.ErrType, WireError{Err: InvalidRequest, Description: "the typ header of the token is not secevent+jwt"}},
	{set.ErrAlgorithm, WireError{Err: InvalidKey, Description: "the token is signed with an algorithm that is not accepted here"}},
	{set.ErrIssuer, WireError{Err: InvalidIssuer, Description: "the issuer of the token is not accepted here"}},
	{set.ErrKeyUnknown, WireError{Err: InvalidKey, Description: "the token names a key that its issuer does not publish"}},
	{set.ErrKeyUnfit, WireError{Err: InvalidKey, Description: "the key of the token is not acceptable"}},
	{set.ErrSignature, WireError{Err: InvalidKey, Description: "the signature of the token does not verify"}},
	{set.ErrAudience, WireError{Err: InvalidAudience, Description: "the token is meant for another audience"}},
	{set.ErrTime, WireError{Err: InvalidRequest, Description: "the token was issued in the future, by this endpoint's clock"}},
	{set.ErrClaims, WireError{Err: InvalidRequest, Description: "the claims of the token break the rules of a security event token"}},
	{set.ErrMalformed, WireError{Err: InvalidRequest, Description: "the body is not a security event token"}},
	{subject.ErrInvalid, WireError{Err: InvalidRequest, Description: "the sub_id of the token is not a subject identifier"}},
	{set.ErrKeysUnavailable, WireError{Err: Unavailable, Description: "the keys of the issuer cannot be had now; send the token again later"}},
}

// ErrorFor gives the refusal for an error of set.Parse, set.Verify or subject.Parse. The
// description is a fixed sentence per kind. Err is Unavailable for set.ErrKeysUnavailable and for
// every error not in the table: those are our troubles and no verdict, to be answered with 503.
func ErrorFor(err error) WireError {
	var wire WireError
	if errors.As(err, &wire) {
		return wire
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r.wire
		}
	}
	return WireError{Err: Unavailable, Description: "the endpoint cannot take the token now; send it again later"}
}

// WriteError answers with e as RFC 8935 §2.3 wants it: JSON, and the language of its text. Set further
// fields, such as Retry-After or Allow, before the call.
func WriteError(w http.ResponseWriter, status int, e WireError) {
	body, err := json.Marshal(e)
	if err != nil { // three strings always encode
		body = []byte(`{"err":"` + Unavailable + `","description":""}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Language", "en")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
