package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"countersign/internal/hub"
)

// csv sends a file to the import.
func (w *world) csv(query, text string) map[string]json.RawMessage {
	w.t.Helper()
	req, err := http.NewRequest("POST", w.srv.AdminURL()+"/api/v1/import/identities"+query, strings.NewReader(text))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	req.Header.Set("Content-Type", "text/csv")
	resp, err := w.admin.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return w.last(resp.StatusCode, body)
}

// last reads the last line of an import's answer.
func (w *world) last(status int, body []byte) (done map[string]json.RawMessage) {
	w.t.Helper()
	var line struct{ Done map[string]json.RawMessage }
	sc := bufio.NewScanner(bytes.NewReader(body))
	for sc.Scan() {
		if err := json.Unmarshal(sc.Bytes(), &line); err != nil {
			w.t.Fatalf("%d %s", status, body)
		}
	}
	if status != 200 || line.Done == nil {
		w.t.Fatalf("%d %s", status, body)
	}
	return line.Done
}

// What nobody fits waits, counted and shown with its reason, and runs as soon as somebody does, in whichever way the mapping
// appears: an identity, a file, an app's own list, a rule of the source, or an identity that made it ambiguous and is gone.
func TestUnresolvedRunsWhenTheMappingAppears(t *testing.T) {
	w := newWorld(t)
	source := func(ways string) string {
		return strings.Replace(docRaw, "keys: {jwks: $jwks}\n", "keys: {jwks: $jwks}\ncorrelate:\n"+ways, 1)
	}
	const ways = "  - {format: iss_sub}\n  - {format: opaque, at: wiki}\n  - {format: email, ignore_tag: true}\n  - {format: opaque, part: device, at: mdm}\n  - {format: opaque, part: tenant, is: [acme]}\n"
	w.apply(strings.ReplaceAll(docWiki, "accounts: {match: email}", "accounts: {match: declared}") + source(ways) + docPolicy + `---
kind: identity
name: bob
emails: [bob@example.test]
---
kind: identity
name: carol
emails: [team@example.test]
---
kind: identity
name: dave
emails: [team@example.test]
`)
	subjects := map[string]string{
		"by-file":      `{"format":"iss_sub","iss":"` + rawIssuer + `","sub":"u-9"}`,
		"by-list":      `{"format":"complex","user":{"format":"opaque","id":"2"},"tenant":{"format":"opaque","id":"acme"}}`,
		"by-rule":      `{"format":"phone_number","phone_number":"+15550100"}`,
		"by-device":    `{"format":"complex","device":{"format":"opaque","id":"laptop-1"}}`,
		"by-deletion":  `{"format":"email","email":"Team+signals@example.test"}`,
		"of-a-tenant":  `{"format":"complex","user":{"format":"email","email":"bob@example.test"},"tenant":{"format":"opaque","id":"other"}}`,
		"by-redriving": `{"format":"complex","group":{"format":"opaque","id":"finance"}}`,
	}
	for jti, sub := range subjects {
		if status, body := w.push("raw", w.sign(jti, sub, nil)); status != 202 {
			t.Fatalf("%s: %d %s", jti, status, body)
		}
	}
	for jti, why := range map[string]string{"by-file": "nobody known fits", "by-list": "nobody known fits", "by-rule": "nobody known fits", "by-deletion": "ambiguous: 2 identities",
		"by-device": "nobody known fits", "of-a-tenant": "a tenant that is not ours", "by-redriving": "names a group and no person"} {
		if sig := w.signal("raw", jti, hub.SignalUnresolved); !strings.Contains(sig.Reason, why) {
			t.Errorf("%s: %q, want %q; misses %q", jti, sig.Reason, why, sig.Misses)
		}
	}
	var u struct {
		Count int
		By    []struct{ Source, Reason string }
	}
	if status, body := w.call("GET", "/unresolved", nil); status != 200 || json.Unmarshal(body, &u) != nil || u.Count != len(subjects) || len(u.By) != 4 {
		t.Errorf("%d %s", status, body)
	}
	runs := func(jti, who string) {
		t.Helper()
		if sig := w.signal("raw", jti, hub.SignalDone, hub.SignalDecided); sig.IdentityName != who {
			t.Errorf("%s: %q, want %s", jti, sig.IdentityName, who)
		}
	}
	if done := w.csv("?set=hr", "name,account:raw\nerin,u-9\n"); string(done["created"]) != "1" {
		t.Errorf("%s", done)
	}
	runs("by-file", "erin")
	status, body := w.call("POST", "/import/accounts", map[string]any{"app": "wiki"})
	if done := w.last(status, body); string(done["created"]) != "1" || string(done["unmatched"]) != "1" {
		t.Errorf("%s", body)
	}
	runs("by-list", "bob")
	w.apply("kind: identity\nname: frank\nphones: [\"+1 555 0100\"]\ndevices: [{at: mdm, id: laptop-1}]\n")
	runs("by-device", "frank")
	w.apply(strings.TrimPrefix(source(ways+"  - {format: phone_number}\n"), "---\n"))
	runs("by-rule", "frank")
	if status, body := w.call("DELETE", "/identities/dave", nil); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	runs("by-deletion", "carol")
	// An account that was imported is acted on as one that the identity names: bob's sessions at wiki ended.
	w.sites["wiki"].SignInAs("2")
	if status, body := w.push("raw", w.sign("imported", `{"format":"email","email":"bob@example.test"}`, nil)); status != 202 {
		t.Fatalf("%d %s", status, body)
	}
	w.signal("raw", "imported", hub.SignalDone)
	if w.sites["wiki"].Live("2") != 0 {
		t.Error("the imported account was not acted on")
	}
	if status, body := w.call("POST", "/unresolved/redrive", map[string]any{}); status != 202 || !strings.Contains(string(body), `"queued":2`) {
		t.Errorf("%d %s", status, body)
	}
	for _, jti := range []string{"of-a-tenant", "by-redriving"} {
		w.signal("raw", jti, hub.SignalUnresolved)
	}
}
