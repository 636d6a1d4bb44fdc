package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"countersign/event"
	"countersign/internal/hub"
	"countersign/set"
	"countersign/subject"
	"countersign/transmitter"
)

// eachSubject is whom the events of each-event speak about where the request names nobody: nobody's address (RFC 2606).
const eachSubject = `{"format":"email","email":"countersign-each-event@example.com"}`

// eachResource takes its place where a type is about a resource of SCIM.
const eachResource = `{"format":"scim","uri":"/Users/countersign-each-event","externalId":"countersign-each-event"}`

// Example is a valid payload of a type, as it could occur at a moment (seconds since 1970).
func Example(t event.Type, now int64) json.RawMessage {
	body := "{}"
	if m, ok := hub.MeaningOf(t.URI); ok {
		body = string(m.Example)
	}
	if slices.Contains(t.Members, "event_timestamp") && !strings.Contains(body, "event_timestamp") {
		stamp, _ := json.Marshal(now)
		return prepend(json.RawMessage(body), `"event_timestamp":`+string(stamp))
	}
	return json.RawMessage(body)
}

func (d *Door) eachEvent(w http.ResponseWriter, r *request) error {
	var req EachRequest
	if err := optionalBody(w, r, &req); err != nil {
		return err
	}
	named := true
	if req.SubID = notNull(req.SubID); len(req.SubID) == 0 {
		req.SubID, named = json.RawMessage(eachSubject), false
	}
	sub, err := subjectOf("sub_id", req.SubID)
	if err != nil {
		return err
	}
	if err := checkTXN(req.TXN); err != nil {
		return err
	}
	if err := r.caller.mayTell(&sub); err != nil {
		return err
	}
	o, v, err := d.oneStream(r)
	if err != nil {
		return err
	}
	a := EachAnswer{Stream: v.Stream.ID, TXN: req.TXN, Events: []EachSent{}}
	if a.TXN == "" {
		a.TXN = set.NewID()
	}
	for _, uri := range v.Stream.Delivered {
		one, err := d.sendExample(r, o, v.Stream.ID, uri, a.TXN, req.SubID, named)
		if err != nil {
			return err
		}
		if one.Outcome == "queued" {
			a.Queued++
		}
		a.Events = append(a.Events, one)
	}
	return writeJSON(w, http.StatusAccepted, a)
}

// sendExample sends one event the way of real ones: through the match with the stream's status, types and subjects.
func (d *Door) sendExample(r *request, o office, stream, uri, txn string, raw json.RawMessage, named bool) (EachSent, error) {
	one := EachSent{Type: uri, Outcome: "skipped"}
	t, ok := d.c.Registry.Lookup(uri)
	if !ok || t.StreamLevel {
		one.Reason = "no payload is known for this type"
		return one, nil
	}
	if err := r.caller.maySend(t); err != nil {
		one.Reason = err.Error()
		return one, nil
	}
	if !named && len(t.Subjects) > 0 && !slices.Contains(t.Subjects, "email") && slices.Contains(t.Subjects, "scim") {
		raw = json.RawMessage(eachResource)
		sub, err := subjectOf("sub_id", raw)
		if err == nil {
			err = r.caller.mayTell(&sub)
		}
		if err != nil {
			one.Reason = err.Error()
			return one, nil
		}
	}
	m := transmitter.Message{Type: uri, SubID: raw, Payload: Example(t, d.c.Now().Unix()), TXN: txn, Streams: []string{stream}}
	sent, err := o.streams.Send(r.Context(), m)
	if errors.Is(err, subject.ErrInvalid) || errors.Is(err, event.ErrInvalid) { // this type is not about such a subject
		one.Reason = strings.TrimPrefix(err.Error(), "transmitter: ")
		return one, nil
	}
	if err != nil {
		return one, streamError(err)
	}
	for _, q := range sent.Queued {
		one.Outcome, one.JTI = "queued", q.JTI
	}
	for _, s := range sent.Skipped {
		one.Reason = s.Reason
	}
	if one.JTI == "" && one.Reason == "" {
		if one.Reason, err = o.why(r, m, stream); err != nil {
			return one, err
		}
	}
	return one, nil
}

// why says what keeps a message from a stream.
func (o office) why(r *request, m transmitter.Message, stream string) (string, error) {
	e, err := o.streams.Explain(r.Context(), m, stream)
	if err != nil && !errors.Is(err, transmitter.ErrNotFound) {
		return "", streamError(err)
	}
	if err == nil {
		for _, s := range e.Steps {
			if !s.OK {
				return s.Why, nil
			}
		}
	}
	return "the stream did not take it", nil
}

// maySend refuses a type that the caller's client may not send.
func (c *Caller) maySend(t event.Type) error {
	if s := c.Spec; s != nil && len(s.Events) > 0 && !slices.ContainsFunc(s.Events, func(e string) bool { return e == t.URI || e == t.Name }) {
		return hub.Errorf(hub.Forbidden, "client %s may not send %s", s.Name, t.Name).WithHint("add it to events of the client")
	}
	return nil
}

// mayTell refuses a subject that the caller's client may not speak about.
func (c *Caller) mayTell(id *subject.Identifier) error {
	s := c.Spec
	if s == nil || len(s.Domains) == 0 {
		return nil
	}
	// Whichever of the names leads to somebody, and in whichever member it stands: all that are addresses are of the domains,
	// and the user is named by nothing else.
	user, ok := id.User()
	ok = ok && within(user, s.Domains, true)
	for _, name := range id.Parts() {
		part, _ := id.Part(name)
		ok = ok && within(part, s.Domains, name == subject.PartUser)
	}
	if !ok {
		return hub.Errorf(hub.Forbidden, "client %s may not send signals about this subject", s.Name).WithHint("its domains are: %s", strings.Join(s.Domains, ", "))
	}
	return nil
}

// within reports whether every address of an identifier is of one of the domains; with only, whether it is made of addresses.
func within(id subject.Identifier, domains []string, only bool) bool {
	ids := []subject.Identifier{id}
	if id.Format() == subject.FormatAliases {
		ids = id.Aliases()
	}
	for _, one := range ids {
		if one.Format() != subject.FormatEmail {
			if only {
				return false
			}
			continue
		}
		address := one.Get("email")
		domain := address[strings.LastIndexByte(address, '@')+1:]
		if !slices.ContainsFunc(domains, func(d string) bool { return strings.EqualFold(d, domain) }) {
			return false
		}
	}
	return true
}

// typeOf finds an event type that can be sent.
func (d *Door) typeOf(name string) (event.Type, error) {
	t, ok := d.c.Registry.Resolve(name)
	if !ok {
		return t, hub.Errorf(hub.Invalid, "event_type %q is not known", short(name)).WithHint("countersign event types")
	}
	if t.StreamLevel {
		return t, hub.Errorf(hub.Invalid, "event_type %s speaks about a stream and is not sent by hand", t.Name)
	}
	return t, nil
}

// payloadOf finds a payload to be valid for its type; where there is none, it is the empty object.
func (d *Door) payloadOf(uri string, raw json.RawMessage) (json.RawMessage, error) {
	if raw = notNull(raw); len(raw) == 0 {
		raw = json.RawMessage("{}")
	}
	if _, err := d.c.Registry.Decode(uri, raw); err != nil { // it validates, too
		return nil, hub.Errorf(hub.Invalid, "event: %s", strings.ReplaceAll(err.Error(), event.ErrInvalid.Error()+": ", ""))
	}
	return raw, nil
}

func checkTXN(txn string) error {
	if len(txn) > 200 || !printable(txn) {
		return hub.Errorf(hub.Invalid, "txn must have at most 200 printable characters")
	}
	return nil
}

// explain asks the transmitter, and gives its answer as it is written.
func (o office) explain(r *request, m transmitter.Message, stream string) (*Explained, error) {
	e, err := o.streams.Explain(r.Context(), m, stream)
	if err != nil {
		return nil, err
	}
	a := &Explained{Stream: stream, Sent: e.Sent, Steps: []ExplainStep{}}
	for _, s := range e.Steps {
		a.Steps = append(a.Steps, ExplainStep{s.What, s.OK, s.Why})
	}
	return a, nil
}
