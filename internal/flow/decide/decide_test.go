package decide_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/flow/decide"
	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/receipt"
)

const revoked = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"

var now = time.Unix(1789462800, 0).UTC()

func offers(ops ...hub.Operation) func(hub.Operation) bool {
	return func(op hub.Operation) bool { return slices.Contains(ops, op) }
}

// The apps of the tables: wiki ends one and all, crm all, forum only listed ones one by one, kc is also the source.
var apps = []decide.App{
	{Name: "wiki", Match: "email", Offers: offers(hub.OpLookupAccount, hub.OpListSessions, hub.OpEndSession, hub.OpEndAllSessions, hub.OpDisableAccount)},
	{Name: "crm", Match: "email", Offers: offers(hub.OpLookupAccount, hub.OpListSessions, hub.OpEndAllSessions)},
	{Name: "kc", Match: "declared", Offers: offers(hub.OpListSessions, hub.OpEndSession, hub.OpEndAllSessions)},
	{Name: "old", Match: "declared", Offers: offers(hub.OpLookupAccount)},
}

const head = "apiVersion: countersign/v1\nkind: policy\nname: p\non: [caep/session-revoked]\n"

func load(t testing.TB, text string) *decide.Set {
	t.Helper()
	if text == "" {
		return decide.NewSet()
	}
	s, err := decide.Load([]byte(text), decide.Types())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func all() *hub.OrderRules {
	return &hub.OrderRules{Accept: []string{hub.RevokeSessions, hub.Reauthenticate, hub.DisableAccount, hub.Record, hub.ReevaluateAccess, hub.RefreshClaims, hub.RevokeCredential}, At: hub.Places{All: true}}
}

func must(actions ...decide.Ordered) *decide.Order {
	return &decide.Order{Obligation: "must", Actions: actions}
}

func TestDecide(t *testing.T) {
	alice := hub.Identity{Name: "alice", Emails: []string{"alice@example.test"}}
	atKC := hub.Identity{Name: "alice", Emails: []string{"alice@example.test"}, Accounts: []hub.Account{{At: "kc", ID: "k1"}}}
	old := hub.Identity{Name: "old", Accounts: []hub.Account{{At: "old", ID: "o1"}}}
	revoke := decide.Ordered{ID: "a1", Action: hub.RevokeSessions, Reach: hub.ReachGlobal}
	one := decide.Ordered{ID: "a1", Action: hub.RevokeSessions, Reach: hub.ReachSession}
	for _, c := range []struct {
		name   string
		policy string
		order  *decide.Order
		change func(*decide.Input)
		person hub.Identity
		want   []string
		why    []string
		covers []string
	}{
		{name: "nothing ordered, no policy", person: alice},
		{name: "an accepted order", order: must(revoke), person: alice, want: []string{"revoke_sessions global at crm as a1", "revoke_sessions global at wiki as a1"}, covers: []string{"S1"}},
		{name: "nothing accepted by default", order: must(revoke), person: alice, change: func(in *decide.Input) { in.Source.Orders = nil },
			want: []string{"revoke_sessions global as a1 failed/policy_declined"}, why: []string{"may not order"}, covers: []string{"S1"}},
		{name: "outside accept, only a report wanted", order: &decide.Order{Obligation: "report", Actions: []decide.Ordered{revoke}}, person: alice, change: func(in *decide.Input) { in.Source.Orders.Accept = nil },
			want: []string{"revoke_sessions global as a1 skipped/no_action_taken"}},
		{name: "orders are only watched", order: must(revoke), person: alice, change: func(in *decide.Input) { in.Source.Orders.Mode = "monitor" },
			want: []string{"revoke_sessions global as a1 failed/policy_declined"}, why: []string{"only watched"}},
		{name: "order at some apps", order: must(revoke), person: alice, change: func(in *decide.Input) { in.Source.Orders.At = hub.Places{Names: []string{"crm"}} }, want: []string{"revoke_sessions global at crm as a1"}},
		{name: "target app", order: must(decide.Ordered{ID: "a1", Action: hub.RevokeSessions, App: "wiki"}), person: alice, want: []string{"revoke_sessions session_tokens at wiki as a1"}},
		{name: "target app outside at", order: must(decide.Ordered{ID: "a1", Action: hub.RevokeSessions, App: "wiki"}), person: alice, change: func(in *decide.Input) { in.Source.Orders.At = hub.Places{Names: []string{"crm"}} },
			want: []string{"revoke_sessions session_tokens at wiki as a1 failed/policy_declined"}},
		{name: "target app unknown", order: must(decide.Ordered{ID: "a1", Action: hub.RevokeSessions, App: "nope"}), person: alice, want: []string{"revoke_sessions session_tokens at nope as a1 failed/not_supported"}},
		{name: "target account of another person", order: must(decide.Ordered{ID: "a1", Action: hub.RevokeSessions, App: "kc", Account: "k2"}), person: atKC, want: []string{"revoke_sessions session_tokens as a1 skipped/no_such_subject"}},
		{name: "no app has the person", order: must(revoke), person: hub.Identity{Name: "x"}, want: []string{"revoke_sessions global as a1 skipped/no_such_subject"}},
		{name: "unknown action", order: must(decide.Ordered{ID: "a1", Action: "make_coffee"}), person: alice, want: []string{"make_coffee as a1 failed/not_supported"}},
		{name: "an action nobody does", order: must(decide.Ordered{ID: "a1", Action: hub.RefreshClaims}), person: alice, want: []string{"refresh_claims as a1 failed/not_supported"}},
		{name: "an action no pack does", order: must(decide.Ordered{ID: "a1", Action: hub.RevokeCredential}), person: alice, want: []string{"revoke_credential as a1 failed/not_supported"}},
		{name: "an app whose pack cannot", order: must(decide.Ordered{ID: "a1", Action: hub.DisableAccount}), person: alice, want: []string{"disable_account at crm as a1 failed/not_supported", "disable_account at wiki as a1"}, covers: []string{"S11"}},
		{name: "record", order: must(decide.Ordered{ID: "a1", Action: hub.Record}), person: alice, want: []string{"record as a1 succeeded/done"}},
		{name: "reevaluate without a policy", order: must(decide.Ordered{ID: "a1", Action: hub.ReevaluateAccess}), person: alice, want: []string{"reevaluate_access as a1 failed/not_supported"}},
		{name: "reevaluate with a policy", policy: head + "when: 'false'\nthen: [{action: record}]\n", order: must(decide.Ordered{ID: "a1", Action: hub.ReevaluateAccess}), person: alice, want: []string{"reevaluate_access as a1 succeeded/done"}},
		{name: "a monitor policy does not evaluate", policy: head + "mode: monitor\nthen: [{action: record}]\n", order: must(decide.Ordered{ID: "a1", Action: hub.ReevaluateAccess}), person: alice, want: []string{"reevaluate_access as a1 failed/not_supported"}},
		{name: "protected, ordered and by policy", policy: head + "then: [{action: revoke_sessions, scope: app, at: all}]\n", order: must(revoke), person: hub.Identity{Name: "root", Emails: []string{"root@example.test"}, Protect: "never"},
			want: []string{"revoke_sessions global as a1 failed/policy_declined"}, why: []string{"the person is protected"}},

		{name: "one session, at its own place", order: must(one), person: atKC, change: session("kc", "s1"), want: []string{"revoke_sessions session at kc as a1"}, covers: []string{"S11"}},
		{name: "one session that means nothing here", order: must(one), person: alice, change: session("idp", "s1"),
			want: []string{"revoke_sessions session at crm as a1 failed/not_supported", "revoke_sessions session at wiki as a1 failed/not_supported"}, why: []string{"only a policy with a fallback can go further"}},
		{name: "the policy's fallback reaches further than the order", policy: head + "then: [{action: revoke_sessions, scope: session, fallback: app, at: [wiki]}]\n", order: must(one), person: alice, change: session("idp", "s1"),
			want: []string{"revoke_sessions session at crm as a1 failed/not_supported", "revoke_sessions session at wiki as a1 failed/not_supported", "revoke_sessions session_tokens at wiki"}, why: []string{"by the fallback"}, covers: []string{"B3"}},
		{name: "two fallbacks are one work", policy: head + "then: [{action: revoke_sessions, scope: session, fallback: app, at: [wiki]}, {action: revoke_sessions, scope: session, fallback: everywhere, at: [wiki]}]\n", order: must(decide.Ordered{ID: "a1", Action: hub.RevokeSessions, Reach: hub.ReachSession, App: "wiki"}), person: alice, change: session("idp", "s1"),
			want: []string{"revoke_sessions session at wiki as a1 failed/not_supported", "revoke_sessions global at wiki", "revoke_sessions global at crm"}},
		{name: "a fallback that the pack cannot do", policy: head + "then: [{action: revoke_sessions, scope: session, fallback: app, at: [old]}]\n", order: must(one), person: old, change: session("idp", "s1"), want: []string{"revoke_sessions session at old as a1 failed/not_supported"}},
		{name: "a wider scope, and no fallback, is the same action", policy: head + "then: [{action: revoke_sessions, scope: app, at: [wiki]}]\n", order: must(decide.Ordered{ID: "a1", Action: hub.RevokeSessions, Reach: hub.ReachSession, App: "wiki"}), person: alice, change: session("idp", "s1"),
			want: []string{"revoke_sessions session_tokens at wiki as a1"}, why: []string{"as far as the policy p reaches", "the same work as the order's line a1"}},
		{name: "the session is at home, and the policy's fallback is its own", policy: head + "then: [{action: revoke_sessions, scope: session, fallback: app, at: [kc, wiki]}]\n", order: must(one), person: atKC, change: session("kc", "s1"),
			want: []string{"revoke_sessions session at kc as a1", "revoke_sessions session_tokens at wiki"}},
		{name: "a deny keeps the fallback away", policy: head + "then: [{action: revoke_sessions, scope: session, fallback: app, at: [wiki]}, {deny: revoke_sessions}]\n", order: must(decide.Ordered{ID: "a1", Action: hub.RevokeSessions, Reach: hub.ReachSession, App: "wiki"}), person: alice, change: session("idp", "s1"),
			want: []string{"revoke_sessions session at wiki as a1 failed/policy_declined"}},
		{name: "the policy is wider than the order", policy: head + "then: [{action: revoke_sessions, scope: everywhere}]\n", order: must(decide.Ordered{ID: "a1", Action: hub.RevokeSessions, Reach: hub.ReachTokens}), person: alice,
			want: []string{"revoke_sessions global at crm as a1", "revoke_sessions global at wiki as a1"}},
		{name: "the policy adds what was not ordered", policy: head + "from: [idp]\nthen: [{action: disable_account, at: [wiki]}]\n", order: must(revoke), person: alice,
			want: []string{"revoke_sessions global at crm as a1", "revoke_sessions global at wiki as a1", "disable_account at wiki"}, covers: []string{"S11"}},
		{name: "no fallback is written", policy: head + "then: [{action: revoke_sessions, scope: session, at: [wiki]}]\n", person: alice, want: []string{"revoke_sessions session at wiki failed/not_supported"}, why: []string{"no fallback is written"}},
		{name: "fallback everywhere", policy: head + "then: [{action: revoke_sessions, scope: session, fallback: everywhere, at: [kc]}]\n", person: atKC, change: session("idp", "s1"),
			want: []string{"revoke_sessions global at crm", "revoke_sessions global at kc", "revoke_sessions global at wiki"}},
		{name: "no fallback where the session is found", policy: head + "then: [{action: revoke_sessions, scope: session, fallback: everywhere, at: [kc]}]\n", person: atKC, change: session("kc", "s1"), want: []string{"revoke_sessions session at kc"}},
		{name: "an app that cannot end sessions", policy: head + "then: [{action: revoke_sessions, scope: app, at: all}]\n", person: old, want: []string{"revoke_sessions session_tokens at old failed/not_supported"}},
		{name: "two policies, one work, the widest", policy: head + "then: [{action: revoke_sessions, scope: app, at: [wiki]}]\n---\nkind: policy\nname: q\norder: 5\non: [caep/session-revoked]\nthen: [{action: revoke_sessions, scope: everywhere}]\n", person: alice,
			want: []string{"revoke_sessions global at wiki", "revoke_sessions global at crm"}, why: []string{"the same work as an earlier rule"}},

		{name: "a deny wins over an order", policy: head + "then: [{deny: revoke_sessions, at: [crm]}]\n", order: must(revoke), person: alice, want: []string{"revoke_sessions global at crm as a1 failed/policy_declined", "revoke_sessions global at wiki as a1"}, covers: []string{"RX-69"}},
		{name: "a deny wins over a policy", policy: head + "then: [{action: revoke_sessions, scope: app, at: all}, {deny: revoke_sessions, at: [crm]}]\n", person: alice, want: []string{"revoke_sessions session_tokens at wiki"}, why: []string{"denied revoke_sessions at crm by the policy p"}},
		{name: "a deny that cannot be evaluated holds", policy: head + "then: [{deny: revoke_sessions, when: '1/0 == 1'}]\n", order: must(revoke), person: alice,
			want: []string{"revoke_sessions global at crm as a1 failed/policy_declined", "revoke_sessions global at wiki as a1 failed/policy_declined"}, why: []string{"so the deny holds"}},
		{name: "an act that cannot be evaluated is skipped", policy: head + "then: [{action: revoke_sessions, scope: app, at: all, when: '1/0 == 1'}]\n", person: alice, why: []string{"error when could not be evaluated, so the rule is skipped"}},
		{name: "a broken policy denies and does not act", policy: head + "when: '1/0 == 1'\nthen: [{action: revoke_sessions, scope: app, at: all}, {deny: revoke_sessions, at: [crm]}]\n", order: must(revoke), person: alice,
			want: []string{"revoke_sessions global at crm as a1 failed/policy_declined", "revoke_sessions global at wiki as a1"}, why: []string{"the acting rules are skipped, the denying ones hold"}},
		{name: "monitor neither adds nor denies", policy: head + "mode: monitor\nthen: [{action: revoke_sessions, scope: app, at: all}, {deny: revoke_sessions}]\n", order: must(decide.Ordered{ID: "a1", Action: hub.RevokeSessions, App: "wiki"}), person: alice,
			want: []string{"revoke_sessions session_tokens at wiki as a1"}, why: []string{"monitor would apply: deny revoke_sessions"}},
		{name: "off", policy: head + "mode: off\nthen: [{action: revoke_sessions, scope: app, at: all}]\n", person: alice, why: []string{"the policy is off"}, covers: []string{"RX-69"}},
		{name: "another source", policy: head + "from: [hr]\nthen: [{action: revoke_sessions, scope: app, at: all}]\n", person: alice, why: []string{"from does not name the source idp"}},
		{name: "when", policy: head + "when: 'source == \"hr\"'\nthen: [{action: revoke_sessions, scope: app, at: all}]\n", person: alice, why: []string{"when is false"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := input(c.person, c.order)
			if c.change != nil {
				c.change(&in)
			}
			res, err := load(t, c.policy).Decide(in)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, a := range res.Actions {
				got = append(got, decide.Describe(a))
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("%s\n%+v", d, res.Decision.Findings)
			}
			for _, why := range c.why {
				if !slices.ContainsFunc(res.Decision.Findings, func(f hub.Finding) bool { return strings.Contains(f.Result+" "+f.Reason, why) }) {
					t.Errorf("no finding says %q: %+v", why, res.Decision.Findings)
				}
			}
			if !json.Valid(res.Decision.Inputs) || len(res.Decision.Planned) != len(res.Actions) {
				t.Errorf("decision %+v", res.Decision)
			}
			if len(c.covers) > 0 {
				req.Covers(t, c.covers...)
			}
		})
	}
}

func input(person hub.Identity, order *decide.Order) decide.Input {
	return decide.Input{
		Signal: &hub.Signal{ID: "sig_1", Seq: 7, Tenant: "default", Source: "idp", EventType: revoked, SubID: json.RawMessage(`{"format":"email","email":"alice@example.test"}`), Event: json.RawMessage(`{"event_timestamp":1789462795}`)},
		Source: &hub.Source{Name: "idp", Orders: all()}, Person: decide.Person{Identity: &person}, Order: order, Apps: apps, Now: now,
	}
}

func session(at, id string) func(*decide.Input) {
	return func(in *decide.Input) { in.Person.Session, in.Person.SessionAt = id, at }
}

func TestTimes(t *testing.T) {
	for _, c := range []struct {
		by, after int64
		want      hub.Micros
	}{
		{0, 0, hub.At(now.Add(24 * time.Hour))},
		{now.Unix() + 300, now.Unix() + 60, hub.At(now.Add(290 * time.Second))},
		{now.Unix() + 20, 0, hub.At(now.Add(18 * time.Second))},
		{now.Unix() - 5, 0, hub.At(now.Add(-5 * time.Second))},
	} {
		o := must(decide.Ordered{ID: "a1", Action: hub.RevokeSessions})
		o.CompleteBy, o.NotAfter = c.by, c.after
		res, err := load(t, "").Decide(input(hub.Identity{Name: "a", Emails: []string{"a@b.test", "c@d.test"}}, o))
		if err != nil {
			t.Fatal(err)
		}
		a := res.Actions[0]
		if a.Deadline != c.want || a.NotAfter != hub.Micros(c.after*1e6) || a.Requested != hub.At(now) {
			t.Errorf("complete_by %d: deadline %v, want %v", c.by, a.Deadline.Time(), c.want.Time())
		}
		if a.Email != "a@b.test c@d.test" || a.Account != "" || a.SignalSeq != 7 || a.Line != "a1" || a.OrderReach != hub.ReachTokens {
			t.Errorf("%+v", a)
		}
	}
}

func TestLimits(t *testing.T) {
	policy := head + "limits: {people: 2, per: 1h}\nthen: [{action: revoke_sessions, scope: app, at: [wiki]}]\n"
	alice := hub.Identity{Name: "alice", Emails: []string{"alice@example.test"}}
	for _, c := range []struct {
		name    string
		others  int
		counted bool
		planned int
		charges []decide.Charge
	}{
		{"room", 1, false, 2, []decide.Charge{{Scope: "source:idp", Identity: "alice", Limit: 3, Since: hub.At(now.Add(-time.Minute))}, {Scope: "policy:p:idp", Identity: "alice", Limit: 2, Since: hub.At(now.Add(-time.Hour))}}},
		{"the policy's limit", 2, false, 1, []decide.Charge{{Scope: "source:idp", Identity: "alice", Limit: 3, Since: hub.At(now.Add(-time.Minute))}}},
		{"both limits", 3, false, 0, nil},
		{"counted already", 9, true, 2, []decide.Charge{{Scope: "source:idp", Identity: "alice", Since: hub.At(now.Add(-time.Minute))}, {Scope: "policy:p:idp", Identity: "alice", Since: hub.At(now.Add(-time.Hour))}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := input(alice, must(decide.Ordered{ID: "a1", Action: hub.RevokeSessions, App: "crm"}))
			in.Source.Orders.Limits = &hub.Limits{People: 3, Per: "1m"}
			in.Used = func(string, string, time.Time) (int, bool, error) { return c.others, c.counted, nil }
			res, err := load(t, policy).Decide(in)
			if err != nil {
				t.Fatal(err)
			}
			planned := 0
			for _, a := range res.Actions {
				if a.State == hub.Planned {
					planned++
				} else if a.Reason != "policy_declined" {
					t.Errorf("%+v", a)
				}
			}
			if d := cmp.Diff(c.charges, res.Charges); d != "" || planned != c.planned {
				t.Errorf("planned %d, want %d\n%s", planned, c.planned, d)
			}
		})
	}
	broken := errors.New("no store")
	in := input(alice, nil)
	in.Used = func(string, string, time.Time) (int, bool, error) { return 0, false, broken }
	if _, err := load(t, policy).Decide(in); !errors.Is(err, broken) {
		t.Error(err)
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{head + "when: 'signal.event.initiating_entitty == \"x\"'\nthen: [{action: record}]\n", "line 5:7: column 13: there is no member initiating_entitty here"},
		{head + "then: [{action: record, when: 'signal.event.nope == 1'}]\n", "line 5:31: "},
		{strings.Replace(head, "caep/session-revoked", "caep/session-revoke", 1) + "then: [{action: record}]\n", "line 4:6: there is no event type caep/session-revoke"},
		{strings.Replace(head, "caep/session-revoked", "ssf/verification", 1) + "then: [{action: record}]\n", "about the stream itself"},
		{head + "then: [{action: disable_account, at: all}]\n", "line 5:8: a policy that uses disable_account names the sources it listens to: add from"},
		{head + "then: [{action: revoke_sessions, scope: app}]\n", "revoke_sessions says where: at: all, or a list of apps"},
		{head + "when: 'signal.type'\nthen: [{action: record}]\n", "true or false is wanted"},
		{"apiVersion: countersign/v1\nkind: app\nname: a\npack: b\n", "a file of policies holds policies, not a app"},
	} {
		if _, err := decide.Load([]byte(c.in), decide.Types()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngot %v, want %q", c.in, err, c.want)
		}
	}
	// The URI names the same type, and an absent member reads as empty.
	s := load(t, strings.Replace(head, "caep/session-revoked", "'"+revoked+"'", 1)+"when: 'signal.event.initiating_entity == \"\" && !has(signal.event.initiating_entity) && signal.event.event_timestamp == 1789462795'\nthen: [{action: record}]\n")
	res, err := s.Decide(input(hub.Identity{Name: "a"}, nil))
	if err != nil || len(res.Actions) != 1 {
		t.Errorf("%+v %v", res, err)
	}
}

func TestOrderOf(t *testing.T) {
	d := &receipt.Directive{Obligation: "must", CompleteBy: 9, NotAfter: 8, Actions: []receipt.OrderedAction{
		{ID: "a1", Action: "revoke_sessions", Params: json.RawMessage(`{"reach":"global"}`), Target: &receipt.Target{App: "wiki", Kind: "account", ID: "17"}},
		{ID: "a2", Action: "reauthenticate", Optional: true},
	}}
	want := &decide.Order{Obligation: "must", CompleteBy: 9, NotAfter: 8, Actions: []decide.Ordered{
		{ID: "a1", Action: "revoke_sessions", Reach: "global", App: "wiki", Account: "17"}, {ID: "a2", Action: "reauthenticate", Optional: true}}}
	if d := cmp.Diff(want, decide.OrderOf(d)); d != "" {
		t.Error(d)
	}
}

// The same input gives the same decision but for its ids.
func TestSameAgain(t *testing.T) {
	s := load(t, head+"then: [{action: revoke_sessions, scope: app, at: all}]\n")
	plain := func() string {
		res, err := s.Decide(input(hub.Identity{Name: "a", Emails: []string{"a@b.test"}}, must(decide.Ordered{ID: "a1", Action: hub.RevokeSessions})))
		if err != nil {
			t.Fatal(err)
		}
		res.Decision.ID, res.Decision.Planned = "", nil
		for _, a := range res.Actions {
			a.ID = ""
		}
		b, err := json.Marshal(res)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if a, b := plain(), plain(); a != b {
		t.Errorf("%s\n%s", a, b)
	}
}

func BenchmarkDecide(b *testing.B) {
	s := load(b, head+"when: 'signal.event.initiating_entity != \"user\"'\nthen: [{action: revoke_sessions, scope: session, fallback: app, at: all}]\n")
	in := input(hub.Identity{Name: "a", Emails: []string{"a@b.test"}}, must(decide.Ordered{ID: "a1", Action: hub.RevokeSessions, Reach: hub.ReachGlobal}))
	for b.Loop() {
		if _, err := s.Decide(in); err != nil {
			b.Fatal(err)
		}
	}
}
