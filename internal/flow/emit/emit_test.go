package emit

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/receipt"
	"countersign/receiver"
	"countersign/set"
)

var now = time.Unix(1_800_000_000, 0)

// kept is the little of a store that an office needs.
type kept struct {
	sig     *hub.Signal
	actions []*hub.Action
	rows    []*hub.Receipt
	marked  *hub.Receipt
	next    *hub.Micros
	done    int
}

func (k *kept) OrderForCut(context.Context, int64) (*hub.Signal, []*hub.Action, error) {
	return k.sig, k.actions, nil
}
func (k *kept) SaveReceipt(_ context.Context, r *hub.Receipt, prev int, _ *hub.Job, next *hub.Micros) (*hub.Job, error) {
	if prev != k.sig.Order.LastSeq {
		return nil, hub.Errorf(hub.Conflict, "moved on")
	}
	k.rows, k.next = append(k.rows, r), next
	k.sig.Order.LastSeq, k.sig.Order.LastHash, k.sig.Order.Stage = r.No, r.Hash, r.Stage
	return &hub.Job{Kind: "send"}, nil
}
func (k *kept) ReceiptBySeq(context.Context, int64) (*hub.Receipt, error) { return k.rows[0], nil }
func (k *kept) SignalBySeq(context.Context, int64) (*hub.Signal, error)   { return k.sig, nil }
func (k *kept) MarkReceipt(_ context.Context, r *hub.Receipt, _ *hub.Job, next *hub.Micros) error {
	k.marked, k.next = r, next
	return nil
}
func (k *kept) Enqueue(context.Context, string, hub.Job) error { return nil }

func (k *kept) FinishJob(_ context.Context, _ *hub.Job, next *hub.Micros) error {
	k.done++
	k.next = next
	return nil
}

type office struct {
	*Office
	*kept
	off    bool
	signer *set.Signer
	idp    *set.Signer
	clock  time.Time
}

func newOffice(t *testing.T, directive string) *office {
	t.Helper()
	o := &office{kept: &kept{}, clock: now.Add(5 * time.Second)}
	var err error
	sign := func(kid string) *set.Signer {
		key, gerr := set.GenerateKey(set.EdDSA)
		if gerr != nil {
			t.Fatal(gerr)
		}
		s, gerr := set.NewSigner(set.EdDSA, kid, key)
		if gerr != nil {
			t.Fatal(gerr)
		}
		return s
	}
	o.signer, o.idp = sign("r1"), sign("t1")
	c := set.Claims{Issuer: "https://idp.example.test", Audience: []string{"https://hub.example.test"}, IssuedAt: now.Unix(), ID: "order-1", TXN: "txn-1",
		SubID: json.RawMessage(`{"format":"email","email":"alice@example.test"}`), Events: []set.Event{{Type: "https://schemas.openid.net/secevent/caep/event-type/session-revoked", Payload: json.RawMessage(`{}`)}},
		Extra: []set.Member{{Name: receipt.Default().Directive, Value: json.RawMessage(directive)}}}
	payload, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	token, err := o.idp.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	u, err := set.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	o.sig = &hub.Signal{Seq: 1, ID: "sig_1", Tenant: "default", Source: "idp", Issuer: c.Issuer, JTI: c.ID, TXN: c.TXN, EventType: c.Events[0].Type, SubID: c.SubID,
		SetHash: u.Address(), Token: token, Received: hub.At(now), State: hub.SignalDone,
		Order: &hub.Order{Directive: json.RawMessage(directive), ReceiptNo: "CS-TEST0001", ReceiptIssuer: "https://hub.example.test", ReceiptAudience: "https://idp.example.test", Endpoint: "https://idp.example.test/receipts"}}
	o.Office = New(Config{Store: o.kept, Client: http.DefaultClient, Now: func() time.Time { return o.clock },
		Answer: func(context.Context, string, string) (*Answer, error) {
			return &Answer{Signer: o.signer, Off: o.off}, nil
		},
		Complete: func(_, kid, input string) (string, error) { return o.signer.Complete(input) },
		Secret:   func(tenant string) []byte { return []byte("secret of " + tenant) },
		Merchant: receipt.Merchant{Name: "Test hub", Software: "countersign/test"}, Register: receipt.Register{ID: "n1"}})
	return o
}

func done(app, account, line string) *hub.Action {
	at := hub.At(now)
	return &hub.Action{Name: hub.RevokeSessions, App: app, Account: account, Ordered: line != "x", Line: line, Reach: hub.ReachGlobal, State: hub.Succeeded, Reason: "done", Attempts: 1,
		Counted: true, Found: 2, Acted: 2, Unit: "sessions", Level: hub.Verified, Method: "read_back", Requested: at, Started: at + 1e6, Completed: at + 2e6, VerifiedAt: at + 3e6,
		EvidenceHash: "sha-256:" + strings.Repeat("A", 43)}
}

// cutNow cuts, and reads what was fixed for signing back from the payload.
func (o *office) cutNow(t *testing.T) (*hub.Receipt, *receipt.Receipt) {
	t.Helper()
	n := len(o.rows)
	if err := o.DoCut(context.Background(), &hub.Job{Kind: "cut", Ref: 1}); err != nil {
		t.Fatal(err)
	}
	if len(o.rows) == n {
		return nil, nil
	}
	row := o.rows[len(o.rows)-1]
	token, err := o.signer.Complete(row.Input)
	if err != nil {
		t.Fatal(err)
	}
	u, err := set.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	if u.Address() != row.Hash {
		t.Error("the content address is not that of the signing input")
	}
	c := u.Claims()
	if len(c.Events) != 1 || c.Events[0].Type != receipt.Default().Event || c.Issuer != "https://hub.example.test" || c.TXN != "txn-1" || c.ID != row.JTI {
		t.Errorf("claims %+v", c)
	}
	var r receipt.Receipt
	if err := json.Unmarshal(c.Events[0].Payload, &r); err != nil {
		t.Fatal(err)
	}
	return row, &r
}

func ids(r *receipt.Receipt) (out []string) {
	for _, l := range r.Lines {
		out = append(out, fmt.Sprintf("%s %s %s/%s x%d", l.ID, l.Action, l.Status, l.Reason, max(l.Quantity, 1)))
	}
	return out
}

func want(t *testing.T, r *receipt.Receipt, lines ...string) {
	t.Helper()
	if d := cmp.Diff(lines, ids(r)); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
}

const two = `{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions","params":{"reach":"global"}},{"id":"a2","action":"reauthenticate","optional":true}],"receipt":{"when":%q,"evidence":%q,"detail":%q}}`

func TestLinesOfAnOrder(t *testing.T) {
	o := newOffice(t, fmt.Sprintf(two, "final", "verified", "per_target"))
	hidden := done("hr", "", "a1")
	hidden.State, hidden.Reason, hidden.Hidden = hub.Skipped, "no_such_subject", true
	o.actions = []*hub.Action{done("wiki", "7", "a1"), hidden, done("crm", "7", "a1"), done("wiki", "7", "x")}
	_, r := o.cutNow(t)
	want(t, r, "a1.1 revoke_sessions succeeded/done x1", "a1.2 revoke_sessions succeeded/done x1", "x.1 revoke_sessions succeeded/done x1")
	if r.Outcome != "fulfilled" || r.Totals.Requested != 2 || r.Totals.Lines != 3 || r.Stage != "final" || r.Supersedes != nil {
		t.Errorf("%+v", r)
	}
	a, b := r.Lines[0].Target, r.Lines[1].Target
	if a.ID == b.ID || !strings.HasPrefix(a.ID, "p-") || strings.Contains(a.ID, "7") && len(a.ID) < 10 {
		t.Errorf("pseudonyms %q and %q of one account id at two apps", a.ID, b.ID)
	}
	if got := receipt.Ref("https://idp.example.test", "order-1", "a1", "revoke_sessions", "wiki", a.ID); r.Lines[0].Ref != got || o.Ref(o.sig, o.actions[0]) != got {
		t.Errorf("ref %s, idempotency key %s, want %s", r.Lines[0].Ref, o.Ref(o.sig, o.actions[0]), got)
	}
	req.Covers(t, "A19", "A28", "A13", "AR-§8")
}

func TestNobodyAnywhereIsOneLine(t *testing.T) {
	o := newOffice(t, fmt.Sprintf(two, "final", "assertion", "per_target"))
	for _, app := range []string{"wiki", "crm"} {
		a := done(app, "", "a1")
		a.State, a.Reason, a.Hidden = hub.Skipped, "no_such_subject", true
		o.actions = append(o.actions, a)
	}
	_, r := o.cutNow(t)
	want(t, r, "a1 revoke_sessions skipped/no_such_subject x1")
	if r.Outcome != "unfulfilled" || r.Lines[0].Target != nil || r.Lines[0].Reach != "global" {
		t.Errorf("%s %+v", r.Outcome, r.Lines[0])
	}
	req.Covers(t, "B2", "A39")
}

// Counts reveal usage: they are printed only when counted or more was asked, and without them the level is no better.
func TestCountsOnlyWhenAsked(t *testing.T) {
	o := newOffice(t, fmt.Sprintf(two, "final", "assertion", "per_target"))
	o.actions = []*hub.Action{done("wiki", "7", "a1")}
	_, r := o.cutNow(t)
	if l := r.Lines[0]; l.Counts != nil || l.Evidence.Level != "assertion" {
		t.Errorf("%+v %+v", l.Counts, l.Evidence)
	}
	req.Covers(t, "A17")
}

func TestSummary(t *testing.T) {
	o := newOffice(t, fmt.Sprintf(two, "final", "verified", "summary"))
	failed := done("hr", "7", "a1")
	failed.State, failed.Reason, failed.Left, failed.Acted = hub.Failed, "app_error", 2, 0
	o.actions = []*hub.Action{done("wiki", "7", "a1"), failed, done("crm", "8", "a1")}
	_, r := o.cutNow(t)
	want(t, r, "a1.1 revoke_sessions succeeded/done x2", "a1.2 revoke_sessions failed/app_error x1")
	if r.Totals.Lines != 3 || r.Totals.Succeeded != 2 || r.Outcome != "partial" || r.Lines[0].Target != nil || *r.Lines[0].Counts.Found != 4 || r.Lines[0].Evidence.Hash != "" || r.Lines[0].Evidence.Level != "counted" {
		t.Errorf("%+v %+v", r.Totals, r.Lines[0])
	}
	req.Covers(t, "A14")
}

func TestInterimOnlyWhenAllIsAsked(t *testing.T) {
	open := done("wiki", "7", "a1")
	open.State, open.Reason = hub.Planned, "app_unreachable"
	o := newOffice(t, fmt.Sprintf(two, "final", "assertion", "per_target"))
	o.actions = []*hub.Action{open}
	if row, _ := o.cutNow(t); row != nil || o.done != 1 {
		t.Error("an interim that nobody asked for")
	}
	o = newOffice(t, fmt.Sprintf(two, "all", "assertion", "per_target"))
	o.actions = []*hub.Action{open}
	first, r := o.cutNow(t)
	want(t, r, "a1.1 revoke_sessions pending/app_unreachable x1")
	if r.Stage != "interim" || r.NextUpdateBy == 0 || o.next == nil || o.next.Seconds() != r.NextUpdateBy || r.Lines[0].Evidence != nil {
		t.Errorf("%+v, next %v", r, o.next)
	}
	if row, _ := o.cutNow(t); row != nil {
		t.Error("a second interim that says nothing new")
	}
	o.actions = []*hub.Action{done("wiki", "7", "a1")}
	_, r = o.cutNow(t)
	if r.Seq != 2 || r.Stage != "final" || r.NextUpdateBy != 0 || r.Supersedes == nil || r.Supersedes.Seq != 1 || r.Supersedes.Hash != first.Hash || r.Number != "CS-TEST0001" {
		t.Errorf("%+v", r)
	}
	req.Covers(t, "A25", "A43", "A44")
}

func TestWhatIsKeptAndNotSent(t *testing.T) {
	report := `{"obligation":"report","actions":[{"id":"a1","action":"revoke_sessions"}],"receipt":{"when":"exceptions"}}`
	o := newOffice(t, report)
	o.actions = []*hub.Action{done("wiki", "7", "a1")}
	if row, _ := o.cutNow(t); row.State != "kept" {
		t.Errorf("exceptions only, fulfilled: %s", row.State)
	}
	o = newOffice(t, report)
	bad := done("wiki", "7", "a1")
	bad.State, bad.Reason = hub.Failed, "app_error"
	o.actions = []*hub.Action{bad}
	if row, _ := o.cutNow(t); row.State != "queued" {
		t.Errorf("exceptions only, unfulfilled: %s", row.State)
	}
	o = newOffice(t, fmt.Sprintf(two, "final", "assertion", "per_target"))
	o.off, o.actions = true, []*hub.Action{done("wiki", "7", "a1")}
	if row, _ := o.cutNow(t); row.State != "kept" {
		t.Errorf("switched off: %s", row.State)
	}
	req.Covers(t, "A34")
}

// What we show at the receipt endpoint is not kept where the endpoint sends it back.
func TestCredentialSentBack(t *testing.T) {
	const token = "the-token-at-the-idp"
	for name, answer := range map[string]func(http.ResponseWriter){
		"in the answer": func(w http.ResponseWriter) {
			w.WriteHeader(400)
			fmt.Fprintf(w, `{"err":"%s","description":"you sent Bearer %s","receipt_error":"%s"}`, token, token, token)
		},
		"as a status line": func(w http.ResponseWriter) {
			if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
				fmt.Fprintf(c, "Bearer %s\r\n\r\n", token)
				c.Close()
			}
		},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
		o := newOffice(t, fmt.Sprintf(two, "final", "assertion", "per_target"))
		o.sig.Order.Endpoint = srv.URL
		o.actions = []*hub.Action{done("wiki", "7", "a1")}
		row, _ := o.cutNow(t)
		e := o.post(t.Context(), row, &Answer{Credential: receiver.Bearer(token)})
		srv.Close()
		if strings.Contains(e.reason, token) || !strings.Contains(e.reason, "***") {
			t.Errorf("%s: %s", name, e.reason)
		}
	}
}

// Each answer of the receipt endpoint has its one consequence (receipts design §6.5).
func TestDelivery(t *testing.T) {
	for name, tc := range map[string]struct {
		status  int
		body    string
		header  string
		tries   int
		age     time.Duration
		state   string
		atLeast time.Duration
		reason  string
	}{
		"accepted":               {status: 202, state: "accepted"},
		"down":                   {status: 503, state: "queued", atLeast: 500 * time.Millisecond, reason: "503"},
		"too fast":               {status: 429, header: "120", state: "queued", atLeast: 120 * time.Second, reason: "429"},
		"slow":                   {status: 408, state: "queued", reason: "408"},
		"one 401":                {status: 401, state: "queued", reason: "401"},
		"a second 401":           {status: 401, tries: 1, state: "dead", reason: "401"},
		"refused":                {status: 400, body: `{"err":"invalid_request","description":"no \u001b[2J","receipt_error":"totals_mismatch"}`, state: "dead", reason: "totals_mismatch"},
		"gone":                   {status: 410, state: "dead", reason: "410"},
		"long back-off":          {status: 500, tries: 30, state: "queued", atLeast: 30 * time.Minute, reason: "500"},
		"down after three days":  {status: 500, age: 73 * time.Hour, state: "dead", reason: "given up"},
		"down, complete_by late": {status: 500, age: 73 * time.Hour, state: "queued", reason: "500"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = append(got, r.Header.Get("Content-Type"))
				if tc.header != "" {
					w.Header().Set("Retry-After", tc.header)
				}
				w.WriteHeader(tc.status)
				w.Write([]byte(tc.body))
			}))
			defer srv.Close()
			o := newOffice(t, fmt.Sprintf(two, "final", "assertion", "per_target"))
			o.sig.Order.Endpoint = srv.URL
			o.actions = []*hub.Action{done("wiki", "7", "a1")}
			row, _ := o.cutNow(t)
			row.Tries = tc.tries
			if strings.Contains(name, "complete_by late") {
				o.sig.Order.CompleteBy = now.Add(100 * time.Hour).Unix()
			}
			o.clock = o.clock.Add(tc.age)
			if err := o.DoSend(context.Background(), &hub.Job{Kind: "send"}, row); err != nil {
				t.Fatal(err)
			}
			if row.State != tc.state || !strings.Contains(row.Reason, tc.reason) || strings.Contains(row.Reason, "\x1b") {
				t.Errorf("%s %q, want %s %q", row.State, row.Reason, tc.state, tc.reason)
			}
			if len(got) != 1 || got[0] != "application/secevent+jwt" {
				t.Errorf("requests %q", got)
			}
			if (o.next != nil) != (tc.state == "queued") {
				t.Fatalf("next %v", o.next)
			}
			if o.next != nil && o.next.Time().Sub(o.clock) < tc.atLeast {
				t.Errorf("tried again after %s, want at least %s", o.next.Time().Sub(o.clock), tc.atLeast)
			}
			if row.Token == "" || !strings.HasPrefix(row.Token, row.Input+".") {
				t.Error("the token is not the signing input with its signature")
			}
		})
	}
	req.Covers(t, "AR-§6.5")
}

// A source that was given another issuer still answers the orders of the old one, and does not show it what shows us to the new
// one.
func TestCredentialIsNotForTheIssuerBefore(t *testing.T) {
	for name, tc := range map[string]struct {
		issuer, endpoint string // of the source now; empty: the address of the order
		want             string
	}{
		"as it was":           {"https://idp.example.test", "", "Bearer for-the-new-one"},
		"another address":     {"https://idp.example.test", "https://idp.example.test/receipts2", "Bearer for-the-new-one"},
		"another issuer":      {"https://new.example.test", "https://new.example.test/receipts", ""},
		"another, and no end": {"https://new.example.test", "none", ""},
	} {
		shown := "nothing came"
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			shown = r.Header.Get("Authorization")
			w.WriteHeader(202)
		}))
		o := newOffice(t, fmt.Sprintf(two, "final", "assertion", "per_target"))
		o.sig.Order.Endpoint = srv.URL
		o.actions = []*hub.Action{done("wiki", "7", "a1")}
		row, _ := o.cutNow(t)
		ans := &Answer{Credential: receiver.Bearer("for-the-new-one"), Issuer: tc.issuer, Endpoint: tc.endpoint}
		if tc.endpoint == "" {
			ans.Endpoint = srv.URL
		}
		e := o.post(t.Context(), row, ans)
		srv.Close()
		if !e.accepted || shown != tc.want {
			t.Errorf("%s: shown %q, %+v", name, shown, e)
		}
	}
}
