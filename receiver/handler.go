package receiver

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"countersign/event"
	"countersign/set"
	"countersign/stream"
	"countersign/subject"
)

// MediaType is the media type of a pushed SET (RFC 8935 §2.1).
const MediaType = "application/secevent+jwt"

// DefaultMaxBytes is the longest body a Handler takes unless it says otherwise.
const DefaultMaxBytes = 256 << 10

// What Keep and Verification may return to shape the answer, besides nil and *Refusal and *Busy.
var (
	// ErrRepeat says that this very SET was kept before. The sender gets its 202 again (RFC 8935 §2).
	ErrRepeat = errors.New("receiver: SET was kept before")
	// ErrClash says that another SET of this issuer was kept under the same jti. The answer is
	// invalid_request.
	ErrClash = errors.New("receiver: jti was used for another SET")
	// ErrState says that the state of a verification event is none that we asked with. The answer is
	// invalid_state (SSF 1.0 §8.1.4.1).
	ErrState = errors.New("receiver: state is not one we asked with")
)

// Refusal is returned by Keep to refuse a SET for good: 400 with Err and Description.
type Refusal struct {
	Err         string // a code of RFC 8935 §2.4; empty: invalid_request
	Description string // for the sender's operator
}

// Error gives code and description.
func (r *Refusal) Error() string { return "receiver: refused: " + r.Err + ": " + r.Description }

// Busy is returned by Keep when trying again later can help: 503, or 429 with Limited set.
type Busy struct {
	RetryAfter time.Duration // 0: one second
	Limited    bool          // this sender is too fast; it is not us who are in trouble
	Err        error         // the cause, not shown to the sender; may be nil
}

// Error gives the cause.
func (b *Busy) Error() string {
	if b.Err == nil {
		return "receiver: busy"
	}
	return "receiver: busy: " + b.Err.Error()
}

// Unwrap gives the cause.
func (b *Busy) Unwrap() error { return b.Err }

// Delivery is one SET that passed every check.
type Delivery struct {
	Token       *set.Token
	Event       set.Event          // the one event of the token
	Type        event.Type         // only the URI is set for a type that the registry does not know
	Payload     event.Payload      // valid for its type; an *event.Raw for an unknown one
	Subject     subject.Identifier // whom it is about; zero when the policy allows a token without subject
	SubID       json.RawMessage    // Subject as JSON, in today's form; nil where there is none
	TXN         string             // of the token, or of the event where that quirk is let pass; empty: none
	StreamEvent bool               // about the stream and not about a person
	Quirks      []string           // ids of the quirks that this SET needed; see QuirkTable
}

// Handler takes SETs by push at one address. Policy and Keep are required. It may serve many requests
// at once when its functions may.
//
// Exactly one event per SET is taken, as CAEP interoperability demands (SSF 1.0 §4.2.1 recommends it).
// An event type that the registry does not know is kept like any other: it is no error of the sender.
//
// The size of a body is bounded here, its speed is not: give the http.Server a ReadTimeout.
type Handler struct {
	// Policy says which tokens are accepted: issuer, audience, keys. An error of it is answered with 503.
	Policy func(ctx context.Context) (*set.Policy, error)

	// Keep makes a SET durable. Nil and ErrRepeat are answered with 202; ErrClash, *Refusal and *Busy
	// as they say; any other error with 503.
	Keep func(ctx context.Context, d *Delivery) error

	// Authorization is the whole value that the Authorization field of a request must have, such as
	// "Bearer abc". Empty: the signature alone tells who sends, and a credential that comes is ignored.
	Authorization string

	// Registry knows the event types. Nil: every payload is kept raw, verification events too.
	Registry *event.Registry

	// StreamID is the id of our stream, which the subject of verification and stream-updated events
	// must name. Empty: any opaque id.
	StreamID string

	// Verification is told of each verification event before Keep. Without a state it came unasked and
	// cannot be refused as wrong (SSF 1.0 §8.1.4.2). With one, ErrState refuses it with invalid_state. A
	// sender may repeat an event whose answer it lost: nil is the right answer for a state that was confirmed a
	// moment ago. Other errors are treated like those of Keep. Nil: every state is accepted.
	Verification func(ctx context.Context, state string, hasState bool) error

	// Report is told of every answer that is not 202, for logs and counters: the status, the code sent
	// and the reason, which may quote the request. Nil: nobody is told.
	Report func(ctx context.Context, status int, code string, reason error)

	// Quirks are the departures from the specifications that are let pass. Event and Subject of a Delivery are in the standard form
	// all the same. A refusal that more of them would have let pass is told to Report as a *QuirkError.
	Quirks Quirks

	// MaxBytes is the longest body. 0: DefaultMaxBytes.
	MaxBytes int64
}

// answer is what a request gets when it is not 202.
type answer struct {
	status int
	wire   stream.WireError
	reason error         // for Report only
	retry  time.Duration // for Retry-After; 0: none
	allow  bool          // name the allowed method
}

// ServeHTTP answers one push request as RFC 8935 §2 says.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := h.take(w, r)
	if a == nil {
		w.WriteHeader(http.StatusAccepted) // RFC 8935 §2.2: the body is empty
		return
	}
	if h.Report != nil {
		h.Report(r.Context(), a.status, a.wire.Err, a.reason)
	}
	if a.allow {
		w.Header().Set("Allow", http.MethodPost)
	}
	if a.retry > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((a.retry+time.Second-1)/time.Second), 10))
	}
	stream.WriteError(w, a.status, a.wire)
}

func (h *Handler) take(w http.ResponseWriter, r *http.Request) *answer {
	if r.Method != http.MethodPost {
		a := refuse(http.StatusMethodNotAllowed, stream.InvalidRequest, "security event tokens come by POST", nil)
		a.allow = true
		return a
	}
	// RFC 8935 §2.4: a sender that cannot be authenticated gets a 400 and not a 401.
	if h.Authorization != "" && !authorized(r.Header.Values("Authorization"), h.Authorization) {
		return refuse(http.StatusBadRequest, stream.AuthenticationFailed,
			"the Authorization field of the request is missing or not the one agreed for this address", nil)
	}
	compact, a := h.body(w, r)
	if a != nil {
		return a
	}
	return h.judge(r.Context(), compact)
}

// judge verifies a SET and has it kept; nil is the 202.
func (h *Handler) judge(ctx context.Context, compact string) *answer {
	if h.Policy == nil || h.Keep == nil {
		return unavailable(errors.New("receiver: Handler has no Policy or no Keep"))
	}
	policy, err := h.Policy(ctx)
	if err != nil {
		return unavailable(err)
	}
	if policy == nil {
		return unavailable(errors.New("receiver: Policy gave none"))
	}
	d, a := h.examine(ctx, compact, policy, &h.Quirks)
	if a != nil {
		return h.diagnose(ctx, compact, policy, a)
	}
	if a := h.verification(ctx, d); a != nil {
		return a
	}
	return kept(h.Keep(ctx, d))
}

// examine verifies a SET and reads it.
func (h *Handler) examine(ctx context.Context, compact string, policy *set.Policy, q *Quirks) (*Delivery, *answer) {
	token, a := verified(ctx, compact, policy, q)
	if a != nil {
		return nil, a
	}
	return h.admit(token, policy, q)
}

// verified verifies a SET as leniently as the quirks want it; admit then looks at each of them by itself.
func verified(ctx context.Context, compact string, policy *set.Policy, q *Quirks) (*set.Token, *answer) {
	p := *policy
	p.AllowNoSubject = p.AllowNoSubject || q.NestedSubject || q.TopLevelSubject || q.OldStreamEvents
	p.AllowSubExp = p.AllowSubExp || q.Expiry || q.TopLevelSubject
	p.AllowNoType = p.AllowNoType || q.NoType
	p.AllowNoAud = p.AllowNoAud || q.NoAudience
	token, err := set.Verify(ctx, compact, &p)
	if err != nil {
		return nil, judged(err)
	}
	return token, nil
}

// admit reads a verified SET. It may have been verified with more quirks than q has: each is asked for here.
func (h *Handler) admit(token *set.Token, policy *set.Policy, q *Quirks) (*Delivery, *answer) {
	n := &normal{q: q}
	claims := token.Claims()
	switch { // a switch opens one door only
	case policy.AllowSubExp:
	case claims.Member("exp") != nil && !n.let("Q-41/exp"):
		return nil, refuse(http.StatusBadRequest, stream.InvalidRequest, "exp in a SET", nil)
	case claims.Member("sub") != nil && !n.let("Q-30/sub"):
		return nil, refuse(http.StatusBadRequest, stream.InvalidRequest, "sub in a SET", nil)
	}
	if token.Header().Type == "" && !policy.AllowNoType && !n.let("Q-41/typ") {
		return nil, judged(set.ErrType)
	}
	if claims.Audience == nil && !policy.AllowNoAud && !policy.SkipAudience && !n.let("Q-41/aud") {
		return nil, judged(set.ErrAudience)
	}
	return h.read(token, policy, n)
}

// diagnose finds out whether quirks would have let a refused SET pass. What is wrong with its signature, key or issuer is
// nobody's quirk. Its signature is verified once more and no oftener, however odd it is.
func (h *Handler) diagnose(ctx context.Context, compact string, policy *set.Policy, a *answer) *answer {
	if a.status != http.StatusBadRequest || a.wire.Err == stream.InvalidKey || a.wire.Err == stream.InvalidIssuer {
		return a
	}
	all := everything()
	token, still := verified(ctx, compact, policy, &all)
	if still != nil {
		return a
	}
	d, still := h.admit(token, policy, &all)
	if still != nil {
		return a
	}
	var needed []string
	for _, id := range slices.DeleteFunc(d.Quirks, h.Quirks.Has) {
		without := all
		without.clear(id)
		if _, missing := h.admit(token, policy, &without); missing != nil {
			needed = append(needed, id)
		}
	}
	if len(needed) > 0 {
		a.reason = &QuirkError{IDs: needed, Err: a.reason}
	}
	return a
}

// authorized wants exactly one field with exactly this value, in a time that does not tell how much
// of it was right.
func authorized(fields []string, want string) bool {
	got := ""
	if len(fields) == 1 {
		got = fields[0]
	}
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// body reads the token, or says why it cannot.
func (h *Handler) body(w http.ResponseWriter, r *http.Request) (string, *answer) {
	if len(r.Header.Values("Content-Encoding")) > 0 {
		return "", refuse(http.StatusUnsupportedMediaType, stream.InvalidRequest,
			"the body must not be encoded: send it without Content-Encoding", nil)
	}
	fields := r.Header.Values("Content-Type")
	if len(fields) != 1 {
		fields = []string{""}
	}
	media, _, err := mime.ParseMediaType(fields[0])
	switch {
	case err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter):
		media = ""
	case strings.EqualFold(media, "application/jwt") && h.Quirks.PlainJWT:
		media = MediaType
	}
	if !strings.EqualFold(media, MediaType) {
		a := refuse(http.StatusUnsupportedMediaType, stream.InvalidRequest, "the Content-Type must be "+MediaType, nil)
		if strings.EqualFold(media, "application/jwt") {
			a.reason = &QuirkError{IDs: []string{"Q-53"}, Err: a.reason}
		}
		return "", a
	}
	limit := h.MaxBytes
	if limit <= 0 {
		limit = DefaultMaxBytes
	}
	tooLarge := refuse(http.StatusRequestEntityTooLarge, stream.InvalidRequest,
		fmt.Sprintf("the body is longer than %d bytes", limit), nil)
	if r.ContentLength > limit {
		w.Header().Set("Connection", "close")
		return "", tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var over *http.MaxBytesError
	switch {
	case err == nil:
		return string(body), nil
	case errors.As(err, &over):
		return "", tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		return "", refuse(http.StatusRequestTimeout, stream.InvalidRequest, "the body did not arrive in time", err)
	}
	return "", refuse(http.StatusBadRequest, stream.InvalidRequest, "the body did not arrive whole", err)
}

// read takes the one event and the subject out of a verified token.
func (h *Handler) read(token *set.Token, policy *set.Policy, n *normal) (*Delivery, *answer) {
	claims := token.Claims()
	if len(claims.Events) != 1 {
		return nil, refuse(http.StatusBadRequest, stream.InvalidRequest, "the token must have exactly one event", nil)
	}
	d := &Delivery{Token: token, Event: claims.Events[0], TXN: claims.TXN}
	d.Event.Type = n.eventType(&claims)
	known := false
	d.Type = event.Type{URI: d.Event.Type, Open: true}
	if t, ok := h.Registry.Lookup(d.Event.Type); ok {
		d.Type, d.StreamEvent, known = t, t.StreamLevel, true
	}
	raw, payload, differ := n.subjectOf(&claims, d.Event.Payload, known)
	if differ {
		return nil, refuse(http.StatusBadRequest, stream.InvalidRequest, "the subject of the event is another one than the sub_id of the token", nil)
	}
	if len(raw) == 0 && !policy.AllowNoSubject && !d.StreamEvent {
		return nil, refuse(http.StatusBadRequest, stream.InvalidRequest, "the token has no sub_id", nil)
	}
	txn := ""
	d.Event.Payload, txn = n.payload(d.Type.Name, payload)
	d.TXN = cmp.Or(d.TXN, txn)
	if len(raw) > 0 {
		var err error
		if d.Subject, err = subject.Parse(raw); err != nil {
			return nil, judged(err)
		}
		d.SubID = raw
	}
	if d.StreamEvent {
		if a := h.streamEvent(d, n); a != nil {
			return nil, a
		}
	}
	var err error
	if d.Payload, err = h.Registry.Decode(d.Event.Type, d.Event.Payload); err != nil {
		return nil, refuse(http.StatusBadRequest, stream.InvalidRequest, detail(err), err)
	}
	d.Quirks = n.used
	return d, nil
}

// streamEvent wants the stream as subject, as an opaque identifier (SSF 1.0 §8.1.4.1, §8.1.5). The older drafts put it
// into the user of a nested subject, or leave it out.
func (h *Handler) streamEvent(d *Delivery, n *normal) *answer {
	id := d.Subject
	if user, ok := id.Part(subject.PartUser); ok && id.Format() == subject.FormatComplex && slices.Contains(n.used, "Q-30") {
		id = user
	}
	switch {
	case len(d.SubID) == 0 && (slices.Contains(n.used, "Q-30/sse") || n.let("Q-30")):
		return nil
	case len(d.SubID) == 0 || id.Format() != subject.FormatOpaque:
		return refuse(http.StatusBadRequest, stream.InvalidRequest, "the sub_id of a stream event must be opaque and hold the stream id", nil)
	case h.StreamID != "" && id.Get("id") != h.StreamID:
		return refuse(http.StatusBadRequest, stream.InvalidRequest, "the sub_id of the event is not the id of this stream", nil)
	}
	return nil
}

// detail is the text of a payload error without the package's own words in front; it names the type
// and the member and quotes nothing.
func detail(err error) string {
	return "the payload breaks the definition of its event type: " + strings.ReplaceAll(err.Error(), event.ErrInvalid.Error()+": ", "")
}

// verification checks the state of a verification event (SSF 1.0 §8.1.4.1).
func (h *Handler) verification(ctx context.Context, d *Delivery) *answer {
	v, ok := d.Payload.(interface{ VerificationState() string })
	if !ok || h.Verification == nil {
		return nil
	}
	state := v.VerificationState()
	err := h.Verification(ctx, state, state != "")
	if errors.Is(err, ErrState) && state == "" {
		return nil
	}
	return kept(err)
}

// kept gives the answer for what Keep or Verification returned; nil is the 202.
func kept(err error) *answer {
	var refusal *Refusal
	var busy *Busy
	switch {
	case err == nil, errors.Is(err, ErrRepeat):
		return nil
	case errors.Is(err, ErrState):
		return refuse(http.StatusBadRequest, stream.InvalidState, "the state is none that was asked with", err)
	case errors.Is(err, ErrClash):
		return refuse(http.StatusBadRequest, stream.InvalidRequest, "the jti was used for another token before", err)
	case errors.As(err, &refusal):
		code := refusal.Err
		if code == "" {
			code = stream.InvalidRequest
		}
		return refuse(http.StatusBadRequest, code, refusal.Description, err)
	case errors.As(err, &busy):
		a := unavailable(err)
		if busy.RetryAfter > 0 {
			a.retry = busy.RetryAfter
		}
		if busy.Limited {
			a.status = http.StatusTooManyRequests
			a.wire.Description = "too many tokens in a short time; send it again later"
		}
		return a
	}
	return unavailable(err)
}

// judged gives the answer for what set.Verify or subject.Parse found.
func judged(err error) *answer {
	wire := stream.ErrorFor(err)
	if wire.Err == stream.Unavailable {
		a := unavailable(err)
		a.wire = wire
		return a
	}
	if errors.Is(err, set.ErrTooLarge) {
		return refuse(http.StatusRequestEntityTooLarge, wire.Err, wire.Description, err)
	}
	return refuse(http.StatusBadRequest, wire.Err, wire.Description, err)
}

func refuse(status int, code, description string, reason error) *answer {
	wire := stream.WireError{Err: code, Description: description}
	if reason == nil {
		reason = wire
	}
	return &answer{status: status, wire: wire, reason: reason}
}

func unavailable(err error) *answer {
	a := refuse(http.StatusServiceUnavailable, stream.Unavailable, "the endpoint cannot take the token now; send it again later", err)
	a.retry = time.Second
	return a
}
