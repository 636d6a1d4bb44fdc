package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"countersign/event"
	"countersign/internal/hub"
	"countersign/internal/sight"
	"countersign/internal/store"
	"countersign/internal/yaml"
	"countersign/subject"
	"countersign/transmitter"
)

// office is what a tenant transmits, and its store of deliveries.
type office struct {
	streams Streams
	outbox  Outbox
}

func (d *Door) office(tenant string) (office, error) {
	if d.c.Streams == nil || d.c.Outbox == nil {
		return office{}, hub.Errorf(hub.Unavailable, "this hub does not transmit")
	}
	o := office{d.c.Streams(tenant), d.c.Outbox(tenant)}
	if o.streams == nil || o.outbox == nil {
		return o, hub.Errorf(hub.Unavailable, "the tenant %s is not open on this node", short(tenant)).WithHint("it is opened within a second of its document; try again")
	}
	return o, nil
}

// find gives a stream by its id, or by the name of its resource.
func (o office) find(ctx context.Context, ref string) (*transmitter.StreamView, error) {
	v, err := o.streams.View(ctx, ref)
	if err == nil || !errors.Is(err, transmitter.ErrNotFound) {
		return v, err
	}
	all, err := o.streams.Overview(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Stream.Name != "" && all[i].Stream.Name == ref {
			return &all[i], nil
		}
	}
	return nil, hub.Errorf(hub.NotFound, "there is no stream %q", short(ref)).WithHint("countersign stream list")
}

// id gives the stream_id behind an id or a name. What is neither is taken for the id of a stream that is gone.
func (o office) id(ctx context.Context, ref string) (string, error) {
	v, err := o.find(ctx, ref)
	if hub.CodeOf(err) == hub.NotFound && err != nil {
		return ref, nil
	}
	if err != nil {
		return "", err
	}
	return v.Stream.ID, nil
}

// oneStream is the stream that a path names.
func (d *Door) oneStream(r *request) (office, *transmitter.StreamView, error) {
	id, err := ref(r, "id")
	if err != nil {
		return office{}, nil, err
	}
	o, err := d.office(r.tenant)
	if err != nil {
		return o, nil, err
	}
	v, err := o.find(r.Context(), id)
	return o, v, err
}

// streamCursor is the prefix of a cursor in the list of streams: the store's key follows.
const streamCursor = "stm"

func (d *Door) listStreams(w http.ResponseWriter, r *request) error {
	p, q, err := query(r.Request, "client", "status", "health")
	if err == nil {
		err = from(p, streamCursor)
	}
	if err != nil {
		return err
	}
	status, err := word(q, "status", transmitter.Enabled, transmitter.Paused, transmitter.Disabled, sight.Missing)
	if err != nil {
		return err
	}
	health, err := word(q, "health", "ok", "warning", "waiting", "failing", "stopped", transmitter.Paused, transmitter.Disabled, sight.Missing)
	if err != nil {
		return err
	}
	o, err := d.office(r.tenant)
	if err != nil {
		return err
	}
	all, err := d.everyStream(r.Context(), r.tenant, o)
	if err != nil {
		return err
	}
	before := int64(0)
	if p.After != "" {
		if before, err = strconv.ParseInt(strings.TrimPrefix(p.After, streamCursor+"_"), 10, 64); err != nil {
			return from(hub.Page{After: "-" + p.After}, streamCursor)
		}
	}
	l := hub.Listed[StreamInfo]{}
	last, n := int64(0), 0
	for _, s := range all { // what could not be made stands before the first page, and is not counted
		if before != 0 && (s.Key() >= before || s.ID == "") || q.Get("client") != "" && q.Get("client") != s.Client || status != "" && status != s.Status || health != "" && health != s.Health {
			continue
		}
		if n >= p.Size() {
			l.Next = streamCursor + "_" + strconv.FormatInt(last, 10)
			break
		}
		l.Items = append(l.Items, s)
		if s.ID != "" {
			last, n = s.Key(), n+1
		}
	}
	return writePage(w, l)
}

// everyStream gives first the stream documents of which no stream could be made, then the streams, newest first.
func (d *Door) everyStream(ctx context.Context, tenant string, o office) ([]StreamInfo, error) {
	docs, err := d.c.Store.Resources(ctx, tenant, hub.KindStream)
	if err != nil {
		return nil, err
	}
	return sight.All(ctx, o.streams, docs, d.fault, hub.At(d.c.Now()))
}

// fault says why no stream could be made of a document; empty where nothing is known.
func (d *Door) fault(ctx context.Context, res *hub.Resource) string {
	if d.c.Show == nil {
		return ""
	}
	why, _ := d.c.Show(ctx, res)["problem"].(string)
	return why
}

func (d *Door) showStream(w http.ResponseWriter, r *request) error {
	o, v, err := d.oneStream(r)
	if hub.CodeOf(err) == hub.NotFound && err != nil {
		res, other := d.c.Store.Resource(r.Context(), r.tenant, hub.KindStream, r.PathValue("id"))
		if other == nil && res != nil {
			return writeJSON(w, http.StatusOK, StreamStory{StreamInfo: sight.MissingStream(res, d.fault(r.Context(), res)), DeadBy: []ReasonCount{}, Recent: []Delivery{}, Skips: []Delivery{}})
		}
	}
	if err != nil {
		return err
	}
	return d.writeStream(w, r, o, v)
}

func (d *Door) writeStream(w http.ResponseWriter, r *request, o office, v *transmitter.StreamView) error {
	s, err := sight.StoryOf(r.Context(), v, o.outbox, hub.At(d.c.Now()))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s)
}

func (d *Door) deleteStream(w http.ResponseWriter, r *request) error {
	d.applying.Lock()
	defer d.applying.Unlock()
	ctx := r.Context()
	o, v, err := d.oneStream(r)
	name := r.PathValue("id")
	if err != nil && hub.CodeOf(err) != hub.NotFound {
		return err
	}
	answer := StreamAsked{Asked: "delete"}
	if err == nil {
		name = v.Stream.Name
		answer.Stream, answer.Client = v.Stream.ID, v.Stream.Receiver
	}
	if name != "" { // its document goes first, or the next look at the documents would make the stream anew
		res, other := d.c.Store.Resource(ctx, r.tenant, hub.KindStream, name)
		switch {
		case other != nil && hub.CodeOf(other) != hub.NotFound:
			return other
		case other == nil && res != nil:
			if err := d.spare(ctx, r.tenant, res); err != nil {
				return err
			}
			if _, other = d.commit(ctx, r.tenant, []store.Change{{Op: store.OpDelete, Resource: *res}}, false); other != nil {
				return other
			}
			if err != nil {
				var spec hub.Stream
				json.Unmarshal(res.Spec, &spec)
				answer.Client, err = spec.Client, nil
			}
		}
	}
	if err != nil {
		return err
	}
	if v != nil {
		if err := o.streams.RemoveStream(context.WithoutCancel(ctx), v.Stream.ID); err != nil && !errors.Is(err, transmitter.ErrNotFound) {
			return err
		}
	}
	return writeJSON(w, http.StatusOK, answer)
}

const maxReason = 500

func (d *Door) setStreamStatus(w http.ResponseWriter, r *request) error {
	data, err := readBody(w, r.Request, maxBody)
	if err != nil {
		return err
	}
	var req StatusRequest
	if err := decodeBody(data, maxBody, &req); err != nil {
		return err
	}
	if !slices.Contains([]string{transmitter.Enabled, transmitter.Paused, transmitter.Disabled}, req.Status) {
		return hub.Errorf(hub.Invalid, "there is no status %q", short(req.Status)).WithHint("it is one of enabled, paused, disabled")
	}
	if len(req.Reason) > maxReason || !printable(req.Reason) {
		return hub.Errorf(hub.Invalid, "reason must have at most %d printable bytes", maxReason)
	}
	o, v, err := d.oneStream(r)
	if err != nil {
		return err
	}
	if _, err := o.streams.SetStatus(r.Context(), v.Stream.ID, req.Status, req.Reason); err != nil {
		return streamError(err)
	}
	if v, err = o.streams.View(r.Context(), v.Stream.ID); err != nil {
		return streamError(err)
	}
	return d.writeStream(w, r, o, v)
}

func (d *Door) verifyStream(w http.ResponseWriter, r *request) error {
	if err := d.noBody(w, r); err != nil {
		return err
	}
	o, v, err := d.oneStream(r)
	if err != nil {
		return err
	}
	if v.Stream.Status == transmitter.Disabled {
		return hub.Errorf(hub.Conflict, "the stream is disabled, and nothing is sent on it").WithHint("countersign stream resume %s", nameOf(&v.Stream))
	}
	if err := o.streams.Verification(r.Context(), v.Stream.ID); err != nil {
		return streamError(err)
	}
	return writeJSON(w, http.StatusOK, StreamAsked{Stream: v.Stream.ID, Client: v.Stream.Receiver, Asked: "verification"})
}

func (d *Door) explainStream(w http.ResponseWriter, r *request) error {
	data, err := readBody(w, r.Request, maxBody)
	if err != nil {
		return err
	}
	var req ExplainRequest
	if err := decodeBody(data, maxBody, &req); err != nil {
		return err
	}
	t, err := d.typeOf(req.EventType)
	if err != nil {
		return err
	}
	payload, err := d.payloadOf(t.URI, req.Event)
	if err != nil {
		return err
	}
	if _, err = subjectOf("sub_id", req.SubID); err != nil {
		return err
	}
	o, v, err := d.oneStream(r)
	if err != nil {
		return err
	}
	a, err := o.explain(r, transmitter.Message{Type: t.URI, SubID: req.SubID, Payload: payload, Order: notNull(req.Order), Streams: []string{v.Stream.ID}}, v.Stream.ID)
	if err != nil {
		return streamError(err)
	}
	return writeJSON(w, http.StatusOK, a)
}

func (d *Door) changeStreamSubject(w http.ResponseWriter, r *request) error {
	data, err := readBody(w, r.Request, maxBody)
	if err != nil {
		return err
	}
	var req SubjectRequest
	if err := decodeBody(data, maxBody, &req); err != nil {
		return err
	}
	add, remove := notNull(req.Add), notNull(req.Remove)
	if (add == nil) == (remove == nil) {
		return hub.Errorf(hub.Invalid, "exactly one of add and remove is needed").WithHint(`as in {"add": {"format": "email", "email": "alice@example.test"}}`)
	}
	op, raw := "add", add
	if add == nil {
		op, raw = "remove", remove
	}
	sub, err := subjectOf(op, raw)
	if err != nil {
		return err
	}
	o, v, err := d.oneStream(r)
	if err != nil {
		return err
	}
	if err := o.streams.ListSubject(r.Context(), v.Stream.ID, sub, op == "add", req.Verified == nil || *req.Verified); err != nil {
		return streamError(err)
	}
	return writeJSON(w, http.StatusOK, SubjectChanged{Stream: v.Stream.ID, Op: op})
}

// noBody refuses a body where none is wanted; an empty object passes.
func (d *Door) noBody(w http.ResponseWriter, r *request) error {
	if r.ContentLength == 0 {
		return nil
	}
	data, err := readBody(w, r.Request, maxBody)
	if err != nil {
		return err
	}
	return decodeBody(data, maxBody, &struct{}{})
}

// optionalBody reads a body that may be left out.
func optionalBody(w http.ResponseWriter, r *request, v any) error {
	if r.ContentLength == 0 {
		return nil
	}
	data, err := readBody(w, r.Request, maxBody)
	if err != nil {
		return err
	}
	return decodeBody(data, maxBody, v)
}

func notNull(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// subjectOf reads a subject identifier of a request.
func subjectOf(member string, raw json.RawMessage) (subject.Identifier, error) {
	if len(raw) == 0 {
		return subject.Identifier{}, hub.Errorf(hub.Invalid, "%s is missing", member).WithHint(`as in {"format": "email", "email": "alice@example.test"}`)
	}
	id, err := subject.Parse(raw)
	if err != nil {
		why := strings.TrimPrefix(err.Error(), subject.ErrInvalid.Error()+": ")
		return id, hub.Errorf(hub.Invalid, "%s is no subject identifier: %s", member, why).WithHint(`as in {"format": "email", "email": "alice@example.test"}`)
	}
	if format, near := misspelt(id); near != "" {
		return id, hub.Errorf(hub.Invalid, "%s: there is no format %q: did you mean %s?", member, short(format), near).WithHint("a format of your own may have any name that is not so near to one of the standard's")
	}
	return id, nil
}

// formats are those that have a meaning here.
var formats = []string{subject.FormatAccount, subject.FormatEmail, subject.FormatIssSub, subject.FormatOpaque, subject.FormatPhone, subject.FormatDID,
	subject.FormatURI, subject.FormatAliases, subject.FormatJWTID, subject.FormatSAML, subject.FormatIPAddresses, subject.FormatSCIM, subject.FormatComplex}

// misspelt gives a format, of the subject or of a part of it, that is none and nearly one, and the one that it is near to.
func misspelt(id subject.Identifier) (format, near string) {
	if format = id.Format(); !slices.Contains(formats, format) {
		return format, yaml.Nearest(format, formats)
	}
	inner := id.Aliases()
	for _, name := range id.Parts() {
		if part, ok := id.Part(name); ok {
			inner = append(inner, part)
		}
	}
	for _, part := range inner {
		if format, near = misspelt(part); near != "" {
			return format, near
		}
	}
	return "", ""
}

func nameOf(s *transmitter.Stream) string {
	if s.Name != "" {
		return s.Name
	}
	return s.ID
}

// streamError gives the transmitter's errors the codes of this door.
func streamError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, transmitter.ErrNotFound):
		return hub.Errorf(hub.NotFound, "the stream is gone").WithHint("countersign stream list")
	case errors.Is(err, subject.ErrInvalid), errors.Is(err, event.ErrInvalid):
		return hub.Errorf(hub.Invalid, "%s", strings.ReplaceAll(strings.TrimPrefix(err.Error(), "transmitter: "), event.ErrInvalid.Error()+": ", ""))
	case errors.Is(err, transmitter.ErrTooMany):
		return hub.Errorf(hub.Conflict, "the stream's list has as many subjects as it may have")
	case errors.Is(err, transmitter.ErrBusy), errors.Is(err, transmitter.ErrStale):
		return hub.Errorf(hub.Unavailable, "too much waits to be written").WithHint("repeat in a second")
	}
	return err
}
