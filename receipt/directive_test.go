package receipt

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"countersign/internal/req"
	"countersign/set"
)

func revoked() *set.Claims {
	return &set.Claims{Issuer: idp, Audience: []string{hub}, IssuedAt: 1, ID: "j", SubID: json.RawMessage(`{"format":"opaque","id":"1"}`),
		Events: []set.Event{{Type: caepPrefix + "session-revoked", Payload: json.RawMessage(`{}`)}}}
}

func TestParseDirectiveDefaults(t *testing.T) {
	req.Covers(t, "AR-4", "AR-5.5")
	d, err := ParseDirective(json.RawMessage(`{"obligation":"must","acme":1}`), revoked())
	if err != nil {
		t.Fatal(err)
	}
	want := &Directive{Obligation: ObligationMust, Actions: []OrderedAction{{ID: "d1", Action: "revoke_sessions"}}, Priority: "routine", Defaulted: true,
		Receipt: Wanted{When: "final", Evidence: Assertion, Detail: "per_target", Customer: "omit", Chain: "digest"}}
	if diff := cmp.Diff(want, d, cmpopts.IgnoreUnexported(Directive{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if d.Refusal() != "" || d.Actions[0].Reach() != ReachSessionTokens {
		t.Errorf("refusal %q, reach %s", d.Refusal(), d.Actions[0].Reach())
	}
	for priority, want := range map[string][2]time.Duration{"emergency": {time.Minute, 5 * time.Minute}, "urgent": {15 * time.Minute, time.Hour}, "routine": {4 * time.Hour, 24 * time.Hour}} {
		if i, c := SuggestedDeadlines(priority); i != want[0] || c != want[1] {
			t.Errorf("%s: %v, %v", priority, i, c)
		}
	}
}

func TestParseDirectiveMalformed(t *testing.T) {
	req.Covers(t, "A35", "A8", "A12", "A46", "A41", "AR-4", "AR-11")
	change := func(f func(*set.Claims)) *set.Claims { c := revoked(); f(c); return c }
	plain := `{"obligation":"must"}`
	with := func(member string) string { return `{"obligation":"must",` + member + `}` }
	for _, c := range []struct {
		name, raw string
		claims    *set.Claims
	}{
		{"not JSON", `{`, nil},
		{"not an object", `[]`, nil},
		{"a name twice", with(`"priority":"urgent","priority":"urgent"`), nil},
		{"no obligation", `{}`, nil},
		{"obligation", `{"obligation":"may"}`, nil},
		{"float", with(`"complete_by":1e9`), nil},
		{"whole float", with(`"max_hops":1.0`), nil},
		{"float in an unknown member", with(`"acme":0.5`), nil},
		{"time", with(`"complete_by":-1`), nil},
		{"time too large", with(`"not_after":253402300800`), nil},
		{"priority", with(`"priority":"high"`), nil},
		{"max_hops", with(`"max_hops":9`), nil},
		{"no actions", with(`"actions":[]`), nil},
		{"17 actions", with(`"actions":[` + strings.TrimSuffix(strings.Repeat(`{"id":"a","action":"record"},`, 17), ",") + `]`), nil},
		{"action without id", with(`"actions":[{"action":"record"}]`), nil},
		{"action id", with(`"actions":[{"id":"a.1","action":"record"}]`), nil},
		{"action id with a line end", with(`"actions":[{"id":"a1\n","action":"record"}]`), nil},
		{"action id x", with(`"actions":[{"id":"x","action":"record"}]`), nil},
		{"action id twice", with(`"actions":[{"id":"a","action":"record"},{"id":"a","action":"record"}]`), nil},
		{"action name", with(`"actions":[{"id":"a","action":"Record"}]`), nil},
		{"optional", with(`"actions":[{"id":"a","action":"record","optional":"no"}]`), nil},
		{"target without app", with(`"actions":[{"id":"a","action":"record","target":{}}]`), nil},
		{"params", with(`"actions":[{"id":"a","action":"record","params":[]}]`), nil},
		{"receipt.when", with(`"receipt":{"when":"never"}`), nil},
		{"receipt.evidence", with(`"receipt":{"evidence":"proof"}`), nil},
		{"receipt.subject_salt", with(`"receipt":{"subject_salt":"short"}`), nil},
		{"initiator", with(`"initiator":{"ref":"1"}`), nil},
		{"traceparent", with(`"traceparent":"00-x"`), nil},
		{"parent", with(`"parent":{}`), nil},
		{"parent hash", with(`"parent":{"order_hash":"sha-256:x"}`), nil},
		{"crit empty", with(`"crit":[]`), nil},
		{"crit", with(`"crit":[1]`), nil},
		{"null", with(`"priority":null`), nil},
		{"two events", plain, change(func(c *set.Claims) { c.Events = append(c.Events, c.Events[0]) })},
		{"two audiences", plain, change(func(c *set.Claims) { c.Audience = []string{"a", "b"} })},
		{"no audience", plain, change(func(c *set.Claims) { c.Audience = nil })},
		{"exp", plain, change(func(c *set.Claims) { c.Extra = []set.Member{{Name: "exp", Value: json.RawMessage("9")}} })},
		{"no subject", plain, change(func(c *set.Claims) { c.SubID = nil })},
		{"verification", plain, change(func(c *set.Claims) { c.Events[0].Type = ssfPrefix + "verification" })},
		{"stream-updated", with(`"actions":[{"id":"a","action":"record"}]`), change(func(c *set.Claims) { c.Events[0].Type = ssfPrefix + "stream-updated" })},
		{"asyncresp", with(`"actions":[{"id":"a","action":"record"}]`), change(func(c *set.Claims) { c.Events[0].Type = scimPrefix + "misc:asyncresp" })},
		{"a receipt", with(`"actions":[{"id":"a","action":"record"}]`), change(func(c *set.Claims) { c.Events[0].Type = Default().Event })},
		{"a withdrawal", with(`"actions":[{"id":"a","action":"record"}]`), change(func(c *set.Claims) { c.Events[0].Type = Default().Withdrawn })},
		{"no default", plain, change(func(c *set.Claims) { c.Events[0].Type = "https://acme.example/event" })},
		{"no default for this change", plain, change(func(c *set.Claims) {
			c.Events[0] = set.Event{Type: caepPrefix + "credential-change", Payload: json.RawMessage(`{"change_type":"rename"}`)}
		})},
	} {
		claims := c.claims
		if claims == nil {
			claims = revoked()
		}
		if _, err := ParseDirective(json.RawMessage(c.raw), claims); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestParseDirectiveRefused(t *testing.T) {
	req.Covers(t, "A35", "A50", "A41")
	for raw, want := range map[string]string{
		`{"obligation":"must","crit":["acme"]}`:                                                                   InvalidDirective,
		`{"obligation":"must","crit":["receipt.acme"]}`:                                                           InvalidDirective,
		`{"obligation":"must","crit":["receipt.when","actions","max_hops"]}`:                                      "",
		`{"obligation":"must","receipt":{"customer":"hash"}}`:                                                     InvalidDirective,
		`{"obligation":"must","receipt":{"customer":"hash","subject_salt":"AAECAwQFBgcICQoLDA0ODw"}}`:             "",
		`{"obligation":"must","receipt":{"customer":"hash","subject_salt":"AAECAwQFBgcICQoLDA0ODx"}}`:             InvalidDirective, // spare bits
		`{"obligation":"must","receipt":{"when":"exceptions"}}`:                                                   InvalidDirective,
		`{"obligation":"report","receipt":{"when":"exceptions"}}`:                                                 "",
		`{"obligation":"must","actions":[{"id":"a","action":"revoke_sessions","params":{"reach":"everywhere"}}]}`: InvalidDirective,
		`{"obligation":"must","actions":[{"id":"a","action":"revoke_sessions","params":{"reach":"global"}}]}`:     "",
	} {
		d, err := ParseDirective(json.RawMessage(raw), revoked())
		if err != nil || d.Refusal() != want {
			t.Errorf("%s: %v, refusal %q, want %q", raw, err, d.Refusal(), want)
		}
		if err == nil && want != "" {
			lines := RefusedLines(d, d.Refusal(), 5)
			if totals, outcome := Compute(d, lines); outcome != OutcomeRefused || totals.Failed != len(d.Actions) {
				t.Errorf("%s: refused lines give %s", raw, outcome)
			}
		}
	}
}

// An order refused whole, and one with nothing but optional actions, are answered with lines that pass.
func TestRefusedLinesPass(t *testing.T) {
	req.Covers(t, "A35", "A29", "A39")
	o := exampleOrder(t, "e1-order")
	for _, optional := range []bool{false, true} {
		for i := range o.Directive.Actions {
			o.Directive.Actions[i].Optional = optional
		}
		r := &Receipt{Number: NewNumber(), Seq: 1, Stage: StageFinal, Order: OrderLink{ReceivedAt: o.IssuedAt}, Lines: RefusedLines(o.Directive, InvalidDirective, o.IssuedAt)}
		if _, err := Issue(o, r, "j", o.IssuedAt); err != nil {
			t.Errorf("optional %v: %v", optional, err)
		}
		if want := map[bool]string{false: OutcomeRefused, true: OutcomeFulfilled}[optional]; r.Outcome != want {
			t.Errorf("optional %v: %s", optional, r.Outcome)
		}
	}
}

func TestFindDirective(t *testing.T) {
	req.Covers(t, "AR-2", "AR-6.1", "A35", "A56")
	v := Default()
	other := Vocabulary{Directive: "https://v.example/d", Event: "https://v.example/r", Location: AtEvent}
	value := json.RawMessage(`{"obligation":"must"}`)
	top := set.Member{Name: v.Directive, Value: value}
	for _, c := range []struct {
		name   string
		change func(*set.Claims)
		found  bool
		bad    bool
	}{
		{"none", func(*set.Claims) {}, false, false},
		{"claim", func(c *set.Claims) { c.Extra = append(c.Extra, top) }, true, false},
		{"inside the event", func(c *set.Claims) {
			c.Events[0].Payload = json.RawMessage(`{"` + v.Directive + `":{}}`)
		}, false, true},
		{"in both places", func(c *set.Claims) {
			c.Extra = append(c.Extra, top)
			c.Events[0].Payload = json.RawMessage(`{"` + v.Directive + `":{}}`)
		}, false, true},
		{"under two names", func(c *set.Claims) {
			c.Extra = append(c.Extra, top)
			c.Events[0].Payload = json.RawMessage(`{"` + other.Directive + `":{}}`)
		}, false, true},
		{"under a name not negotiated", func(c *set.Claims) {
			c.Events[0].Payload = json.RawMessage(`{"` + other.Directive + `":{}}`)
		}, false, false},
	} {
		claims := revoked()
		c.change(claims)
		raw, err := FindDirective(claims, v, other)
		if (raw != nil) != c.found || errors.Is(err, ErrMalformed) != c.bad {
			t.Errorf("%s: %s, %v", c.name, raw, err)
		}
	}
}

func TestDefaultActions(t *testing.T) {
	req.Covers(t, "AR-5.5", "A12")
	for _, c := range []struct{ event, payload, want string }{
		{caepPrefix + "session-revoked", "", "revoke_sessions"},
		{caepPrefix + "credential-change", `{"change_type":"revoke"}`, "revoke_credential revoke_sessions"},
		{caepPrefix + "credential-change", `{"change_type":"delete"}`, "revoke_credential revoke_sessions"},
		{caepPrefix + "credential-change", `{"change_type":"create"}`, "sync_credential"},
		{caepPrefix + "credential-change", `{"change_type":"update"}`, "sync_credential"},
		{caepPrefix + "credential-change", `{"change_type":5}`, ""},
		{caepPrefix + "credential-change", `{}`, ""},
		{caepPrefix + "token-claims-change", "", "refresh_claims"},
		{caepPrefix + "assurance-level-change", "", "reevaluate_access"},
		{caepPrefix + "risk-level-change", "", "reevaluate_access"},
		{caepPrefix + "device-compliance-change", "", "reevaluate_access"},
		{caepPrefix + "session-established", "", "record"},
		{caepPrefix + "session-presented", "", "record"},
		{caepPrefix + "new-thing", "", ""},
		{riscPrefix + "account-purged", "", "delete_account"},
		{riscPrefix + "account-disabled", "", "disable_account revoke_sessions"},
		{riscPrefix + "account-enabled", "", "enable_account"},
		{riscPrefix + "credential-compromise", "", "require_credential_change revoke_sessions"},
		{riscPrefix + "account-credential-change-required", "", "require_credential_change"},
		{riscPrefix + "identifier-changed", "", "update_identifier"},
		{riscPrefix + "identifier-recycled", "", "unlink_identifier"},
		{riscPrefix + "sessions-revoked", "", "revoke_sessions"},
		{riscPrefix + "recovery-activated", "", "reevaluate_access"},
		{riscPrefix + "opt-out", "", "record"},
		{scimPrefix + "prov:delete", "", "delete_account"},
		{scimPrefix + "prov:deactivate", "", "disable_account revoke_sessions"},
		{scimPrefix + "prov:activate", "", "enable_account"},
		{scimPrefix + "prov:create:full", "", "sync_resource"},
		{scimPrefix + "prov:put:notice", "", "sync_resource"},
		{scimPrefix + "prov:patch", "", "sync_resource"},
		{scimPrefix + "prov:patched", "", ""},
		{scimPrefix + "feed:add", "", "sync_resource"},
		{scimPrefix + "feed:", "", ""},
		{scimPrefix + "misc:asyncresp", "", ""},
		{"https://acme.example/event", "", ""},
	} {
		if got := strings.Join(DefaultActions(c.event, json.RawMessage(c.payload)), " "); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.event, c.payload, got, c.want)
		}
	}
}

// What Marshal writes, ParseDirective reads back as the same demand.
func TestDirectiveMarshal(t *testing.T) {
	req.Covers(t, "AR-4")
	for _, name := range []string{"e1-order", "e2-order", "e3-order", "e4-order", "e5-order", "e5-suborder"} {
		u := parse(t, sign(t, testSigner(t, "t1"), example(t, name)))
		c := u.Claims()
		raw := c.Member(Default().Directive)
		d, err := ParseDirective(raw, &c)
		if err != nil {
			t.Fatal(err)
		}
		written, err := d.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseDirective(written, &c)
		if diff := cmp.Diff(d, again, cmp.AllowUnexported(Directive{})); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}

func TestClasses(t *testing.T) {
	req.Covers(t, "AR-5.6", "A15", "A16")
	for _, row := range codeTable {
		for _, code := range row.codes {
			if class, ok := ClassOf(row.status, code); !ok || class != row.class {
				t.Errorf("%s/%s: %v, %v", row.status, code, class, ok)
			}
			for _, status := range []string{Succeeded, Unconfirmed, Failed, Skipped, Pending, Reversed} {
				allowed := slices.ContainsFunc(codeTable, func(r codeRow) bool { return r.status == status && slices.Contains(r.codes, code) })
				if _, ok := ClassOf(status, code); ok != allowed {
					t.Errorf("%s/%s: ok %v", status, code, ok)
				}
			}
		}
	}
	want := map[string]Class{Succeeded: ClassSatisfied, Unconfirmed: ClassUnconfirmed, Skipped: ClassUnsatisfied, Failed: ClassFault, Pending: ClassWaiting, Reversed: ClassUndone}
	for status, class := range want {
		if got, ok := ClassOf(status, "code_of_a_later_year"); !ok || got != class {
			t.Errorf("unknown code, %s: %v, %v", status, got, ok)
		}
	}
	if fmt.Sprint(ClassSatisfied, ClassUndone) != "satisfied undone" {
		t.Error("class names")
	}
}
