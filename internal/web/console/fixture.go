package console

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"time"

	"countersign/event"
	"countersign/event/caep"
	"countersign/internal/hub"
	"countersign/internal/sight"
	"countersign/receipt"
	"countersign/set"
)

// A Page is one page in one state, made from fixtures.
type Page struct {
	Name string // such as signal-fulfilled
	HTML []byte
}

// Pages renders every page in every state: empty, full, waiting, failing, and with hostile text. The
// result is the same at every call.
func Pages() []Page {
	f := newFixtures()
	c := f.console
	var out []Page
	add := func(name, page string, view any) {
		var b bytes.Buffer
		if err := pages[page].Execute(&b, view); err != nil {
			panic(err) // a template of ours that does not fit its view; every test run would show it
		}
		out = append(out, Page{name, b.Bytes()})
	}
	u := &User{Name: "operator", Read: true, ReadTokens: true, ReadStreams: true}
	add("sign-in", "sign_in", signInView{frame: c.frame("Sign in", nil), To: "/"})
	add("sign-in-refused", "sign_in", signInView{frame: c.frame("Sign in", nil), To: "/", Problem: "This token is not valid, or it has expired."})
	add("signal-list", "signal_list", c.signalList(u, "", "", hub.Listed[*hub.Signal]{Items: f.signals(), Next: "sig_1"}))
	add("signal-list-hostile", "signal_list", c.signalList(u, "", "sig_1", hub.Listed[*hub.Signal]{Items: []*hub.Signal{f.hostile().Signal}}))
	add("signal-list-empty", "signal_list", c.signalList(u, "", "", hub.Listed[*hub.Signal]{}))
	add("signal-list-nothing", "signal_list", c.signalList(u, hub.SignalUnresolved, "", hub.Listed[*hub.Signal]{}))
	for _, s := range f.stories {
		add("signal-"+s.name, "signal_show", c.signalShow(u, s.Story))
	}
	add("signal-transmitted", "signal_show", c.signalShow(u, f.transmitted()))
	add("signal-without-scope", "signal_show", c.signalShow(&User{Name: "viewer", Read: true}, f.stories[0].Story))
	add("receipt-fulfilled", "receipt_show", c.receiptShow(u, f.stories[0].Receipts[0]))
	add("receipt-partial", "receipt_show", c.receiptShow(u, f.stories[1].Receipts[1]))
	f.sourcePages(u, add)
	f.transmitPages(u, add)
	add("message-not-found", "message", messageView{frame: c.frame("Not found", u), Heading: "It is not here", Text: "Nothing with this id is kept.", Link: "/", LinkText: "Go to the signals"})
	add("message-failing", "message", messageView{frame: c.frame("Something went wrong", u), Heading: "Something went wrong here", Text: "Nothing was changed. The hub's log says more under this reference:", Code: "ref_06c1zr2t3v0g9m5a7k8b1n4q2e", Link: "/", LinkText: "Try again"})
	add("message-forbidden", "message", messageView{frame: c.frame("Not allowed", u), Heading: "This token may not read signals", Text: "Sign in with one that has the scope signals.read."})
	return out
}

// Assets gives the files that the pages link to, by path.
func Assets() map[string][]byte {
	return map[string][]byte{stylePath: style, iconPath: icon}
}

type namedStory struct {
	*Story
	name string
}

type fixtures struct {
	console *Console
	signer  *set.Signer
	stories []namedStory
	out     *out
	sourced []sourceFixture
}

// The moment of the fixtures: that of the receipts design's examples.
const fixtureTime = 1789462801

func newFixtures() *fixtures {
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	signer, err := set.NewSigner(set.EdDSA, "r1", ed25519.NewKeyFromSeed(seed))
	if err != nil {
		panic(err)
	}
	f := &fixtures{signer: signer, console: build(Config{Name: "Acme signal hub", Registry: event.NewRegistry(caep.Vocabulary()), Now: func() time.Time { return time.Unix(fixtureTime, 0) }})}
	f.out, f.sourced = f.transmitting(), f.sources()
	f.console.c.Show = f.show
	f.stories = []namedStory{{f.fulfilled(), "fulfilled"}, {f.failing(), "failing"}, {f.running(), "running"}, {f.unresolved(), "unresolved"}, {f.plain(), "plain"}, {f.hostile(), "hostile"}}
	return f
}

func (f *fixtures) signals() []*hub.Signal {
	var out []*hub.Signal
	for _, s := range f.stories {
		if s.name != "hostile" {
			out = append(out, s.Signal)
		}
	}
	return out
}

func at(seconds float64) hub.Micros { return hub.Micros(fixtureTime*1e6 + int64(seconds*1e6)) }

const (
	revoked    = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	credential = "https://schemas.openid.net/secevent/caep/event-type/credential-change"
)

func (f *fixtures) signal(id, eventType, email string, order *hub.Order) *hub.Signal {
	sub, _ := json.Marshal(map[string]string{"format": "email", "email": email})
	s := &hub.Signal{Seq: 1, ID: id, Tenant: "default", Source: "keycloak", Door: "push", Issuer: "https://idp.example.test/realms/acme", JTI: "jti-" + id, IssuedAt: fixtureTime - 1, TXN: "txn-8675309",
		EventType: eventType, SubID: sub, Event: json.RawMessage(`{"initiating_entity":"policy","reason_admin":{"en":"Impossible travel: CASE-4411"},"event_timestamp":1789462795}`), Received: at(0), State: hub.SignalDone, Order: order}
	claims := set.Claims{Issuer: s.Issuer, Audience: []string{"https://hub.example.test"}, IssuedAt: s.IssuedAt, ID: s.JTI, TXN: s.TXN, SubID: sub, Events: []set.Event{{Type: eventType, Payload: s.Event}}}
	if payload, err := claims.Marshal(); err == nil {
		s.Token, _ = f.signer.Sign(payload)
		s.SetHash = set.Address(f.signer.Input(payload))
	}
	return s
}

func order(number, outcome string) *hub.Order {
	return &hub.Order{Directive: json.RawMessage(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions","params":{"reach":"global"}}],"complete_by":1789462821,"receipt":{"when":"all","evidence":"verified"}}`),
		ReceiptNo: number, Outcome: outcome, CompleteBy: fixtureTime + 20, ReceiptIssuer: "https://hub.example.test", ReceiptAudience: "https://idp.example.test/realms/acme", LastSeq: 1, Stage: "final"}
}

func decision(findings ...hub.Finding) *hub.Decision {
	return &hub.Decision{ID: "dec_1", At: at(0.02), Findings: findings, Inputs: json.RawMessage(`{"signal":{"type":"caep/session-revoked","event":{"initiating_entity":"policy"}},"identity":{"name":"alice","labels":[],"groups":["finance"]},"source":{"name":"keycloak"}}`)}
}

func done(id, app, account string, start, took float64, found int) *hub.Action {
	a := &hub.Action{ID: id, Name: hub.RevokeSessions, App: app, Account: account, Identity: "alice", Reach: hub.ReachGlobal, OrderReach: hub.ReachGlobal, Line: "a1", Ordered: true, Policy: "session-revoked", State: hub.Succeeded, Reason: "done",
		Attempts: 1, Counted: true, Found: found, Acted: found, Unit: "sessions", Level: hub.Verified, Method: receipt.MethodReadBack, Requested: at(0.02), Started: at(start), Completed: at(start + took), VerifiedAt: at(start + took + 0.05),
		Evidence:     json.RawMessage(`{"request":"DELETE /admin/users/` + account + `/sessions","status":204,"read_back":{"request":"GET /admin/users/` + account + `/sessions","sessions":0},"nonce":"q2Jm0Zb1rN7uE4dXo8cVtw"}`),
		EvidenceHash: "sha-256:UQjetx7h0A2OFK1I8t3uPcomRSilroAqxaaC7hHswNc",
		Tries:        []hub.Attempt{{No: 1, Op: hub.OpEndAllSessions, Request: "DELETE /admin/users/" + account + "/sessions", Sent: at(start), Answered: at(start + took), Status: 204, Class: "done"}}}
	return a
}

func (f *fixtures) receipt(id, number string, no int, stage string, sig *hub.Signal, state string, lines []receipt.Line, totals receipt.Totals, outcome string) *hub.Receipt {
	body := receipt.Receipt{Number: number, Seq: no, Stage: stage, Outcome: outcome, Order: receipt.OrderLink{EventType: sig.EventType, SetHash: sig.SetHash, ReceivedAt: fixtureTime},
		Merchant: &receipt.Merchant{Name: "Acme signal hub", Software: "countersign/0.1"}, Register: &receipt.Register{ID: "node-3", Zone: "eu-1"}, Lines: lines, Totals: totals}
	raw, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	r := &hub.Receipt{ID: id, SignalID: sig.ID, Source: sig.Source, ReceiptNo: number, No: no, Stage: stage, Outcome: outcome, JTI: "rcp-" + id, KID: "r1", Body: raw, State: state, Tries: 1, Cut: at(2.4 + float64(no))}
	claims := set.Claims{Issuer: "https://hub.example.test", Audience: []string{sig.Issuer}, IssuedAt: fixtureTime + 3, ID: r.JTI, SubID: json.RawMessage(`{"format":"jwt_id","iss":"` + sig.Issuer + `","jti":"` + sig.JTI + `"}`), Events: []set.Event{{Type: receipt.Default().Event, Payload: raw}}}
	if payload, err := claims.Marshal(); err == nil {
		r.Hash = set.Address(f.signer.Input(payload))
		r.Token, _ = f.signer.Sign(payload)
	}
	if state == "accepted" {
		r.Accepted = at(2.6 + float64(no))
	}
	return r
}

func line(id, app, status, reason string, acted, found int) receipt.Line {
	return receipt.Line{ID: id, Action: hub.RevokeSessions, Reach: "global", Target: &receipt.Target{App: app, Kind: "account", ID: "p-41f0c2"}, Status: status, Reason: reason, CompletedAt: fixtureTime + 2,
		Counts: receipt.CountsOf("sessions", found, acted, found-acted), Evidence: &receipt.Evidence{Level: receipt.Verified, Method: receipt.MethodReadBack, VerifiedAt: fixtureTime + 2}}
}

// fulfilled: the scene of the demo. Three apps, one with tokens that live on.
func (f *fixtures) fulfilled() *Story {
	sig := f.signal("sig_06c1zr2t3v0g9m5a7k8b1n4q2e", revoked, "alice@example.test", order("CS-7F3K9Q2M", "fulfilled"))
	sig.IdentityName = "alice"
	sig.Misses = []string{"iss_sub: the subject is an e-mail address"}
	crm := done("act_2", "crm", "0017", 0.05, 0.21, 1)
	crm.Reason, crm.EffectiveBy, crm.ReasonText = "done_with_residue", at(905), "Access tokens already issued stay valid up to 15 minutes."
	forum := done("act_3", "forum", "alice", 0.05, 0.09, 1)
	forum.Attempts = 1
	forum.Tries[0].Status, forum.Tries[0].Class, forum.Tries[0].Note = 202, "accepted", "read back until proven"
	crmLine := line("a1.2", "crm", "succeeded", "done_with_residue", 1, 1)
	crmLine.EffectiveBy = fixtureTime + 905
	r := f.receipt("rct_1", "CS-7F3K9Q2M", 1, "final", sig, "accepted", []receipt.Line{line("a1.1", "wiki", "succeeded", "done", 2, 2), crmLine, line("a1.3", "forum", "succeeded", "done", 1, 1)},
		receipt.Totals{Requested: 1, Lines: 3, Succeeded: 3}, "fulfilled")
	return &Story{Signal: sig, Actions: []*hub.Action{done("act_1", "wiki", "99beb27c", 0.04, 0.03, 2), crm, forum}, Receipts: []*hub.Receipt{r},
		Decision: decision(hub.Finding{Line: "a1", Result: "applies", Reason: "the source may order revoke_sessions, at all apps"},
			hub.Finding{Policy: "session-revoked", Version: 3, Rule: 1, Result: "applies", Reason: `when: signal.event.?initiating_entity.orValue("") != "user"`},
			hub.Finding{Policy: "session-revoked", Version: 3, Rule: 2, Result: "skipped", Reason: "the identity has no label contractor"})}
}

// failing: one app does not answer, and the sender does not take the receipt.
func (f *fixtures) failing() *Story {
	sig := f.signal("sig_06c1zq8m2c0g9m5a7k8b1n4q2f", revoked, "carol@example.test", order("CS-2C6D8F1H", "partial"))
	sig.IdentityName = "carol"
	crm := done("act_5", "crm", "0042", 0.05, 0, 1)
	crm.State, crm.Reason, crm.ReasonText, crm.Attempts, crm.Acted, crm.Left, crm.Level, crm.Method, crm.Evidence, crm.EvidenceHash = hub.Failed, "app_unreachable", "No answer from the application until the deadline.", 3, 0, 1, hub.Assertion, receipt.MethodAPIResponse, nil, ""
	crm.VerifiedAt = 0
	crm.Tries = []hub.Attempt{{No: 1, Op: hub.OpEndAllSessions, Request: "DELETE /admin/users/0042/sessions", Sent: at(0.1)},
		{No: 2, Op: hub.OpEndAllSessions, Request: "DELETE /admin/users/0042/sessions", Sent: at(2.1), Answered: at(7.1), Status: 503, Class: "retry", Note: "the app asks to wait 5 s"},
		{No: 3, Op: hub.OpEndAllSessions, Request: "DELETE /admin/users/0042/sessions", Sent: at(8.1), Answered: at(9.4), Status: 503, Class: "retry"}}
	lines := []receipt.Line{line("a1.1", "wiki", "succeeded", "done", 2, 2), line("a1.2", "crm", "failed", "app_unreachable", 0, 1)}
	pending := []receipt.Line{lines[0], line("a1.2", "crm", "pending", "app_unreachable", 0, 1)}
	r1 := f.receipt("rct_2", "CS-2C6D8F1H", 1, "interim", sig, "accepted", pending, receipt.Totals{Requested: 1, Lines: 2, Succeeded: 1, Pending: 1}, "pending")
	r2 := f.receipt("rct_3", "CS-2C6D8F1H", 2, "final", sig, "dead", lines, receipt.Totals{Requested: 1, Lines: 2, Succeeded: 1, Failed: 1}, "partial")
	r2.Reason, r2.Tries = "the endpoint answered 400 invalid_audience", 1
	return &Story{Signal: sig, Actions: []*hub.Action{done("act_4", "wiki", "77aa01", 0.04, 0.03, 2), crm}, Receipts: []*hub.Receipt{r1, r2},
		Decision: decision(hub.Finding{Line: "a1", Result: "applies", Reason: "the source may order revoke_sessions, at all apps"}, hub.Finding{Policy: "crm-freeze", Version: 1, Result: "error", Reason: "when: no such member: signal.event.resaon; the rule is skipped"})}
}

// running: an order whose work is under way.
func (f *fixtures) running() *Story {
	sig := f.signal("sig_06c1zs0v7w0g9m5a7k8b1n4q2g", revoked, "dave@example.test", order("CS-8G4M1R3P", ""))
	sig.IdentityName, sig.State = "dave", hub.SignalDecided
	a := done("act_6", "forum", "dave", 0.05, 0.1, 1)
	a.State, a.Reason, a.Acted, a.Left, a.Level, a.Evidence, a.EvidenceHash, a.Counted, a.VerifiedAt, a.Completed = hub.Delayed, "", 0, 1, "", nil, "", false, 0, 0
	a.Tries[0].Status, a.Tries[0].Class = 202, "accepted"
	b := &hub.Action{ID: "act_7", Name: hub.RevokeSessions, App: "crm", Reach: hub.ReachGlobal, Line: "a1", Ordered: true, State: hub.Planned, Requested: at(0.02)}
	return &Story{Signal: sig, Actions: []*hub.Action{a, b}, Decision: decision(hub.Finding{Line: "a1", Result: "applies", Reason: "the source may order revoke_sessions, at all apps"})}
}

// unresolved: nobody known fits the subject.
func (f *fixtures) unresolved() *Story {
	sig := f.signal("sig_06c1zp1d9r0g9m5a7k8b1n4q2h", credential, "erin@example.test", nil)
	sig.State, sig.Reason = hub.SignalUnresolved, "nobody known has this e-mail address"
	sig.Misses = []string{"iss_sub: the subject is an e-mail address", "email: no identity has this address", "wiki: the look-up found nobody"}
	return &Story{Signal: sig}
}

// plain: from an API client, with no order and nothing to do.
func (f *fixtures) plain() *Story {
	sig := f.signal("sig_06c1zn4k5x0g9m5a7k8b1n4q2j", credential, "bob@example.test", nil)
	sig.Token, sig.SetHash, sig.Door, sig.Source, sig.Issuer, sig.TXN, sig.IdentityName = "", "", "api", "client:helpdesk", "", "", "bob"
	sig.Event = json.RawMessage(`{"credential_type":"fido2-roaming","change_type":"revoke"}`)
	return &Story{Signal: sig, Decision: decision(hub.Finding{Policy: "credential-change", Version: 1, Result: "skipped", Reason: "mode is off"})}
}

// transmitted: given to us only to be passed on to our own streams.
func (f *fixtures) transmitted() *Story {
	sig := f.plain().Signal
	sig.IdentityName, sig.TXN = "", "txn-8675309"
	told, err := sight.Told(context.Background(), f.out, f.out, sig.TXN)
	if err != nil {
		panic(err)
	}
	return &Story{Signal: sig, Told: told}
}

// hostile: text from outside that wants to be more than text.
func (f *fixtures) hostile() *Story {
	long := strings.Repeat("W", 180)
	sig := f.signal("sig_06c1zm2h8y0g9m5a7k8b1n4q2k", "https://evil.example/"+long+"/<script>alert(1)</script>", "mallory@example.test", order("CS-<b>X</b>", "refused"))
	sig.IdentityName, sig.Source, sig.TXN = "mallory \u202egnp.exe "+long, "source\u0007\u2066"+long, `"><img src=x onerror=alert(1)>`
	sig.Event = json.RawMessage(`{"reason_admin":{"en":"</pre><script>alert(1)</script>` + long + `"}}`)
	sig.Reason = "<style>body{display:none}</style>"
	a := done("act_8", "wiki<script>", long, 0.04, 0.03, 1)
	a.ReasonText = "javascript:alert(1) \u202e" + long
	a.Tries[0].Note = "<iframe src=//evil.example>"
	l := line("a1.1", "wiki\u202e"+long, "failed", "policy_declined", 0, 1)
	r := f.receipt("rct_9", "CS-<b>X</b>", 1, "final", sig, "dead", []receipt.Line{l}, receipt.Totals{Requested: 1, Lines: 1, Failed: 1}, "refused")
	r.Reason = "<marquee>" + long
	return &Story{Signal: sig, Actions: []*hub.Action{a}, Receipts: []*hub.Receipt{r}, Decision: decision(hub.Finding{Policy: long, Version: 1, Result: "refused", Reason: "<script>alert(1)</script>"})}
}
