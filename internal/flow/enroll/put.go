package enroll

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"countersign/internal/hub"
	"countersign/receiver"
	"countersign/stream"
)

// setting is one try to have the stream at a source as it is wanted.
type setting struct {
	e            *Enroller
	c            *receiver.Client
	md           *stream.Metadata
	cfg          *stream.Configuration // wanted
	src          *hub.Source
	s            *State
	tenant, name string
	endpoint     string // our receive address; empty: we poll
}

// put updates the stream that is there, adopts one, or creates one. Whatever is learned of a stream is durable before the next
// request, so that there is one stream for ever, wherever the hub ends.
func (t *setting) put(ctx context.Context) (*stream.Configuration, error) {
	if t.s.StreamID != "" {
		got, err := t.update(ctx)
		if err == nil && t.s.Origin != Adopted && t.endpoint == "" && t.s.PollURL == "" && pollAddress(got) == "" {
			got, err = t.afresh(ctx)
		}
		if status(err) != http.StatusNotFound {
			return got, err
		}
		if t.s.Origin == Adopted && t.src.StreamID != "" {
			return nil, fmt.Errorf("the stream %s is not there any more: name another one in stream_id, or write stream: create", t.s.StreamID)
		}
		t.s.lose() // somebody deleted it there: made anew
		t.cfg.StreamID = ""
		if err := t.keep(ctx); err != nil {
			return nil, err
		}
	}
	if t.src.Stream == "adopt" {
		return t.adopt(ctx)
	}
	return t.create(ctx)
}

// afresh makes a stream of ours anew that was pushed and is polled now: some give the address to poll at creation only.
func (t *setting) afresh(ctx context.Context) (*stream.Configuration, error) {
	got, err := t.c.Read(ctx, t.md, t.s.StreamID)
	if err != nil || pollAddress(got) != "" {
		return got, err
	}
	if err := t.c.Delete(ctx, t.md, t.s.StreamID); err != nil {
		return nil, err
	}
	t.s.lose()
	if err := t.keep(ctx); err != nil {
		return nil, err
	}
	return t.create(ctx)
}

// pollAddress is the address to poll that a configuration names; empty: none.
func pollAddress(c *stream.Configuration) string {
	if c == nil || c.Delivery == nil || receiver.Method(c.Delivery.Method) != stream.PollMethod {
		return ""
	}
	return c.Delivery.EndpointURL
}

func (t *setting) keep(ctx context.Context) error { return t.e.keep(ctx, t.tenant, t.name, t.s) }

// among finds our stream: by our address, by our mark, or because it is the one that came after we began to make one.
func (s *State) among(all []*stream.Configuration, endpoint, mark string) *stream.Configuration {
	var news []*stream.Configuration
	for _, have := range all {
		push := have.Delivery != nil && receiver.Method(have.Delivery.Method) == stream.PushMethod
		switch {
		case push && have.Delivery.EndpointURL == endpoint && endpoint != "":
			return have
		case have.Description == mark && (!push || have.Delivery.EndpointURL == ""):
			return have
		case s.Making && !push && endpoint == "" && have.Description == "" && !slices.Contains(s.Before, have.StreamID):
			news = append(news, have)
		}
	}
	if len(news) == 1 {
		return news[0]
	}
	return nil
}

// create makes the stream, unless it is there already.
func (t *setting) create(ctx context.Context) (*stream.Configuration, error) {
	all, err := t.c.List(ctx, t.md)
	switch {
	case err == nil:
		if have := t.s.among(all, t.endpoint, t.cfg.Description); have != nil {
			return t.takeOver(ctx, have, Created)
		}
	case !missing(err) && status(err) != http.StatusBadRequest && status(err) != http.StatusForbidden: // some list nothing; then creating says more
		return nil, err
	}
	t.s.Making, t.s.Before = true, ids(all)
	if err := t.keep(ctx); err != nil {
		return nil, err
	}
	t.e.Stop("stream.before-create")
	got, err := t.c.Create(ctx, t.md, t.cfg)
	if status(err) == http.StatusBadRequest && t.cfg.Extra != nil {
		// Receipts design §3.3: once without the member; success marks the peer legacy.
		t.cfg.Extra = nil
		got, err = t.c.Create(ctx, t.md, t.cfg)
	}
	t.e.Stop("stream.after-create")
	if status(err) == http.StatusConflict {
		return t.conflict(ctx, err)
	}
	if err != nil {
		if refused(err) {
			t.s.Making, t.s.Before = false, nil
		}
		return nil, err
	}
	t.s.StreamID, t.s.Origin = got.StreamID, Created
	return got, t.keep(ctx) // RX-38
}

// conflict looks at the stream that is in the way. One of ours is taken over; another is left alone.
func (t *setting) conflict(ctx context.Context, refusal error) (*stream.Configuration, error) {
	t.s.Making, t.s.Before = false, nil
	all, err := t.c.List(ctx, t.md)
	if err != nil {
		return nil, fmt.Errorf("%w; and the streams there cannot be listed: %w", refusal, err)
	}
	if have := t.s.among(all, t.endpoint, t.cfg.Description); have != nil {
		return t.takeOver(ctx, have, Created)
	}
	if len(all) == 0 {
		return nil, refusal
	}
	have := all[0]
	return nil, fmt.Errorf("there is a stream for this client already, %s, and it is not ours, so it is left alone: delete it there, "+
		"or take it with stream: adopt and stream_id: %s, or give this source a client of its own there", told(have), have.StreamID)
}

// adopt takes a stream that is there, if it fits.
func (t *setting) adopt(ctx context.Context) (*stream.Configuration, error) {
	want := &stream.Configuration{StreamID: t.src.StreamID, Issuer: t.md.Issuer, Audience: t.src.Audience, Delivery: t.cfg.Delivery, EventsRequested: t.cfg.EventsRequested}
	var have *stream.Configuration
	if t.src.StreamID != "" {
		var err error
		if have, err = t.c.Read(ctx, t.md, t.src.StreamID); status(err) == http.StatusNotFound {
			return nil, fmt.Errorf("there is no stream %s for this client: correct stream_id, or make the stream there%s", t.src.StreamID, t.address())
		} else if err != nil {
			return nil, err
		}
	} else {
		all, err := t.c.List(ctx, t.md)
		if err != nil {
			return nil, err
		}
		if have = t.s.among(all, t.endpoint, description(t.name, t.s.ReceiveID)); have == nil {
			fit := slices.DeleteFunc(slices.Clone(all), func(c *stream.Configuration) bool {
				// What a source of a hub made is that source's: it is adopted only by one who names it.
				return strings.HasPrefix(c.Description, descriptionOf) || receiver.Foreign(receiver.Adopt(c, want))
			})
			switch {
			case len(fit) == 1:
				have = fit[0]
			case len(fit) > 1:
				return nil, fmt.Errorf("there are %d streams that would fit: name one in stream_id: %s", len(fit), strings.Join(ids(fit), ", "))
			case len(all) > 0:
				return nil, fmt.Errorf("there is no stream that fits, only %s, which is somebody else's: make one there%s, or write stream: create", told(all[0]), t.address())
			default:
				return nil, fmt.Errorf("there is no stream to adopt: make one there%s, or write stream: create", t.address())
			}
		}
	}
	differences := receiver.Adopt(have, want)
	if receiver.Foreign(differences) {
		var all []string
		for _, d := range differences {
			if d.Foreign {
				all = append(all, d.Member)
			}
		}
		return nil, fmt.Errorf("%s is not ours to take, since its %s is another, so it is left alone: set it right there%s, or name another stream",
			told(have), strings.Join(all, " and "), t.address())
	}
	if len(differences) == 0 && t.cfg.Extra == nil && (t.cfg.Delivery == nil || t.cfg.Delivery.AuthorizationHeader == "") {
		t.e.Stop("stream.before-adopt")
		t.s.StreamID, t.s.Origin = have.StreamID, Adopted
		return have, t.keep(ctx)
	}
	return t.takeOver(ctx, have, Adopted)
}

// address tells what a stream that is made there by hand needs.
func (t *setting) address() string {
	if t.endpoint == "" {
		return " with delivery by poll"
	}
	return " with delivery by push to the address that countersign source show " + t.name + " prints"
}

// takeOver remembers a stream as ours and brings it to what is wanted.
func (t *setting) takeOver(ctx context.Context, have *stream.Configuration, origin string) (*stream.Configuration, error) {
	t.e.Stop("stream.before-adopt")
	t.s.StreamID, t.s.Origin, t.s.Making, t.s.Before = have.StreamID, origin, false, nil
	if t.endpoint == "" && have.Delivery != nil {
		t.s.PollURL = have.Delivery.EndpointURL
	}
	if err := t.keep(ctx); err != nil {
		return nil, err
	}
	t.e.Log.InfoContext(ctx, "a stream that was there is taken over", "tenant", t.tenant, "source", t.name, "stream", have.StreamID)
	got, err := t.update(ctx)
	t.e.Stop("stream.after-adopt")
	return got, err
}

// update changes the stream as far as it is ours to say (RX-26, RX-28).
func (t *setting) update(ctx context.Context) (*stream.Configuration, error) {
	cfg := *t.cfg
	cfg.StreamID = t.s.StreamID
	if t.s.Origin == Adopted {
		cfg.Description = "" // it is the operator's
	}
	if t.endpoint == "" && t.s.PollURL != "" {
		cfg.Delivery = nil // sending it again loses the address
	}
	got, err := t.c.Update(ctx, t.md, &cfg)
	if status(err) == http.StatusBadRequest && cfg.Extra != nil {
		t.cfg.Extra, cfg.Extra = nil, nil
		got, err = t.c.Update(ctx, t.md, &cfg)
	}
	if missing(err) { // it cannot be changed there: good where it is what we want
		have, rerr := t.c.Read(ctx, t.md, t.s.StreamID)
		if rerr != nil {
			return nil, rerr
		}
		cfg.Description, cfg.StreamID = "", ""
		if d := receiver.Adopt(have, &cfg); len(d) > 0 {
			return nil, fmt.Errorf("the transmitter does not let a stream be changed, and the %s of %s is not what is wanted: "+
				"countersign source stream %s delete, then it is made anew", d[0].Member, told(have), t.name)
		}
		return have, nil
	}
	if err == nil && got == nil { // 202
		got, err = t.c.Read(ctx, t.md, t.s.StreamID)
	}
	return got, err
}

func ids(all []*stream.Configuration) []string {
	var out []string
	for _, c := range all {
		out = append(out, c.StreamID)
	}
	return out
}

// told describes a stream without the path of its address, which may be a secret.
func told(c *stream.Configuration) string {
	how := "polled"
	if c.Delivery != nil && receiver.Method(c.Delivery.Method) == stream.PushMethod {
		how = "pushed to an address elsewhere"
		if u, err := url.Parse(c.Delivery.EndpointURL); err == nil && u.Host != "" {
			how = "pushed to " + u.Host
		}
	}
	return fmt.Sprintf("stream %.100s, %s", c.StreamID, how)
}
