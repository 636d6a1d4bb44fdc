package transmitter_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/req"
	"countersign/set"
	"countersign/ssftest"
	"countersign/transmitter"
)

const (
	verificationURI  = "https://schemas.openid.net/secevent/ssf/event-type/verification"
	streamUpdatedURI = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated"
)

// toldIn takes the claims out of a token.
func toldIn(t testing.TB, token string) (c struct {
	TXN    string                    `json:"txn"`
	Aud    any                       `json:"aud"`
	SubID  map[string]any            `json:"sub_id"`
	Events map[string]map[string]any `json:"events"`
}) {
	t.Helper()
	u, err := set.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(u.Payload(), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// only gives the one SET of an answer.
func only(t testing.TB, p polled) string {
	t.Helper()
	if len(p.Sets) != 1 {
		t.Fatalf("%d SETs: %d %s", len(p.Sets), p.Status, p.Text)
	}
	return p.Sets[p.order()[0]]
}

func TestSetStatusOfPolledStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		x := newTransmitter(t, newConfig(store))
		defer running(t, x)()
		id := create(t, x, "token-a", pollBody)
		jti := sendN(t, x, 1)[0]
		waiting := held(t, x, id, `{`+ackOf(jti)+`}`)
		mustWait(t, waiting)
		st, err := x.SetStatus(t.Context(), id, "paused", "we move house")
		if err != nil || st.Status != "paused" || st.Reason != "we move house" {
			t.Fatalf("%+v, %v", st, err)
		}
		c := toldIn(t, only(t, <-waiting))
		if e := c.Events[streamUpdatedURI]; e["status"] != "paused" || e["reason"] != "we move house" || c.SubID["format"] != "opaque" || c.SubID["id"] != id || c.TXN == "" {
			t.Errorf("%+v", c)
		}
		req.Covers(t, "TX-107", "TX-135", "TX-137", "TX-138", "P-32", "P-47")
		// It is given until it was acknowledged, and nothing else is.
		mustSend(t, x, message("alice"))
		again := poll(t, x, "token-a", id, `{`+at+`}`)
		only(t, again)
		if p := poll(t, x, "token-a", id, `{`+at+`,`+ackOf(again.order()...)+`}`); p.Text != `{"sets":{}}` {
			t.Errorf("paused: %s", p.Text)
		}
		req.Covers(t, "TX-139", "TX-104")
		if got := text(t, do(x, call{method: "GET", path: "/t/blue/ssf/status?stream_id=" + id, token: "token-a"})); got != `{"stream_id":"`+id+`","status":"paused","reason":"we move house"}` {
			t.Errorf("%s", got)
		}
		if _, err := x.SetStatus(t.Context(), id, "paused", "still"); err != nil {
			t.Fatal(err)
		}
		if p := poll(t, x, "token-a", id, `{`+at+`}`); len(p.Sets) != 0 {
			t.Errorf("the same status is announced: %s", p.Text)
		}
		if _, err := x.SetStatus(t.Context(), id, "enabled", ""); err != nil {
			t.Fatal(err)
		}
		p := poll(t, x, "token-a", id, `{`+at+`}`)
		if len(p.Sets) != 2 {
			t.Fatalf("enabled again: %s", p.Text)
		}
		if c := toldIn(t, p.Sets[p.order()[1]]); c.Events[streamUpdatedURI]["status"] != "enabled" || c.Events[streamUpdatedURI]["reason"] != nil {
			t.Errorf("%+v", c)
		}
		req.Covers(t, "TX-136")
		if _, err := x.SetStatus(t.Context(), id, "disabled", "gone"); err != nil {
			t.Fatal(err)
		}
		if c := toldIn(t, only(t, poll(t, x, "token-a", id, `{`+at+`}`))); c.Events[streamUpdatedURI]["status"] != "disabled" {
			t.Errorf("%+v", c)
		}
		req.Covers(t, "TX-106")
	})
}

func TestSetStatusOfPushedStream(t *testing.T) {
	r := ssftest.NewReceiver(t)
	r.Always(ssftest.Answer{Status: 202})
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Transport = r.Transport()
	x := newTransmitter(t, cfg)
	running(t, x)
	id := create(t, x, "token-a", createBody(r.URL))
	for i, status := range []string{"paused", "disabled", "enabled"} {
		if _, err := x.SetStatus(t.Context(), id, status, "because"); err != nil {
			t.Fatal(err)
		}
		pushes := r.Wait(t, i+1)
		c := toldIn(t, pushes[i].Token)
		if e := c.Events[streamUpdatedURI]; e["status"] != status || e["reason"] != "because" {
			t.Errorf("%s: %+v", status, c)
		}
	}
	req.Covers(t, "TX-107", "TX-135", "TX-136")
	// A change by the receiver is not announced.
	for _, status := range []string{"paused", "enabled"} {
		if a := do(x, call{method: "POST", path: "/t/blue/ssf/status", token: "token-a", body: `{"stream_id":"` + id + `","status":"` + status + `"}`}); a.StatusCode != 200 {
			t.Fatal(a.StatusCode)
		}
	}
	mustSend(t, x, message("alice"))
	c := toldIn(t, r.Wait(t, 4)[3].Token)
	if c.Events[sessionRevoked] == nil {
		t.Errorf("%+v", c)
	}
	req.Covers(t, "TX-108")
}

func TestVerificationEvents(t *testing.T) {
	store := new(transmitter.Memory)
	x := newTransmitter(t, newConfig(store))
	id := create(t, x, "token-a", `{"events_requested":[]}`)
	verify := func(member string) int {
		return do(x, call{method: "POST", path: "/t/blue/ssf/verify", token: "token-a", body: `{"stream_id":"` + id + `"` + member + `}`}).StatusCode
	}
	take := func() []map[string]any {
		p := poll(t, x, "token-a", id, `{`+at+`}`)
		var out []map[string]any
		for _, jti := range p.order() {
			c := toldIn(t, p.Sets[jti])
			if c.SubID["format"] != "opaque" || c.SubID["id"] != id || c.Events[verificationURI] == nil || c.TXN == "" {
				t.Errorf("%+v", c)
			}
			out = append(out, c.Events[verificationURI])
		}
		poll(t, x, "token-a", id, `{"maxEvents":0,`+ackOf(p.order()...)+`}`)
		return out
	}
	for _, member := range []string{`,"state":"VGhp\u0073 \"is\" 😀"`, `,"state":"two"`, ``, `,"state":null`} {
		if code := verify(member); code != 204 {
			t.Fatalf("%s: %d", member, code)
		}
	}
	if err := x.Verification(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	got := take()
	if len(got) != 5 || got[0]["state"] != `VGhps "is" 😀` || got[1]["state"] != "two" || len(got[2]) != 0 || len(got[3]) != 0 || len(got[4]) != 0 {
		t.Errorf("%v", got)
	}
	req.Covers(t, "TX-123", "TX-124", "TX-126", "TX-127", "TX-128", "TX-129", "TX-131", "TX-134", "IOP-11", "IOP-18", "P-68", "P-71")
	if _, err := x.SetStatus(t.Context(), id, "paused", ""); err != nil {
		t.Fatal(err)
	}
	poll(t, x, "token-a", id, `{"maxEvents":0,`+ackOf(poll(t, x, "token-a", id, `{`+at+`}`).order()...)+`}`)
	if code := verify(""); code != 204 {
		t.Errorf("paused: %d", code)
	}
	if n := len(take()); n != 0 {
		t.Errorf("paused: %d verification events", n)
	}
	if r := do(x, call{method: "POST", path: "/t/blue/ssf/status", token: "token-a", body: `{"stream_id":"` + id + `","status":"enabled"}`}); r.StatusCode != 200 {
		t.Fatal(r.StatusCode)
	}
	if n := len(take()); n != 1 {
		t.Errorf("enabled again: %d verification events", n)
	}
	if _, err := x.SetStatus(t.Context(), id, "disabled", ""); err != nil {
		t.Fatal(err)
	}
	if err := x.Verification(t.Context(), id); !errors.Is(err, transmitter.ErrDisabled) {
		t.Errorf("disabled: %v", err)
	}
	if code := verify(""); code != 400 {
		t.Errorf("disabled: %d", code)
	}
	req.Covers(t, "TX-133")
}

// When a receiver was here is known at once, and is kept, also without an inactivity_timeout.
func TestLastSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		x := newTransmitter(t, newConfig(store))
		defer running(t, x)()
		id := create(t, x, "token-a", pollBody)
		time.Sleep(time.Hour)
		poll(t, x, "token-a", id, `{`+at+`}`)
		here := transmitter.At(time.Now())
		seen := func(when string) {
			t.Helper()
			if v, err := x.View(t.Context(), id); err != nil || v.Stream.Active != here {
				t.Errorf("%s: %v, wanted %v (%v)", when, v.Stream.Active, here, err)
			}
		}
		seen("at once")
		time.Sleep(20 * time.Second)
		seen("kept")
		poll(t, x, "token-a", id, `{`+at+`}`)
		seen("again within the minute")
		if st, err := store.Stream(t.Context(), "a", id); err != nil || st.Active != here {
			t.Errorf("in the store: %+v, %v", st, err)
		}
		time.Sleep(time.Minute)
		poll(t, x, "token-a", id, `{`+at+`}`)
		here = transmitter.At(time.Now())
		seen("a minute later")
	})
}

func TestAdminRefuses(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	ctx := t.Context()
	if _, err := x.SetStatus(ctx, "unknown", "paused", ""); !errors.Is(err, transmitter.ErrNotFound) {
		t.Errorf("SetStatus: %v", err)
	}
	id := create(t, x, "token-a", `{}`)
	if _, err := x.SetStatus(ctx, id, "Paused", ""); !errors.Is(err, transmitter.ErrInvalid) {
		t.Errorf("SetStatus: %v", err)
	}
	if _, err := x.SetStatus(ctx, id, "paused", "\x00"); !errors.Is(err, transmitter.ErrInvalid) {
		t.Errorf("SetStatus: %v", err)
	}
	if err := x.Verification(ctx, "unknown"); !errors.Is(err, transmitter.ErrNotFound) {
		t.Errorf("Verification: %v", err)
	}
	if err := x.RemoveStream(ctx, "unknown"); !errors.Is(err, transmitter.ErrNotFound) {
		t.Errorf("RemoveStream: %v", err)
	}
	if err := x.RemoveStream(ctx, id); err != nil {
		t.Errorf("RemoveStream: %v", err)
	}
	if r := do(x, call{method: "GET", path: "/t/blue/ssf/streams?stream_id=" + id, token: "token-a"}); r.StatusCode != 404 {
		t.Errorf("removed: %d", r.StatusCode)
	}
}

func TestEstablish(t *testing.T) {
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.AllowEndpoint = notEvil
	x := newTransmitter(t, cfg)
	ctx := t.Context()
	first, err := x.Establish(ctx, &transmitter.Stream{Name: "crm", Set: "ops", Receiver: "a", Requested: []string{sessionRevoked, "urn:example:unknown"},
		Method: "urn:ietf:rfc:8935", Endpoint: "https://crm.example/in", Authorization: "Bearer x", Algorithm: "EdDSA", Window: 1, InactivityTimeout: 60})
	if err != nil {
		t.Fatal(err)
	}
	if first.ID == "" || len(first.Audience) != 1 || first.Status != "enabled" || !slices.Equal(first.Delivered, []string{sessionRevoked}) || first.Window != 1 || first.Name != "crm" || first.InactivityTimeout != 60 {
		t.Errorf("%+v", first)
	}
	if _, err := x.SetStatus(ctx, first.ID, "paused", ""); err != nil {
		t.Fatal(err)
	}
	same := &transmitter.Stream{Name: "crm", Set: "ops", Receiver: "a", Requested: []string{sessionRevoked, "urn:example:unknown"},
		Method: "urn:ietf:rfc:8935", Endpoint: "https://crm.example/in", Authorization: "Bearer x", Algorithm: "EdDSA", Window: 1, InactivityTimeout: 60}
	generation, _ := store.Generation(ctx)
	if _, err := x.Establish(ctx, same); err != nil {
		t.Fatal(err)
	}
	if now, _ := store.Generation(ctx); now != generation {
		t.Error("the same again is a change")
	}
	second, err := x.Establish(ctx, &transmitter.Stream{Name: "crm", Receiver: "a", Method: "urn:ietf:rfc:8936"})
	if err != nil {
		t.Fatal(err)
	}
	if second.ID != first.ID || !slices.Equal(second.Audience, first.Audience) || second.Status != "paused" || second.Authorization != "" || len(second.Delivered) < 20 || second.Set != "" {
		t.Errorf("%+v", second)
	}
	if got := x.Endpoint(second); got != "https://ssf.example/t/blue/ssf/streams/"+first.ID+"/poll" {
		t.Errorf("%s", got)
	}
	// Its receiver sees it as any other of its streams.
	if r := do(x, call{method: "GET", path: "/t/blue/ssf/streams?stream_id=" + first.ID, token: "token-a"}); r.StatusCode != 200 {
		t.Errorf("%d", r.StatusCode)
	}
	if r := do(x, call{method: "GET", path: "/t/blue/ssf/streams?stream_id=" + first.ID, token: "token-b"}); r.StatusCode != 404 {
		t.Errorf("%d", r.StatusCode)
	}
	for name, c := range map[string]struct {
		stream transmitter.Stream
		want   error
	}{
		"no name":          {transmitter.Stream{Receiver: "a"}, transmitter.ErrInvalid},
		"no receiver":      {transmitter.Stream{Name: "x"}, transmitter.ErrInvalid},
		"http":             {transmitter.Stream{Name: "x", Receiver: "a", Method: "urn:ietf:rfc:8935", Endpoint: "http://crm.example"}, transmitter.ErrInvalid},
		"no address":       {transmitter.Stream{Name: "x", Receiver: "a", Method: "urn:ietf:rfc:8935"}, transmitter.ErrInvalid},
		"a bad host":       {transmitter.Stream{Name: "x", Receiver: "a", Method: "urn:ietf:rfc:8935", Endpoint: "https://evil.example"}, transmitter.ErrInvalid},
		"a bad header":     {transmitter.Stream{Name: "x", Receiver: "a", Method: "urn:ietf:rfc:8935", Endpoint: "https://r.example", Authorization: "a\nb"}, transmitter.ErrInvalid},
		"no such key":      {transmitter.Stream{Name: "x", Receiver: "a", Algorithm: "PS256"}, transmitter.ErrInvalid},
		"a status":         {transmitter.Stream{Name: "x", Receiver: "a", Status: "on"}, transmitter.ErrInvalid},
		"a shape":          {transmitter.Stream{Name: "x", Receiver: "a", Shape: "morse"}, transmitter.ErrInvalid},
		"bad receipts":     {transmitter.Stream{Name: "x", Receiver: "a", Receipts: json.RawMessage(`{"receipt_issuer":"https://r.example"}`)}, transmitter.ErrInvalid},
		"another receiver": {transmitter.Stream{Name: "crm", Receiver: "b"}, transmitter.ErrConflict},
		"another baseline": {transmitter.Stream{Name: "crm", Receiver: "a", DefaultSubjects: "NONE"}, transmitter.ErrConflict},
	} {
		if _, err := x.Establish(ctx, &c.stream); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, _, _ := store.AllStreams(ctx); len(all) != 1 {
		t.Errorf("%d streams", len(all))
	}
}

func TestInactivity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		cfg := newConfig(store)
		cfg.Inactivity = 10 * time.Minute
		x := newTransmitter(t, cfg)
		defer running(t, x)()
		id, other := create(t, x, "token-a", pollBody), create(t, x, "token-a", pollBody)
		if body := text(t, do(x, call{method: "GET", path: "/t/blue/ssf/streams?stream_id=" + id, token: "token-a"})); !strings.Contains(body, `"inactivity_timeout":600`) {
			t.Errorf("%s", body)
		}
		status := func(id string) string {
			st, err := store.Stream(t.Context(), "a", id)
			if err != nil {
				t.Fatal(err)
			}
			return st.Status
		}
		for range 5 { // polls and management calls that name the stream count
			time.Sleep(6 * time.Minute)
			poll(t, x, "token-a", id, `{`+at+`}`)
			do(x, call{method: "GET", path: "/t/blue/ssf/streams", token: "token-a"}) // names none
		}
		if a, b := status(id), status(other); a != "enabled" || b != "paused" {
			t.Errorf("polled: %s, silent: %s", a, b)
		}
		req.Covers(t, "TX-53", "TX-54", "TX-56", "P-29")
		c := toldIn(t, only(t, poll(t, x, "token-a", other, `{`+at+`}`)))
		if e := c.Events[streamUpdatedURI]; e["status"] != "paused" || e["reason"] == nil {
			t.Errorf("%+v", c)
		}
		req.Covers(t, "TX-55", "TX-107")
		do(x, call{method: "GET", path: "/t/blue/ssf/status?stream_id=" + id, token: "token-a"})
		time.Sleep(9 * time.Minute)
		if status(id) != "enabled" {
			t.Error("a status read is activity")
		}
		time.Sleep(2 * time.Minute)
		if status(id) != "paused" {
			t.Error("silent for longer than the timeout, and not paused")
		}
	})
}
