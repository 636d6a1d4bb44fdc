package server

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"countersign/event"
	"countersign/internal/flow/decide"
	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/set"
)

// typesSource is a source that speaks of people by address and of resources of SCIM by their id at wiki.
var typesSource = strings.Replace(docRaw, "keys: {jwks: $jwks}\n", "keys: {jwks: $jwks}\ncorrelate:\n  - {format: email}\n  - {format: scim, at: wiki}\n", 1)

// TestEveryTypeEndToEnd pushes one event of each type of CAEP, RISC and SCIM. Each is kept before it is acknowledged,
// correlated, decided by a policy that does what the type stands for, acted on where the application can, and shown whole.
func TestEveryTypeEndToEnd(t *testing.T) {
	w := newWorld(t)
	docs := docWiki + typesSource + "---\nkind: identity\nname: alice\nemails: [alice@example.test]\naccounts: [{at: wiki, id: \"1\"}]\n"
	types := []event.Type{}
	for _, typ := range decide.Types().Types() {
		if !typ.StreamLevel {
			types = append(types, typ)
		}
	}
	wants := map[string][]string{}
	for i, typ := range types {
		m, _ := hub.MeaningOf(typ.URI)
		actions := m.Default
		if m.Depends != "" {
			actions = m.ByValue["create"]
		}
		// What no pack does yet no policy may name; then the event is written down.
		actions = slices.DeleteFunc(slices.Clone(actions), func(a string) bool {
			return a == hub.DeleteAccount || hub.Steps(a, hub.ReachTokens) == nil && a != hub.Record && a != hub.ReevaluateAccess
		})
		if len(actions) == 0 {
			actions = []string{hub.Record}
		}
		docs += fmt.Sprintf("---\nkind: policy\nname: p%d\non: [\"%s\"]\nfrom: [raw]\nthen:\n", i, typ.Name)
		for _, a := range actions {
			where := ", at: [wiki]"
			switch a {
			case hub.Record, hub.ReevaluateAccess:
				where = ""
			case hub.RevokeSessions:
				where = ", scope: app, at: [wiki]"
			}
			docs += "  - {action: " + a + where + "}\n"
		}
		wants[typ.URI] = actions
	}
	w.apply(docs)
	for i, typ := range types {
		t.Run(typ.Name, func(t *testing.T) {
			w.sites["wiki"].SignInAs("1")
			m, _ := hub.MeaningOf(typ.URI)
			sub := aliceMail
			if m.Resource {
				sub = `{"format":"scim","uri":"/Users/1"}`
			}
			jti := fmt.Sprintf("type-%d", i)
			payload := m.Example
			token := w.sign(jti, sub, func(c *set.Claims) { c.Events = []set.Event{{Type: typ.URI, Payload: payload}} })
			if status, body := w.push("raw", token); status != 202 {
				t.Fatalf("%d %s", status, body)
			}
			// RFC 9967 §5, and every other type alike: what was acknowledged is kept.
			if sig, err := w.srv.store.SignalByJTI(context.Background(), "default", "raw", jti); err != nil || sig == nil || sig.Token != token {
				t.Fatalf("acknowledged and not kept: %v", err)
			}
			sig := w.signal("raw", jti, hub.SignalDone)
			if sig.IdentityName != "alice" || sig.EventType != typ.URI {
				t.Errorf("correlated to %q", sig.IdentityName)
			}
			var story struct {
				Identity string
				Event    json.RawMessage
				Token    *struct{ Compact string }
				Decision *hub.Decision
				Actions  []hub.Action
			}
			status, body := w.call("GET", "/signals/"+sig.ID, nil)
			if err := json.Unmarshal(body, &story); status != 200 || err != nil {
				t.Fatalf("%d %v", status, err)
			}
			var kept, sent any
			_ = json.Unmarshal(story.Event, &kept)
			_ = json.Unmarshal(payload, &sent)
			if fmt.Sprint(kept) != fmt.Sprint(sent) || story.Token == nil || story.Token.Compact != token || story.Identity != "alice" || story.Decision == nil || len(story.Decision.Findings) == 0 {
				t.Errorf("the story: %s", body)
			}
			got := map[string]hub.Action{}
			for _, a := range story.Actions {
				got[a.Name] = a
			}
			for _, name := range wants[typ.URI] {
				a, want := got[name], "succeeded/done"
				switch name {
				case hub.Record, hub.ReevaluateAccess, hub.RevokeSessions:
				default: // the application has no such operation, and the line says so
					want = "failed/not_supported"
				}
				if is := string(a.State) + "/" + a.Reason; is != want {
					t.Errorf("%s is %s, want %s", name, is, want)
				}
				if name == hub.RevokeSessions && w.sites["wiki"].Live("1") != 0 {
					t.Error("the sessions live on")
				}
			}
			if len(got) != len(wants[typ.URI]) {
				t.Errorf("actions %v, want %v", got, wants[typ.URI])
			}
			if id := typeIDs[typ.Name]; id != "" {
				req.Covers(t, id)
			}
			if strings.HasPrefix(typ.Name, "scim/") {
				req.Covers(t, "EV-100")
			}
		})
	}
}

// typeIDs are the requirements that say what each type is.
var typeIDs = map[string]string{
	"caep/session-revoked": "EV-15", "caep/token-claims-change": "EV-18", "caep/credential-change": "EV-21", "caep/assurance-level-change": "EV-29",
	"caep/device-compliance-change": "EV-35", "caep/session-established": "EV-40", "caep/session-presented": "EV-46", "caep/risk-level-change": "EV-49",
	"risc/account-credential-change-required": "EV-55", "risc/account-purged": "EV-56", "risc/account-disabled": "EV-57", "risc/account-enabled": "EV-59",
	"risc/identifier-changed": "EV-60", "risc/identifier-recycled": "EV-64", "risc/credential-compromise": "EV-66", "risc/opt-in": "EV-72",
	"risc/opt-out-initiated": "EV-73", "risc/opt-out-cancelled": "EV-74", "risc/opt-out-effective": "EV-75", "risc/recovery-activated": "EV-76",
	"risc/recovery-information-changed": "EV-77", "risc/sessions-revoked": "EV-78", "scim/feed:add": "EV-85", "scim/feed:remove": "EV-86",
	"scim/prov:create:notice": "EV-87", "scim/prov:create:full": "EV-88", "scim/prov:patch:notice": "EV-89", "scim/prov:patch:full": "EV-90",
	"scim/prov:put:notice": "EV-91", "scim/prov:put:full": "EV-92", "scim/prov:delete": "EV-93", "scim/prov:activate": "EV-94",
	"scim/prov:deactivate": "EV-95", "scim/misc:asyncresp": "EV-96",
}

// A SCIM event is believed for its signature alone, whoever brings it (RFC 9967 §5).
func TestSCIMEventIsVerified(t *testing.T) {
	w := newWorld(t)
	w.apply(docWiki + typesSource)
	good := w.sign("scim-1", `{"format":"scim","uri":"/Users/1"}`, func(c *set.Claims) {
		c.Events = []set.Event{{Type: "urn:ietf:params:scim:event:prov:deactivate", Payload: json.RawMessage(`{}`)}}
	})
	parts := strings.Split(good, ".")
	for name, token := range map[string]string{
		"another signature": parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])),
		"another content":   parts[0] + "." + parts[1][:len(parts[1])-4] + "AAAA." + parts[2],
		"no signature":      "eyJhbGciOiJub25lIiwidHlwIjoic2VjZXZlbnQrand0In0." + parts[1] + ".",
	} {
		if status, body := w.push("raw", token); status != 400 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if sig, err := w.srv.store.SignalByJTI(context.Background(), "default", "raw", "scim-1"); err == nil && sig != nil {
		t.Error("what was refused is kept")
	}
	if status, body := w.push("raw", good); status != 202 {
		t.Errorf("%d %s", status, body)
	}
	req.Covers(t, "EV-101")
}
