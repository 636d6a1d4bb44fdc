package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/set"
	"countersign/transmitter"
)

// A malformed directive is refused on arrival; exact typ and 120 s hold for orders only.
func TestOrdersAtTheDoor(t *testing.T) {
	w := newWorld(t)
	w.apply(docApps + docIDP + docRaw)
	w.streamReady()
	w.agree()
	good := `{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}]}`
	for name, tc := range map[string]struct {
		token  string
		status int
		err    string
	}{
		"good":                    {w.sign("o1", aliceMail, with(good, nil)), 202, ""},
		"no obligation":           {w.sign("o2", aliceMail, with(`{"actions":[{"id":"a1","action":"revoke_sessions"}]}`, nil)), 400, "invalid_request"},
		"reserved id":             {w.sign("o3", aliceMail, with(`{"obligation":"must","actions":[{"id":"x","action":"revoke_sessions"}]}`, nil)), 400, "invalid_request"},
		"two audiences":           {w.sign("o4", aliceMail, with(good, func(c *set.Claims) { c.Audience = append(c.Audience, "https://b.example.test") })), 400, "invalid_request"},
		"four minutes ahead":      {w.sign("o5", aliceMail, with(good, func(c *set.Claims) { c.IssuedAt += 240 })), 400, "invalid_request"},
		"plain, four minutes":     {w.sign("o6", aliceMail, func(c *set.Claims) { c.IssuedAt += 240 }), 202, ""},
		"hash without salt":       {w.sign("o7", aliceMail, with(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"receipt":{"customer":"hash"}}`, nil)), 202, ""},
		"exceptions with must":    {w.sign("o8", aliceMail, with(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"receipt":{"when":"exceptions"}}`, nil)), 202, ""},
		"directive not an object": {w.sign("o9", aliceMail, with(`"must"`, nil)), 400, "invalid_request"},
	} {
		status, body := w.push("raw", tc.token)
		if status != tc.status || tc.err != "" && !strings.Contains(body, tc.err) {
			t.Errorf("%s: %d %s, want %d %s", name, status, body, tc.status, tc.err)
		}
	}
	for jti, refused := range map[string]string{"o1": "", "o7": "invalid_directive", "o8": "invalid_directive"} {
		if sig := w.signal("raw", jti, hub.SignalReceived, hub.SignalDecided, hub.SignalDone); sig.Order == nil || sig.Order.Refused != refused {
			t.Errorf("%s: order %+v", jti, sig.Order)
		}
	}
	// typ: "application/secevent+jwt" is good enough for a plain SET, and not for an order (A9).
	for jti, tc := range map[string]struct {
		change func(*set.Claims)
		status int
	}{"p1": {nil, 202}, "p2": {with(good, nil), 400}} {
		_, payload, _ := strings.Cut(w.sign(jti, aliceMail, tc.change), ".")
		payload, _, _ = strings.Cut(payload, ".")
		header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","typ":"application/secevent+jwt","kid":"raw-1"}`))
		token, err := w.signer.Complete(header + "." + payload)
		if err != nil {
			t.Fatal(err)
		}
		if status, body := w.push("raw", token); status != tc.status {
			t.Errorf("%s: %d %s, want %d", jti, status, body, tc.status)
		}
	}
	req.Covers(t, "A9", "A10", "A35", "RX-48", "RX-57")

	// The same order again is a repeat by its content address; re-signed with another iat it is another one.
	if status, _ := w.push("raw", w.sign("o1", aliceMail, with(good, func(c *set.Claims) { c.IssuedAt -= 5 }))); status != 400 {
		t.Errorf("an order with the same jti and another content address: %d", status)
	}
	req.Covers(t, "AR-§6.1")
}

// What limits allow is allowed, and no more.
func TestLimit(t *testing.T) {
	w := newWorld(t)
	w.apply(docApps + docRaw + strings.TrimSuffix(docPolicy, "\n") + "\nlimits: {people: 1, per: 1h, beyond: deny}\n")
	w.sites["wiki"].SignInAs("1")
	w.sites["wiki"].SignInAs("2")
	if status, body := w.push("raw", w.sign("l1", aliceMail, nil)); status != 202 {
		t.Fatalf("%d %s", status, body)
	}
	w.signal("raw", "l1", hub.SignalDone)
	if status, body := w.push("raw", w.sign("l2", `{"format":"email","email":"bob@example.test"}`, nil)); status != 202 {
		t.Fatalf("%d %s", status, body)
	}
	sig := w.signal("raw", "l2", hub.SignalDone)
	d, err := w.srv.store.DecisionOf(context.Background(), sig.Seq)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(d.Findings, func(f hub.Finding) bool { return f.Result == "limited" }) {
		t.Errorf("findings %+v", d.Findings)
	}
	if w.sites["wiki"].Live("1") != 0 || w.sites["wiki"].Live("2") != 1 {
		t.Errorf("live: alice %d, bob %d", w.sites["wiki"].Live("1"), w.sites["wiki"].Live("2"))
	}
}

// The API door: act, transmit, and a key that makes it repeatable.
func TestSignalsOverTheAPI(t *testing.T) {
	w := newWorld(t)
	w.apply(docApps + docPolicy)
	w.sites["wiki"].SignInAs("1")
	body := map[string]any{"event_type": "caep/session-revoked", "sub_id": json.RawMessage(aliceMail), "event": map[string]any{"event_timestamp": 1700000000}}
	status, first := w.call("POST", "/signals", body, "Idempotency-Key", "k1")
	if status != 202 {
		t.Fatalf("%d %s", status, first)
	}
	status, again := w.call("POST", "/signals", body, "Idempotency-Key", "k1")
	if status != 202 || string(again) != string(first) {
		t.Errorf("repeat: %d %s, first %s", status, again, first)
	}
	body["txn"] = "other"
	if status, _ := w.call("POST", "/signals", body, "Idempotency-Key", "k1"); status != 422 {
		t.Errorf("same key, other body: %d", status)
	}
	var kept struct{ ID string }
	if err := json.Unmarshal(first, &kept); err != nil {
		t.Fatal(err)
	}
	w.eventually("alice is out", func() bool { return w.sites["wiki"].Live("1") == 0 })
	body["order"] = map[string]any{"obligation": "must"}
	if status, out := w.call("POST", "/signals", body); status != 400 {
		t.Errorf("an order without transmit: %d %s", status, out)
	}
	delete(body, "order")
	body["do"] = "transmit"
	status, out := w.call("POST", "/signals", body)
	if status != 202 {
		t.Fatalf("transmit: %d %s", status, out)
	}
	if err := json.Unmarshal(out, &kept); err != nil {
		t.Fatal(err)
	}
	status, story := w.call("GET", "/signals/"+kept.ID, nil)
	if status != 200 || !strings.Contains(string(story), "no enabled stream asked") {
		t.Errorf("%d %s", status, story)
	}
}

// The stream at a source follows the source: updated when the offer changes, deleted with it.
func TestEnrollment(t *testing.T) {
	w := newWorld(t)
	w.apply(docApps + docIDP)
	w.streamReady()
	st := w.srv.home().view.Load().sources["idp"].state
	if st.Status != "made" || st.Receipts != "active" || st.StreamID == "" || st.Endpoint == "" {
		t.Fatalf("state %+v", st)
	}
	w.apply(strings.Replace(strings.TrimPrefix(docIDP, "---"), "accept: [revoke_sessions, reauthenticate]", "accept: [revoke_sessions]", 1) + "events: [caep/session-revoked]\n")
	w.eventually("the offer is updated", func() bool {
		now := w.srv.home().view.Load().sources["idp"].state
		return now.Status == "made" && now.Want != st.Want && len(now.Actions) == 1 && now.StreamID == st.StreamID && len(now.Events) == 1 && now.Events[0] == sessionRevoked
	})
	if status, out := w.call("DELETE", "/sources/idp", nil); status/100 != 2 {
		t.Fatalf("delete: %d %s", status, out)
	}
	w.eventually("the stream is gone", func() bool {
		_, err := w.idp.Send(context.Background(), transmitter.Message{Type: sessionRevoked, SubID: json.RawMessage(aliceMail), Payload: json.RawMessage(`{}`)})
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		return err != nil || w.idp.WaitStream(ctx) != nil
	})
	req.Covers(t, "AR-§3.2")
}

// An address that leads nowhere, and a status below one, are 404 without more.
func TestReceiveAddresses(t *testing.T) {
	w := newWorld(t)
	w.apply(docApps + docRaw)
	id := w.srv.home().view.Load().sources["raw"].state.ReceiveID
	if len(id) < 22 {
		t.Errorf("receive id %q has too few random bits", id)
	}
	for _, path := range []string{"/receive/none", "/receive/" + id + "/status"} {
		resp, err := w.admin.Get(w.srv.PublicURL() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 404 {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	resp, err := w.admin.Get(w.srv.receiveURL(id))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", resp.StatusCode)
	}
}

// A receipt endpoint that is down is tried again; one that refuses for good makes a dead letter with the reason.
func TestReceiptRetryAndDeadLetter(t *testing.T) {
	w := newWorld(t)
	w.apply(docApps + docIDP)
	w.streamReady()
	w.sites["wiki"].SignInAs("1")
	down := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { http.Error(rw, "down", http.StatusServiceUnavailable) })
	w.hold.Store(&down)
	jti := w.order(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}]}`)
	sig := w.signal("idp", jti, hub.SignalDone)
	w.eventually("a failed try is on record", func() bool {
		rs, err := w.srv.store.ReceiptsOf(context.Background(), sig.Seq)
		return err == nil && len(rs) == 1 && rs[0].State == "queued" && rs[0].Tries >= 1 && strings.Contains(rs[0].Reason, "503")
	})
	w.hold.Store(nil)
	w.await(jti)

	refuse := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(400)
		rw.Write([]byte(`{"err":"invalid_request","description":"no","receipt_error":"totals_mismatch"}`))
	})
	w.hold.Store(&refuse)
	jti = w.order(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}]}`)
	sig = w.signal("idp", jti, hub.SignalDone)
	w.eventually("the dead letter", func() bool {
		rs, err := w.srv.store.ReceiptsOf(context.Background(), sig.Seq)
		return err == nil && len(rs) == 1 && rs[0].State == "dead" && strings.Contains(rs[0].Reason, "totals_mismatch") && rs[0].Tries == 1
	})
	req.Covers(t, "AR-§6.5")
}
