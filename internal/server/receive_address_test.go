package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"countersign/event/ssf"
	"countersign/internal/req"
	"countersign/set"
	"countersign/stream"
)

// verification signs a verification event of the peer.
func (p *peer) verification(jti, payload string) string {
	return p.token(jti, "", func(c *set.Claims) {
		c.SubID, c.TXN = json.RawMessage(`{"format":"opaque","id":"ps1"}`), ""
		c.Events = []set.Event{{Type: ssf.VerificationURI, Payload: json.RawMessage(payload)}}
	})
}

// The address answers before the stream is made: a transmitter that verifies it before it answers our request is answered as at
// any other time. A signal, whose audience only that answer says, comes again.
func TestAddressIsLiveBeforeTheStream(t *testing.T) {
	w := newWorld(t)
	p := newPeer(w)
	var answers []string
	early := p.token("early", "alice@example.test", nil)
	p.create = func(body []byte) {
		var in stream.Configuration
		if err := json.Unmarshal(body, &in); err != nil || in.Delivery == nil || !strings.HasPrefix(in.Delivery.EndpointURL, w.srv.PublicURL()+"/receive/") {
			t.Errorf("%s: %v", body, err)
			return
		}
		other := p.verification("v2", `{}`)
		for _, token := range []string{p.verification("v1", `{}`), other[:len(other)-4] + "AAAA", early} {
			status, text := w.send(in.Delivery.EndpointURL, token)
			answers = append(answers, fmt.Sprint(status, text))
		}
	}
	w.apply(docWiki + strings.Replace(w.docPeer(p, ""), "delivery: poll", "delivery: push", 1))
	w.eventually("the stream is made", func() bool { return w.srv.home().view.Load().sources["peer"].state.StreamID == "ps1" })
	p.look(func() {
		if len(answers) != 3 || answers[0] != "202" || !strings.HasPrefix(answers[1], "400") || !strings.HasPrefix(answers[2], "503") {
			t.Errorf("before the answer to our request: %q", answers)
		}
		if n := strings.Count(strings.Join(p.asked, " "), "ssf-configuration"); n != 1 {
			t.Errorf("the metadata was read %d times", n)
		}
	})
	if status, body := w.push("peer", early); status != 202 || !w.kept("peer", "early") {
		t.Errorf("afterwards: %d %s", status, body)
	}
	req.Covers(t, "RX-46")
}

// A source's issuer is what an operator writes down, and is an https address.
func TestIssuerIsWrittenDown(t *testing.T) {
	w := newWorld(t)
	for issuer, want := range map[string]string{
		"http://raw.example.test": "issuer: must begin with https://", "https://raw.example.test/a?b=c": "without query and fragment", "https://a:b@raw.example.test": "no user name",
	} {
		status, body := w.tryApply(docWiki + strings.Replace(docRaw, "$raw", issuer, 1))
		if status != 400 || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %s", issuer, status, body)
		}
	}
	if status, body := w.tryApply(docWiki + docRaw); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	req.Covers(t, "RX-1")
}

// Each source has an address that nobody guesses, and the address says whose tokens are taken there: with the same keys and a
// good signature, another's are not.
func TestAddressSaysWho(t *testing.T) {
	w := newWorld(t)
	w.apply(docWiki + docRaw + strings.NewReplacer("name: raw", "name: second", `issuer: "$raw"`, `issuer: "https://second.example.test"`).Replace(docRaw) +
		strings.NewReplacer("name: raw", "name: third", `"https://hub.example.test"`, `"https://hub.example.test/third"`).Replace(docRaw))
	ids := map[string]bool{}
	for _, src := range w.srv.home().view.Load().sources {
		if len(src.state.ReceiveID) < 22 { // 128 bits and more
			t.Errorf("the address ends with %q", src.state.ReceiveID)
		}
		ids[src.state.ReceiveID] = true
	}
	if len(ids) != 3 {
		t.Fatalf("%d addresses", len(ids))
	}
	token := w.sign("j1", aliceMail, nil)
	for source, want := range map[string]string{"second": stream.InvalidIssuer, "third": stream.InvalidAudience} {
		if status, body := w.push(source, token); status != 400 || !strings.Contains(body, `"`+want+`"`) || w.kept(source, "j1") {
			t.Errorf("at the address of %s: %d %s", source, status, body)
		}
	}
	if status, body := w.push("raw", token); status != 202 || !w.kept("raw", "j1") {
		t.Errorf("at its own address: %d %s", status, body)
	}
	req.Covers(t, "RX-83")
}
