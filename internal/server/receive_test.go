package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/event/caep"
	"countersign/event/risc"
	"countersign/event/scim"
	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/internal/web/api"
	"countersign/set"
)

// restart ends the hub and starts it again on the same data.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	srv, err := New(context.Background(), Options{Config: w.srv.cfg, Version: "test", Node: "n1", Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Duration(w.shift.Load())) }})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
	w.srv, w.stop = srv, stop
	w.t.Cleanup(stop)
	w.eventually("the hub is ready again", srv.running.Load)
}

// A repeat is a repeat for ever: also after a restart, with another iat, in another order of its members, and by a profile
// that reads it otherwise. The same jti with other content never is.
func TestRepeatsOverRestartsAndProfiles(t *testing.T) {
	w := newWorld(t)
	nested := strings.Replace(docRaw, "name: raw", "name: nested\nrelax: [Q-30]", 1)
	w.apply(docApps + docPolicy + docRaw + nested)
	w.sites["wiki"].SignInAs("1")
	inside := func(c *set.Claims) {
		c.SubID = nil
		c.Events[0].Payload = json.RawMessage(`{"subject":` + aliceMail + `,"event_timestamp":1700000000}`)
	}
	first := map[string]string{"raw": w.sign("r1", aliceMail, nil), "nested": w.sign("r1", "", inside)}
	give := func(source, token string, want int) {
		t.Helper()
		if status, body := w.push(source, token); status != want {
			t.Errorf("%s: %d %s, want %d", source, status, body, want)
		}
	}
	seqs := map[string]int64{}
	for source, token := range first {
		give(source, token, 202)
		give(source, token, 202)
		sig := w.signal(source, "r1", hub.SignalDone)
		seqs[source] = sig.Seq
		if n := len(w.actions(sig)); n != 1 {
			t.Errorf("%s: %d actions", source, n)
		}
	}
	w.restart()
	later := func(c *set.Claims) { c.IssuedAt += 5 }
	for source, again := range map[string]string{"raw": w.sign("r1", aliceMail, later), "nested": w.sign("r1", "", func(c *set.Claims) { inside(c); later(c) })} {
		give(source, first[source], 202)
		give(source, again, 202)
		if sig := w.signal(source, "r1", hub.SignalDone); sig.Seq != seqs[source] || len(w.actions(sig)) != 1 {
			t.Errorf("%s: kept again as %d, with %d actions", source, sig.Seq, len(w.actions(sig)))
		}
	}
	give("raw", w.sign("r1", `{"format":"email","email":"bob@example.test"}`, nil), 400)
	clashes, err := w.srv.store.Clashes(context.Background(), "default", "raw", "r1")
	if err != nil || len(clashes) != 1 {
		t.Errorf("%d clashes are kept, %v", len(clashes), err)
	}
	req.Covers(t, "RX-58", "RX-59", "RX-79", "RX-80")
}

// Each source has an address that nobody can guess, and only its own tokens are taken there.
func TestAddresses(t *testing.T) {
	w := newWorld(t)
	other := strings.NewReplacer("name: raw", "name: other", `"$raw"`, `"https://other.example.test"`).Replace(docRaw)
	twin := strings.Replace(docRaw, "name: raw", "name: twin", 1) // the same issuer and audience
	w.apply(docApps + docRaw + other + twin)
	ids := map[string]bool{}
	for _, name := range []string{"raw", "other", "twin"} {
		id := w.srv.home().view.Load().sources[name].state.ReceiveID
		if len(id) < 22 || ids[id] { // 128 bits in base64url
			t.Errorf("%s is at %q", name, id)
		}
		ids[id] = true
	}
	token := w.sign("a1", aliceMail, nil)
	for _, c := range []struct {
		source string
		status int
	}{{"raw", 202}, {"other", 400}, {"twin", 202}, {"twin", 202}} {
		if status, body := w.push(c.source, token); status != c.status {
			t.Errorf("%s: %d %s", c.source, status, body)
		}
	}
	one, two := w.signal("raw", "a1", hub.SignalDone, hub.SignalUnresolved), w.signal("twin", "a1", hub.SignalDone, hub.SignalUnresolved)
	if one.Seq == two.Seq {
		t.Error("two sources of one issuer share a signal")
	}
	for _, path := range []string{"/status", "/", "x"} {
		r, err := http.NewRequest("GET", w.srv.receiveURL(w.srv.home().view.Load().sources["raw"].state.ReceiveID)+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer whatever-it-was-given")
		resp, err := w.admin.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 404 {
			t.Errorf("GET …%s: %d", path, resp.StatusCode)
		}
	}
	w.srv.refusals.Flush(context.Background())
	got, err := w.srv.store.Refusals(context.Background(), "default", "raw", hub.Page{})
	if err != nil || len(got.Items) != 0 {
		t.Errorf("asking for a status is no refusal: %+v, %v", got.Items, err)
	}
	req.Covers(t, "RX-52", "RX-53", "RX-83")
}

// Every event type that we know, and one that we do not, with each form of subject that the interoperability profile allows
// and with a complex one, pushed and polled, is taken.
func TestEveryEventIsTaken(t *testing.T) {
	w := newWorld(t)
	p := newPeer(w)
	w.apply(docWiki + docRaw + w.docPeer(p, ""))
	subjects := []string{aliceMail, `{"format":"iss_sub","iss":"` + rawIssuer + `","sub":"a"}`,
		`{"format":"complex","user":` + aliceMail + `,"tenant":{"format":"opaque","id":"t1"}}`}
	n, offered := 0, map[string]string{}
	types := []string{"https://events.example.test/of-our-own"}
	example := map[string]json.RawMessage{types[0]: json.RawMessage(`{"anything":1}`)}
	for _, typ := range slices.Concat(caep.Vocabulary(), risc.Vocabulary(), scim.Vocabulary()) {
		types = append(types, typ.URI)
		example[typ.URI] = api.Example(typ, time.Now().Unix())
	}
	for i, uri := range types {
		for _, sub := range subjects {
			n++
			jti := fmt.Sprint("e", n)
			set1 := func(c *set.Claims) {
				c.SubID, c.Events[0] = json.RawMessage(sub), set.Event{Type: uri, Payload: example[uri]}
			}
			if status, body := w.push("raw", w.sign(jti, sub, set1)); status != 202 {
				t.Errorf("%s about %s: %d %s", uri, sub, status, body)
			}
			if i%2 == 0 {
				offered[jti] = p.token(jti, "", set1)
			}
		}
	}
	p.offer(offered)
	w.eventually("all are acknowledged", func() bool { return p.waiting() == 0 })
	p.look(func() {
		if len(p.errs) > 0 || len(p.acked) != len(offered) {
			t.Errorf("%d acknowledged of %d, refused %v", len(p.acked), len(offered), p.errs)
		}
	})
	req.Covers(t, "RX-60", "RX-61", "RX-69", "IOP-20", "IOP-21", "IOP-27", "IOP-28", "IOP-29")
}
