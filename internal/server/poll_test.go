package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/flow/ingest"
	"countersign/internal/hub"
	"countersign/internal/pgtest"
	"countersign/internal/req"
	"countersign/set"
	"countersign/stream"
)

// onEach runs a test with the store on either engine.
func onEach(t *testing.T, f func(t *testing.T, w *world)) {
	t.Run("sqlite", func(t *testing.T) { f(t, newWorld(t)) })
	t.Run("postgres", func(t *testing.T) {
		address, schema := pgtest.URL(t)
		joint := "?"
		if strings.Contains(address, "?") {
			joint = "&"
		}
		f(t, newWorldOn(t, address+joint+"search_path="+schema))
	})
}

// Our own transmitter as a source that is polled: an order comes, is acted on, and its receipt arrives; what was kept is
// acknowledged, and nothing waits there any more.
func TestPolledOrder(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.apply(docApps + strings.Replace(docIDP, "delivery: push", "delivery: poll", 1))
		w.streamReady()
		w.sites["wiki"].SignInAs("1")
		w.sites["forum"].SignInAs("1")
		jti := w.order(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"receipt":{"when":"final","evidence":"verified"}}`)
		if r := w.await(jti); r.Outcome != "fulfilled" || r.Totals.Succeeded != 2 {
			t.Errorf("%s %q", r.Outcome, lineIDs(r))
		}
		if sig := w.signal("idp", jti, hub.SignalDone); sig.Door != "poll" {
			t.Errorf("it came by %s", sig.Door)
		}
		w.eventually("it is acknowledged", func() bool {
			n, err := w.idp.Waiting(context.Background())
			return err == nil && n == 0
		})
		if st := w.srv.pollers.state("default", "idp"); st == nil || st.SETs < 1 || st.Error != "" || st.At == 0 {
			t.Errorf("state %+v", st)
		}
		// A push is nothing that this source may do.
		if status, _ := w.push("idp", "x"); status != http.StatusNotFound {
			t.Errorf("a push gave %d", status)
		}
		req.Covers(t, "RX-22", "RX-84", "RX-87", "RX-88", "IOP-20", "IOP-24")
	})
}

// One bad SET among 99 good ones: the 99 are kept and acknowledged, the bad one is refused by name, and the operator sees it.
func TestOneBadAmong99(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newPeer(w)
		all := map[string]string{}
		for i := range 99 {
			jti := fmt.Sprintf("good-%d", i)
			all[jti] = p.token(jti, fmt.Sprintf("p%d@example.test", i), nil)
		}
		bad := p.token("bad", "x@example.test", nil)
		all["bad"] = bad[:len(bad)-4] + "AAAA"
		p.offer(all)
		w.apply(docWiki + w.docPeer(p, ""))
		w.eventually("all are answered for", func() bool { return p.waiting() == 0 })
		p.look(func() {
			if len(p.acked) != 99 || len(p.errs) != 1 || p.errs["bad"].Err != stream.InvalidKey || p.acked["bad"] != 0 {
				t.Errorf("%d acknowledged, refused %v", len(p.acked), p.errs)
			}
			if len(p.language) == 0 || p.language[0] == "" {
				t.Errorf("Content-Language of the refusal: %q", p.language)
			}
			if p.most > 1 {
				t.Errorf("%d polls at once", p.most)
			}
		})
		for jti := range all {
			if w.kept("peer", jti) != (jti != "bad") {
				t.Errorf("%s kept: %v", jti, jti == "bad")
			}
		}
		w.eventually("the operator sees it", func() bool {
			got, err := w.srv.store.Refusals(context.Background(), "default", "peer", hub.Page{})
			return err == nil && len(got.Items) == 1 && got.Items[0].Err == stream.InvalidKey && got.Items[0].JTI == "bad" && got.Items[0].Door == "poll" && got.Items[0].Cure != ""
		})
		req.Covers(t, "RX-88", "RX-89", "RX-92", "RX-97", "IOP-22")
	})
}

// What was kept and not yet acknowledged comes again after a restart, is a repeat, and leads to nothing a second time. What was
// refused to be kept is left where it is, and comes again.
func TestPolledAgain(t *testing.T) {
	w := newWorld(t)
	p := newPeer(w)
	deaf := true // the answers to polls that acknowledge are lost on the way
	p.answer = func(rw http.ResponseWriter, r *http.Request, req *stream.PollRequest) bool {
		var gone bool
		p.look(func() { gone = deaf && len(req.Ack) > 0 })
		if gone {
			panic(http.ErrAbortHandler)
		}
		return false
	}
	w.apply(docWiki + docPolicy + w.docPeer(p, ""))
	w.sites["wiki"].SignInAs("1")
	p.offer(map[string]string{"j1": p.token("j1", "alice@example.test", nil)})
	sig := w.signal("peer", "j1", hub.SignalDone)
	w.eventually("it was offered again", func() bool {
		n := 0
		p.look(func() {
			for _, r := range p.polls {
				if slices.Contains(r.Ack, "j1") {
					n++
				}
			}
		})
		return n > 1
	})
	p.look(func() { deaf = false })
	w.eventually("it is acknowledged", func() bool { return p.waiting() == 0 })
	if acts := w.actions(sig); len(acts) != 1 {
		t.Errorf("%d actions", len(acts))
	}
	req.Covers(t, "RX-58", "RX-79", "RX-90", "RX-94")
}

// With stream: none nothing goes out by itself, whatever the delivery.
func TestNothingGoesOutByItself(t *testing.T) {
	w := newWorld(t)
	p := newPeer(w)
	p.offer(map[string]string{"j1": p.token("j1", "alice@example.test", nil)})
	doc := strings.Replace(w.docPeer(p, "audience: [\"https://hub.example.test\"]\nkeys: {jwks: $jwks}\n"), "stream: create", "stream: none", 1)
	w.apply(docWiki + doc)
	time.Sleep(2500 * time.Millisecond) // more than the pollers' look and the look-out's round
	p.look(func() {
		if len(p.asked) > 0 {
			t.Errorf("it was asked %q", p.asked)
		}
	})
}

// A worker lives as long as its source is polled: a change to push ends it, and it says what it kept when the hub stops.
func TestPollersComeAndGo(t *testing.T) {
	w := newWorld(t)
	p := newPeer(w)
	w.apply(docWiki + w.docPeer(p, ""))
	w.eventually("it polls", func() bool { return w.srv.pollers.state("default", "peer") != nil })
	p.offer(map[string]string{"j1": p.token("j1", "alice@example.test", nil)})
	w.eventually("it is acknowledged", func() bool { return p.waiting() == 0 })
	w.apply(docWiki + w.docPeer(p, "events: [caep/session-revoked]\n")) // another setting: the same worker
	if st := w.srv.pollers.state("default", "peer"); st == nil {
		t.Error("a change of events ended the worker")
	}
	w.apply(docWiki + strings.Replace(w.docPeer(p, ""), "delivery: poll", "delivery: push", 1))
	w.eventually("it ends", func() bool { return w.srv.pollers.state("default", "peer") == nil })
	w.apply(docWiki + w.docPeer(p, ""))
	w.eventually("it polls again", func() bool { return w.srv.pollers.state("default", "peer") != nil })
	// Kept at the very end: the acknowledgement goes out before the hub is gone.
	p.offer(map[string]string{"last": p.token("last", "alice@example.test", nil)})
	w.eventually("it is kept", func() bool { return w.kept("peer", "last") })
	w.stop()
	p.look(func() {
		if p.acked["last"] == 0 {
			t.Error("what was kept last was not acknowledged")
		}
	})
	req.Covers(t, "RX-86", "RX-94")
}

// Of two nodes on one database one polls, and the other takes over when it is gone.
func TestOneNodePolls(t *testing.T) {
	address, schema := pgtest.URL(t)
	joint := "?"
	if strings.Contains(address, "?") {
		joint = "&"
	}
	url := address + joint + "search_path=" + schema
	w := newWorldOn(t, url)
	p := newPeer(w)
	p.hold = 300 * time.Millisecond
	w.apply(docWiki + w.docPeer(p, ""))
	w.eventually("it polls", func() bool { return w.srv.pollers.state("default", "peer") != nil })
	other := w.anotherNode(url)
	polls := func(s *Server) bool { return s.pollers.state("default", "peer") != nil }
	w.eventually("exactly one of them polls", func() bool { return polls(w.srv) != polls(other.srv) })
	for i := range 40 {
		jti := fmt.Sprint("n", i)
		p.offer(map[string]string{jti: p.token(jti, "alice@example.test", nil)})
		time.Sleep(10 * time.Millisecond)
	}
	w.eventually("all are acknowledged", func() bool { return p.waiting() == 0 })
	if polls(w.srv) {
		w.stop()
		w.eventually("the other takes over", func() bool { return polls(other.srv) })
	} else {
		other.stop()
		w.eventually("the first takes over", func() bool { return polls(w.srv) })
	}
	p.offer(map[string]string{"after": p.token("after", "alice@example.test", nil)})
	w.eventually("what comes then is acknowledged", func() bool { return p.waiting() == 0 })
	req.Covers(t, "RX-97")
}

// A transmitter calls a member of its subjects critical: an event with one that nothing here interprets leads to nothing, and
// one with a way for it does.
func TestCriticalSubjectMembers(t *testing.T) {
	w := newWorld(t)
	p := newPeer(w)
	p.meta = func(md map[string]any) { md["critical_subject_members"] = []string{"user", "device"} }
	about := func(jti string) string {
		return p.token(jti, "", func(c *set.Claims) {
			c.SubID = json.RawMessage(`{"format":"complex","user":` + aliceMail + `,"device":{"format":"opaque","id":"laptop"}}`)
		})
	}
	w.apply(docWiki + docPolicy + w.docPeer(p, ""))
	p.offer(map[string]string{"j1": about("j1"), "j2": p.token("j2", "alice@example.test", nil)})
	sig := w.signal("peer", "j1", hub.SignalDone)
	if len(w.actions(sig)) != 0 || !strings.Contains(sig.Reason, "device") {
		t.Errorf("%q, %d actions", sig.Reason, len(w.actions(sig)))
	}
	if sig := w.signal("peer", "j2", hub.SignalDone); len(w.actions(sig)) != 1 {
		t.Errorf("one without it led to %d actions", len(w.actions(sig)))
	}
	w.eventually("both are acknowledged", func() bool { return p.waiting() == 0 })
	w.apply(docWiki + docPolicy + strings.Replace(w.docPeer(p, ""), "[{format: email}]", "[{format: email}, {format: opaque, part: device, as: device_id}]", 1))
	p.offer(map[string]string{"j3": about("j3")})
	if sig := w.signal("peer", "j3", hub.SignalDone, hub.SignalDecided); len(w.actions(sig)) != 1 {
		t.Errorf("with a way for the device: %s %q, %d actions", sig.State, sig.Reason, len(w.actions(sig)))
	}
	// An order about such a subject is never acted on; it waits, and its receipt says in the end that nobody was found.
	in := &ingest.Source{Critical: []string{"device"}, Interprets: []string{"user"}}
	if in.Discards(json.RawMessage(aliceMail)) != "" || in.Discards(json.RawMessage(`{"format":"complex","user":`+aliceMail+`,"device":{"format":"opaque","id":"x"}}`)) == "" {
		t.Error("an order is judged otherwise than an event")
	}
	req.Covers(t, "RX-11", "RX-66", "SUB-31")
}

// A source that is given another issuer does not poll the old one any more, also while the old one does not let its stream be
// deleted: the credential is the new one's.
func TestIssuerBeforeIsNotPolled(t *testing.T) {
	w := newWorld(t)
	before, after := newPeer(w), newPeer(w)
	before.hold = 50 * time.Millisecond
	auth := "auth: {method: bearer, token: {stored: idp}}\n"
	w.apply(docWiki + w.docPeer(before, auth))
	polls := func() (n int) { before.look(func() { n = len(before.polls) }); return n }
	w.eventually("it polls", func() bool { return polls() > 1 })
	before.look(func() { before.meta = func(md map[string]any) { md["issuer"] = "https://gone.example.test" } })
	w.apply(docWiki + w.docPeer(after, auth))
	if cred, err := (pollCredential{w.srv, pollKey{"default", "peer"}, before.URL + "/poll?x=1&y=%2F"}).now(t.Context()); err == nil {
		t.Errorf("the old address is shown %v", cred)
	}
	n := polls()
	time.Sleep(1500 * time.Millisecond)
	if got := polls() - n; got > 1 { // one may have been on its way
		t.Errorf("the old issuer was polled %d times more", got)
	}
}
