package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"countersign/internal/hub"
	"countersign/internal/sight"
	"countersign/internal/store"
	"countersign/internal/strictjson"
	"countersign/set"
)

// signalRequest is a signal in plain JSON.
type signalRequest struct {
	EventType string          `json:"event_type"` // URI, or a name such as caep/session-revoked
	SubID     json.RawMessage `json:"sub_id"`
	Event     json.RawMessage `json:"event"`
	TXN       string          `json:"txn"`
	Do        deeds           `json:"do"`      // act (default; with streams: transmit), transmit, or a list of both
	Order     json.RawMessage `json:"order"`   // a directive of the receipts profile
	Streams   []string        `json:"streams"` // ids or names; only to these
}

var signalNames = jsonNames(reflect.TypeFor[signalRequest]())

// read is decodeBody for the one body that comes by the thousand.
func (q *signalRequest) read(data []byte) error {
	members, err := checkBody(data, maxBody, signalNames)
	if err != nil {
		return err
	}
	for _, m := range members {
		text := func(into *string) error {
			if string(m.Value) == "null" {
				return nil
			}
			var err error
			if *into, err = strictjson.String(m.Value); err != nil {
				return hub.Errorf(hub.Invalid, "body: member %q must be a string", m.Name)
			}
			return nil
		}
		switch m.Name {
		case "event_type":
			err = text(&q.EventType)
		case "txn":
			err = text(&q.TXN)
		case "sub_id":
			q.SubID = m.Value
		case "event":
			q.Event = m.Value
		case "order":
			q.Order = m.Value
		case "streams":
			if string(m.Value) != "null" && json.Unmarshal(m.Value, &q.Streams) != nil {
				err = hub.Errorf(hub.Invalid, "body: member %q must be a list of strings", m.Name)
			}
		case "do":
			if err = q.Do.UnmarshalJSON(m.Value); err != nil {
				err = hub.Errorf(hub.Invalid, "body: %w", err)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// deeds are what is to be done with a signal: one word or a list of them.
type deeds []string

// UnmarshalJSON reads a string or an array of strings.
func (d *deeds) UnmarshalJSON(b []byte) error {
	if one, err := strictjson.String(b); err == nil {
		*d = deeds{one}
		return nil
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		return errors.New("do must be a word or a list of words")
	}
	*d = list
	return nil
}

// Story is everything known of one signal.
type Story struct {
	*hub.Signal
	Token    *tokenStory    `json:"token,omitempty"` // scope signals.token
	Decision *hub.Decision  `json:"decision,omitempty"`
	Actions  []*hub.Action  `json:"actions"`
	Receipts []*hub.Receipt `json:"receipts"`
	Streams  []Delivery     `json:"streams,omitempty"` // what was transmitted under its txn, and what became of that
}

// tokenStory is the token as received, and opened for reading.
type tokenStory struct {
	Compact string          `json:"compact"`
	Header  json.RawMessage `json:"header"`
	Claims  json.RawMessage `json:"claims"`
}

type accepted struct {
	ID string `json:"id"`
}

// postSignal takes a signal. With an Idempotency-Key a request can be repeated without harm, for the
// key is kept in the transaction that keeps the signal: a repeat gets the answer of the first.
func (d *Door) postSignal(w http.ResponseWriter, r *request) error {
	data, err := readBody(w, r.Request, maxBody)
	if err != nil {
		return err
	}
	sub, err := d.submission(r, data)
	if err != nil {
		return err
	}
	keys := r.Header.Values("Idempotency-Key")
	if len(keys) > 1 || len(keys) == 1 && (keys[0] == "" || len(keys[0]) > 200 || !printable(keys[0])) {
		return hub.Errorf(hub.Invalid, "Idempotency-Key must be one value of 1 to 200 printable characters")
	}
	if len(keys) == 1 {
		sum := sha256.Sum256(data)
		owner := r.caller.Client
		if owner == "" {
			owner = "token:" + r.caller.TokenID
		}
		sub.Idempotency = &store.Idempotency{Client: owner, Key: keys[0], BodyHash: hex.EncodeToString(sum[:])}
	}
	kept, err := d.c.Signals.Submit(r.Context(), r.tenant, sub)
	if err != nil {
		if sub.Idempotency != nil && hub.CodeOf(err) == hub.Conflict && strings.Contains(err.Error(), "idempotency key") {
			return withStatus(http.StatusUnprocessableEntity, hub.Errorf(hub.Invalid, "this Idempotency-Key was used with another body").WithHint("use a new key for a new request"))
		}
		return err
	}
	if kept.Status == hub.KeptClash {
		return hub.Errorf(hub.Conflict, "a signal with this id and other content is there")
	}
	if kept.Status == hub.KeptRepeat {
		w.Header().Set("Idempotent-Replayed", "true")
	}
	w.Header().Set("Location", Prefix+"/signals/"+kept.ID)
	return writeJSON(w, http.StatusAccepted, accepted{ID: kept.ID})
}

// submission checks a request against the registry and against what the client may send.
func (d *Door) submission(r *request, data []byte) (*Submission, error) {
	var req signalRequest
	if err := req.read(data); err != nil {
		return nil, err
	}
	t, err := d.typeOf(req.EventType)
	if err != nil {
		return nil, err
	}
	if req.Event, err = d.payloadOf(t.URI, req.Event); err != nil {
		return nil, err
	}
	id, err := subjectOf("sub_id", req.SubID)
	if err != nil {
		return nil, err
	}
	if len(req.Do) == 0 {
		req.Do = deeds{"act"}
		if req.Streams != nil {
			req.Do = deeds{"transmit"}
		}
	}
	for i, do := range req.Do {
		if do != "act" && do != "transmit" || slices.Contains(req.Do[:i], do) {
			return nil, hub.Errorf(hub.Invalid, "do must be act, transmit, or a list of both")
		}
	}
	if err := checkTXN(req.TXN); err != nil {
		return nil, err
	}
	if err := r.caller.maySend(t); err != nil {
		return nil, err
	}
	if err := r.caller.mayTell(&id); err != nil {
		return nil, err
	}
	streams, err := d.chosen(r, req.Streams, req.Do)
	if err != nil {
		return nil, err
	}
	return &Submission{Client: r.caller.Client, EventType: t.URI, SubID: req.SubID, Subject: &id, Event: req.Event, TXN: req.TXN, Do: req.Do, Order: notNull(req.Order), Streams: streams}, nil
}

// chosen gives the ids of the streams that a signal is limited to; nil is no limit.
func (d *Door) chosen(r *request, refs []string, do []string) ([]string, error) {
	switch {
	case refs == nil:
		return nil, nil
	case len(refs) == 0 || len(refs) > 100:
		return nil, hub.Errorf(hub.Invalid, "streams must name 1 to 100 streams").WithHint("leave it out for every stream that takes the type")
	case !slices.Contains(do, "transmit"):
		return nil, hub.Errorf(hub.Invalid, "streams is for signals that are transmitted").WithHint(`add transmit to do`)
	}
	o, err := d.office(r.tenant)
	if err != nil {
		return nil, err
	}
	ids := []string{}
	for _, ref := range refs {
		v, err := o.find(r.Context(), ref)
		if hub.CodeOf(err) == hub.NotFound && err != nil {
			return nil, hub.Errorf(hub.Invalid, "streams: there is no stream %q", short(ref)).WithHint("countersign stream list")
		}
		if err != nil {
			return nil, err
		}
		if slices.Contains(ids, v.Stream.ID) {
			return nil, hub.Errorf(hub.Invalid, "streams: %q stands there twice", short(ref))
		}
		ids = append(ids, v.Stream.ID)
	}
	return ids, nil
}

func printable(s string) bool {
	for _, c := range s {
		if c < 0x20 || c == 0x7f || c == 0xfffd {
			return false
		}
	}
	return true
}

func (d *Door) listSignals(w http.ResponseWriter, r *request) error {
	p, q, err := query(r.Request, "state", "source", "event_type", "identity")
	if err == nil {
		err = from(p, hub.PrefixSignal)
	}
	if err != nil {
		return err
	}
	state, err := word(q, "state", hub.SignalReceived, hub.SignalUnresolved, hub.SignalDecided, hub.SignalDone)
	if err != nil {
		return err
	}
	f := store.SignalFilter{State: state, Source: q.Get("source"), Type: q.Get("event_type"), Identity: q.Get("identity")}
	if f.Type != "" {
		t, ok := d.c.Registry.Resolve(f.Type)
		if ok {
			f.Type = t.URI
		}
	}
	l, err := d.c.Store.ListSignals(r.Context(), r.tenant, f, p)
	if err != nil {
		return err
	}
	return writePage(w, l)
}

func (d *Door) showSignal(w http.ResponseWriter, r *request) error {
	id := r.PathValue("id")
	sig, err := d.c.Store.Signal(r.Context(), r.tenant, id)
	if err == nil && sig == nil || hub.CodeOf(err) == hub.NotFound && err != nil {
		return hub.Errorf(hub.NotFound, "there is no signal %q", short(id)).WithHint("countersign signal list")
	}
	if err != nil {
		return err
	}
	s := Story{Signal: sig, Actions: []*hub.Action{}, Receipts: []*hub.Receipt{}}
	if s.Decision, err = d.c.Store.DecisionOf(r.Context(), sig.Seq); err != nil && hub.CodeOf(err) != hub.NotFound {
		return err
	}
	actions, err := d.c.Store.ActionsOf(r.Context(), sig.Seq)
	if err != nil {
		return err
	}
	for _, a := range actions {
		full, err := d.c.Store.Action(r.Context(), r.tenant, a.ID)
		if err != nil {
			return err
		}
		s.Actions = append(s.Actions, full)
	}
	receipts, err := d.c.Store.ReceiptsOf(r.Context(), sig.Seq)
	if err != nil {
		return err
	}
	s.Receipts = append(s.Receipts, receipts...)
	if o, err := d.office(r.tenant); err == nil {
		if s.Streams, err = sight.Told(r.Context(), o.streams, o.outbox, sig.TXN); err != nil {
			return err
		}
	}
	if sig.Token != "" && r.caller.May(ScopeSignalsToken) {
		s.Token = openToken(sig.Token)
	}
	return writeJSON(w, http.StatusOK, s)
}

func openToken(compact string) *tokenStory {
	t := &tokenStory{Compact: compact, Header: json.RawMessage("null"), Claims: json.RawMessage("null")}
	if u, err := set.Parse(compact); err == nil {
		h := u.Header()
		t.Header, _ = json.Marshal(map[string]string{"alg": h.Algorithm, "typ": h.Type, "kid": h.KeyID})
		if json.Valid(u.Payload()) {
			t.Claims = u.Payload()
		}
	}
	return t
}
