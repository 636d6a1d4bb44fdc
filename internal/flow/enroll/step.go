package enroll

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/receiver"
	"countersign/set"
	"countersign/stream"
)

// Steps at the other side's stream API, each one request.
const (
	StepCreate  = "create"
	StepRead    = "read"
	StepUpdate  = "update"
	StepReplace = "replace"
	StepStatus  = "status"
	StepVerify  = "verify"
	StepPoll    = "poll"
	StepDelete  = "delete"
)

// Steps lists them.
var Steps = []string{StepCreate, StepRead, StepUpdate, StepReplace, StepStatus, StepVerify, StepPoll, StepDelete}

// StepInput is what a step is given besides the source. Each member belongs to the steps that its comment names; elsewhere it is
// refused.
type StepInput struct {
	StreamID    string   `json:"stream_id,omitempty"`   // all but create: of another stream than the one we remember
	All         bool     `json:"all,omitempty"`         // read: every stream of ours there
	Events      []string `json:"events,omitempty"`      // create, update, replace: in place of the source's
	Description string   `json:"description,omitempty"` // create, update, replace: in place of ours
	Status      string   `json:"status,omitempty"`      // status: what it shall be; empty: it is read
	Reason      string   `json:"reason,omitempty"`      // status
	State       string   `json:"state,omitempty"`       // verify: in place of a random one
	NoState     bool     `json:"no_state,omitempty"`    // verify: without one
	Max         *int     `json:"max,omitempty"`         // poll: how many SETs at most
	Long        bool     `json:"long,omitempty"`        // poll: wait until there is something
	AckOnly     bool     `json:"ack_only,omitempty"`    // poll: say what came before, and take nothing
}

// StepResult is what came of a step.
type StepResult struct {
	Verb   string          `json:"verb"`
	Answer json.RawMessage `json:"answer,omitempty"` // of the other side, without secrets
	State  string          `json:"state,omitempty"`  // verify: what the event will carry
	Sets   []PolledSet     `json:"sets,omitempty"`
	More   bool            `json:"more_available,omitempty"`
	Note   string          `json:"note,omitempty"`
	Stream *State          `json:"stream"` // as we know it now
}

// PolledSet is one SET that a poll brought.
type PolledSet struct {
	JTI    string `json:"jti"`
	Result string `json:"result"` // kept, refused, later
	Reason string `json:"reason,omitempty"`
}

// belongs says which members a step takes.
func (in *StepInput) belongs(verb string) error {
	for _, m := range []struct {
		name  string
		given bool
		to    []string
	}{
		{"stream_id", in.StreamID != "", []string{StepRead, StepUpdate, StepReplace, StepStatus, StepVerify, StepDelete}},
		{"all", in.All, []string{StepRead}},
		{"events", in.Events != nil, []string{StepCreate, StepUpdate, StepReplace}},
		{"description", in.Description != "", []string{StepCreate, StepUpdate, StepReplace}},
		{"status", in.Status != "", []string{StepStatus}},
		{"reason", in.Reason != "", []string{StepStatus}},
		{"state", in.State != "", []string{StepVerify}},
		{"no_state", in.NoState, []string{StepVerify}},
		{"max", in.Max != nil, []string{StepPoll}},
		{"long", in.Long, []string{StepPoll}},
		{"ack_only", in.AckOnly, []string{StepPoll}},
	} {
		if m.given && !slices.Contains(m.to, verb) {
			return hub.Errorf(hub.Invalid, "%s does not belong to the step %s", m.name, verb)
		}
	}
	switch {
	case !slices.Contains(Steps, verb):
		return hub.Errorf(hub.Invalid, "there is no step %.40q", verb).WithHint("one of: %s", strings.Join(Steps, ", "))
	case in.Status != "" && in.Status != stream.Enabled && in.Status != stream.Paused && in.Status != stream.Disabled:
		return hub.Errorf(hub.Invalid, "status is enabled, paused or disabled")
	case in.Reason != "" && in.Status == "":
		return hub.Errorf(hub.Invalid, "reason belongs to a status that is set")
	case in.State != "" && in.NoState:
		return hub.Errorf(hub.Invalid, "state and no_state exclude each other")
	case in.Max != nil && (*in.Max < 1 || *in.Max > 10000):
		return hub.Errorf(hub.Invalid, "max is 1 to 10000 SETs")
	case in.AckOnly && (in.Max != nil || in.Long):
		return hub.Errorf(hub.Invalid, "who only acknowledges takes nothing, and does not wait")
	case len(in.State) > 1024 || len(in.Description) > 1000 || len(in.Reason) > 1000 || len(in.StreamID) > 1024:
		return hub.Errorf(hub.Invalid, "a text is too long")
	}
	return nil
}

// Step does one step at the other side's stream API, and nothing else: one request, with a token request before it where none
// is cached and a look at the metadata where that is not.
func (e *Enroller) Step(ctx context.Context, tenant, source, verb string, in StepInput) (*StepResult, error) {
	if err := in.belongs(verb); err != nil {
		return nil, err
	}
	src, err := e.Source(ctx, tenant, source)
	if err != nil {
		return nil, err
	}
	if src == nil {
		return nil, hub.Errorf(hub.NotFound, "there is no source %s", source)
	}
	defer e.turns.take(tenant + "/" + source)()
	s, err := e.change(ctx, tenant, source, func(s *State) *State {
		if s == nil {
			return fresh(src)
		}
		return s
	})
	if err != nil {
		return nil, err
	}
	t := &stepping{e: e, tenant: tenant, src: src, s: s, in: in, out: &StepResult{Verb: verb}}
	if t.id = in.StreamID; t.id == "" {
		t.id = s.StreamID
	}
	if t.id == "" && verb != StepCreate && verb != StepRead && verb != StepPoll {
		return nil, hub.Errorf(hub.Conflict, "no stream at %s is known", source).WithHint("countersign source stream %s create, or read --all, or name it with --stream-id", source)
	}
	if err := t.run(ctx, verb); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, e.outside(ctx, tenant, src, err)
	}
	now, err := Read(ctx, e.Store, tenant, source)
	if err != nil {
		return nil, err
	}
	if now != nil {
		shown := now.Shown()
		t.out.Stream = &shown
	}
	return t.out, nil
}

// outside is an error of the other side for whoever asked.
func (e *Enroller) outside(ctx context.Context, tenant string, src *hub.Source, err error) error {
	if _, ours := errors.AsType[*hub.Error](err); ours {
		return err
	}
	code := hub.Unavailable
	if refused(err) || errors.Is(err, receiver.ErrUnsupported) {
		code = hub.Conflict
	}
	return &hub.Error{Code: code, Err: outside{e.hide(ctx, tenant, src, reason(err))}, Hint: "countersign doctor source " + src.Name}
}

// ErrOutside is in the chain of errors of the other side.
var ErrOutside = errors.New("the other side of the source does not do what it should")

// outside is such an error, as its operator may read it.
type outside struct{ text string }

func (o outside) Error() string        { return o.text }
func (o outside) Is(target error) bool { return target == ErrOutside }

// stepping is one step under way.
type stepping struct {
	e      *Enroller
	tenant string
	src    *hub.Source
	s      *State
	id     string
	in     StepInput
	out    *StepResult

	c  *receiver.Client
	md *stream.Metadata
}

func (t *stepping) run(ctx context.Context, verb string) (err error) {
	if verb == StepPoll { // it needs no metadata
		return t.poll(ctx)
	}
	if verb == StepCreate && t.s.StreamID != "" {
		return hub.Errorf(hub.Conflict, "there is a stream at %s already: %.100s", t.src.Name, t.s.StreamID).WithHint("countersign source stream %s read, or delete", t.src.Name)
	}
	if t.c, err = t.e.calls(ctx, t.tenant, t.src); err != nil {
		return err
	}
	used := ""
	if t.md, used, err = t.e.metadata(ctx, t.c, t.tenant+"/"+t.src.Name, t.e.placeOf(t.src), false); err != nil {
		return err
	}
	t.s.JWKSURI, t.s.KeysOf, t.s.MetadataFrom, t.s.Critical = t.md.JWKSURI, t.md.Issuer, used, t.md.CriticalSubjectMembers
	t.s.Issuer, t.s.MetadataURL, t.s.Auth, t.s.Profile, t.s.Relax = t.src.Issuer, t.src.MetadataURL, t.src.Auth, t.src.Profile, t.src.Relax
	switch verb {
	case StepCreate:
		return t.create(ctx)
	case StepRead:
		return t.read(ctx)
	case StepUpdate, StepReplace:
		return t.put(ctx, verb)
	case StepStatus:
		return t.status(ctx)
	case StepVerify:
		t.out.State, err = t.e.ask(ctx, t.c, t.md, t.tenant, t.src.Name, t.id, t.in.State, t.in.NoState)
		if err == nil {
			t.out.Note = "asked; the event comes on the stream, and source show tells when it has"
		}
		return err
	default:
		return t.delete(ctx)
	}
}

// asked is the configuration that a step sends.
func (t *stepping) asked(ctx context.Context) (*stream.Configuration, error) {
	want, err := t.e.want(ctx, t.tenant, t.src, t.s)
	if err != nil {
		return nil, err
	}
	cfg := want.configuration()
	if t.in.Events != nil {
		cfg.EventsRequested = t.in.Events
	}
	if t.in.Description != "" {
		cfg.Description = t.in.Description
	}
	return cfg, nil
}

func (t *stepping) create(ctx context.Context) error {
	cfg, err := t.asked(ctx)
	if err != nil {
		return err
	}
	got, err := t.c.Create(ctx, t.md, cfg)
	if err != nil {
		return err
	}
	t.s.Origin = ByHand
	if t.src.Stream != None {
		t.s.Origin = Created
	}
	return t.remember(ctx, got)
}

func (t *stepping) read(ctx context.Context) error {
	if t.in.All || t.id == "" {
		all, err := t.c.List(ctx, t.md)
		if err != nil {
			return err
		}
		shown := make([]json.RawMessage, len(all))
		for i, c := range all {
			if shown[i], err = masked(c); err != nil {
				return err
			}
		}
		t.out.Answer, err = json.Marshal(shown)
		return err
	}
	got, err := t.c.Read(ctx, t.md, t.id)
	if err != nil {
		return err
	}
	if t.s.StreamID == "" && t.src.Stream == None {
		t.s.Origin = ByHand
		return t.remember(ctx, got)
	}
	return t.heard(ctx, got)
}

// put is update, which changes what is given (all of ours, where nothing is), and replace, which says all of it (RX-26, RX-27).
func (t *stepping) put(ctx context.Context, verb string) error {
	cfg, err := t.asked(ctx)
	if err != nil {
		return err
	}
	cfg.StreamID = t.id
	var got *stream.Configuration
	if verb == StepReplace {
		got, err = t.c.Replace(ctx, t.md, cfg)
	} else {
		if t.in.Events != nil || t.in.Description != "" {
			cfg = &stream.Configuration{StreamID: t.id, EventsRequested: t.in.Events, Description: t.in.Description}
		} else if t.src.Delivery == "poll" {
			cfg.Delivery = nil
		}
		got, err = t.c.Update(ctx, t.md, cfg)
	}
	if err != nil {
		return err
	}
	if got == nil {
		t.out.Note = "taken, and not decided yet; read it later"
		return nil
	}
	return t.heard(ctx, got)
}

// heard shows an answer, and remembers it where it is about the stream that we know.
func (t *stepping) heard(ctx context.Context, got *stream.Configuration) error {
	if got.StreamID == t.s.StreamID {
		return t.remember(ctx, got)
	}
	var err error
	t.out.Answer, err = masked(got)
	return err
}

// remember keeps what a configuration says, so that what comes on the stream is taken.
func (t *stepping) remember(ctx context.Context, got *stream.Configuration) error {
	var err error
	if t.out.Answer, err = masked(got); err != nil {
		return err
	}
	t.s.StreamID = got.StreamID
	problem := t.e.record(ctx, nil, t.md, t.tenant, t.src, t.s, got)
	if problem != nil {
		t.out.Note = problem.Error()
	} else if t.src.Stream == None {
		for _, a := range t.src.Audience { // RX-17: what was agreed holds too
			if !slices.Contains(t.s.Audience, a) {
				t.s.Audience = append(t.s.Audience, a)
			}
		}
	}
	if err := t.e.keep(ctx, t.tenant, t.src.Name, t.s); err != nil {
		return err
	}
	t.e.Changed(ctx, t.tenant)
	return nil
}

func (t *stepping) status(ctx context.Context) error {
	var got *stream.Status
	var err error
	if t.in.Status == "" {
		got, err = t.c.Status(ctx, t.md, t.id)
	} else {
		got, err = t.c.SetStatus(ctx, t.md, stream.Status{StreamID: t.id, Status: t.in.Status, Reason: t.in.Reason})
	}
	if err != nil {
		return err
	}
	if got == nil {
		t.out.Note = "taken, and not decided yet; read it later"
	} else if t.out.Answer, err = json.Marshal(got); err != nil {
		return err
	}
	if t.id != t.s.StreamID {
		return nil
	}
	_, err = t.e.live(ctx, t.tenant, t.src.Name, func(l *Live) {
		if got != nil {
			l.There, l.ThereReason, l.ThereAt = got.Status, got.Reason, hub.At(t.e.Now())
		}
		if t.in.Status != "" {
			l.Held = t.in.Status != stream.Enabled
		}
	})
	return err
}

func (t *stepping) delete(ctx context.Context) error {
	if err := t.c.Delete(ctx, t.md, t.id); err != nil {
		return err
	}
	if t.id != t.s.StreamID {
		return nil
	}
	t.s.lose()
	if t.src.Stream == None {
		t.s.Status, t.s.Audience = None, t.src.Audience
	} else {
		t.s.Status = Pending
		t.out.Note = "the hub makes it anew, since the source says stream: " + t.src.Stream
	}
	if err := t.e.keep(ctx, t.tenant, t.src.Name, t.s); err != nil {
		return err
	}
	t.e.Changed(ctx, t.tenant)
	return nil
}

// poll asks once, with what is to be said of the SETs of the poll before. What came is kept before the step ends, and
// acknowledged with the next one.
func (t *stepping) poll(ctx context.Context) error {
	if t.s.PollURL == "" || !t.s.With(t.src) { // the address of the issuer before is shown no credential
		return hub.Errorf(hub.Conflict, "no address to poll at %s is known", t.src.Name).WithHint("the source needs delivery: poll, and a stream: countersign source stream %s create, or read", t.src.Name)
	}
	cred, err := t.e.PollCredential(ctx, t.tenant, t.src, t.s)
	if err != nil {
		return err
	}
	patient := t.e.Polls
	if patient == nil {
		c := *t.e.Client
		c.Timeout = 2 * time.Minute
		patient = &c
	}
	req := &stream.PollRequest{MaxEvents: t.in.Max, ReturnImmediately: !t.in.Long, Ack: t.s.Acks, SetErrs: t.s.Refused}
	if t.in.AckOnly {
		none := 0
		req.MaxEvents = &none
	}
	got, err := (&receiver.Client{HTTP: patient, Credential: cred}).Poll(ctx, t.s.PollURL, req)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // what came is kept whoever waits for it
	said := t.s
	acks, refusals := []string(nil), map[string]stream.WireError{}
	most := 1000
	if t.in.Max != nil {
		most = *t.in.Max
	}
	for _, jti := range got.First(most) {
		one := PolledSet{JTI: jti}
		err := t.take(ctx, jti, got.Sets[jti])
		wrong, bad := errors.AsType[stream.WireError](err)
		switch {
		case err == nil:
			one.Result = "kept"
			acks = append(acks, jti)
		case bad:
			one.Result, one.Reason = "refused", wrong.Err+": "+wrong.Description
			refusals[jti] = wrong
		default:
			one.Result, one.Reason = "later", t.e.hide(ctx, t.tenant, t.src, err.Error())
		}
		t.out.Sets = append(t.out.Sets, one)
	}
	t.out.More = got.MoreAvailable || len(t.out.Sets) < len(got.Sets)
	if len(acks)+len(refusals) > 0 {
		t.out.Note = "what came is acknowledged with the next poll, or with --ack-only"
	}
	_, err = t.e.change(ctx, t.tenant, t.src.Name, func(s *State) *State {
		if s == nil {
			return nil
		}
		s.Acks = append(slices.DeleteFunc(s.Acks, func(j string) bool { return slices.Contains(said.Acks, j) }), acks...)
		for j := range said.Refused {
			delete(s.Refused, j)
		}
		if s.Refused == nil {
			s.Refused = map[string]stream.WireError{}
		}
		maps.Copy(s.Refused, refusals)
		return s
	})
	return err
}

func (t *stepping) take(ctx context.Context, jti, compact string) error {
	if u, err := set.Parse(compact); err == nil && u.Claims().ID != jti { // RX-93
		return stream.WireError{Err: stream.InvalidRequest, Description: "the jti of the token is not the name under which the answer has it"}
	}
	if t.e.Take == nil {
		return errors.New("nobody takes polled tokens here")
	}
	return t.e.Take(ctx, t.tenant, t.src.Name, compact)
}

// masked is a configuration without its secret.
func masked(c *stream.Configuration) (json.RawMessage, error) {
	shown := *c
	if shown.Delivery != nil && shown.Delivery.AuthorizationHeader != "" {
		d := *shown.Delivery
		d.AuthorizationHeader = "***"
		shown.Delivery = &d
	}
	return json.Marshal(shown)
}
