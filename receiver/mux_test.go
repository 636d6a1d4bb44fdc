package receiver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/risc"
	"countersign/event/ssf"
	"countersign/internal/req"
	"countersign/receipt"
	"countersign/receiver"
	"countersign/set"
	"countersign/ssftest"
	"countersign/stream"
)

// till is a transmitter's receipt endpoint without a network: it judges what comes as design §6.2 says, and keeps it.
type till struct {
	t       *testing.T
	mu      sync.Mutex
	orders  map[string]*receipt.Order // by jti
	known   map[string][]receipt.Known
	taken   []*receipt.Receipt
	answers []int // in place of the next ones
	asked   int
	shown   []string
}

func (x *till) RoundTrip(r *http.Request) (*http.Response, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked++
	x.shown = append(x.shown, r.Header.Get("Authorization"))
	body, _ := io.ReadAll(r.Body)
	if len(x.answers) > 0 {
		status := x.answers[0]
		x.answers = x.answers[1:]
		if status == 0 {
			return nil, errors.New("connection reset")
		}
		if status != 202 {
			return say(status, `{"err":"invalid_request","receipt_error":"schema","description":"no"}`), nil
		}
	}
	token, err := set.Verify(r.Context(), string(body), &set.Policy{Issuer: "https://app.example.com", Audience: []string{issuer}, Algorithms: set.Algorithms(),
		Keys: set.StaticKeys{ssftest.Signer(set.EdDSA, "till-1").Public()}, ExactType: true, RequireKeyID: true})
	if err != nil || r.URL.String() != "https://idp.example.test/receipts" || r.Header.Get("Content-Type") != receiver.MediaType {
		x.t.Errorf("at %s: %v", r.URL, err)
		return say(400, ""), nil
	}
	claims := token.Claims()
	_, jti, err := receipt.Named(&claims)
	if err != nil {
		x.t.Error(err)
	}
	got, how, problem := receipt.Check(x.orders[jti], token, x.known[jti], time.Now().Unix(), receipt.Default())
	if problem != nil {
		x.t.Errorf("receipt refused: %v", problem)
		return say(400, ""), nil
	}
	if how != receipt.Identical {
		x.taken = append(x.taken, got)
		x.known[jti] = append(x.known[jti], receipt.KnownOf(token, got))
	}
	return say(202, ""), nil
}

func (x *till) receipts() []*receipt.Receipt {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.taken)
}

// shop is an application with a Mux, in a bubble.
type shop struct {
	t     *testing.T
	mux   *receiver.Mux
	inbox receiver.Inbox
	till  *till
	sent  []error
	stop  func()
}

func newShop(t *testing.T, inbox receiver.Inbox, adjust func(*receiver.MuxConfig), register func(*receiver.Mux)) *shop {
	t.Helper()
	s := &shop{t: t, inbox: inbox, till: &till{t: t, orders: map[string]*receipt.Order{}, known: map[string][]receipt.Known{}}}
	s.start(adjust, register)
	return s
}

// start makes a Mux on the inbox and runs it, as a process does that begins.
func (s *shop) start(adjust func(*receiver.MuxConfig), register func(*receiver.Mux)) {
	s.t.Helper()
	cfg := receiver.MuxConfig{
		Issuer: issuer, Audience: []string{audience}, Keys: set.StaticKeys{newSigner().Public()}, Algorithms: set.Algorithms(), StreamID: streamID,
		Inbox: s.inbox, HTTP: &http.Client{Transport: s.till}, Log: slog.New(slog.DiscardHandler),
		Receipts: &receiver.Receipts{
			Signer: ssftest.Signer(set.EdDSA, "till-1"), Issuer: "https://app.example.com", Endpoint: "https://idp.example.test/receipts",
			Credential: receiver.Bearer("token-1"), Sent: func(_ *receipt.Receipt, err error) { s.sent = append(s.sent, err) },
		},
	}
	if adjust != nil {
		adjust(&cfg)
	}
	var err error
	if s.mux, err = receiver.NewMux(cfg); err != nil {
		s.t.Fatal(err)
	}
	if register != nil {
		register(s.mux)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.mux.Run(ctx) }()
	s.stop = func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	}
}

// token signs an event about jane; a directive makes it an order, which the till knows.
func (s *shop) token(jti, typ, payload, directive string) string {
	s.t.Helper()
	c := claims()
	c.ID, c.IssuedAt = jti, time.Now().Unix()
	c.Events = []set.Event{{Type: typ, Payload: json.RawMessage(payload)}}
	if typ == ssf.VerificationURI || typ == ssf.StreamUpdatedURI {
		c.SubID = json.RawMessage(`{"format":"opaque","id":"` + streamID + `"}`)
	}
	if directive != "" {
		c.Extra = []set.Member{{Name: receipt.Default().Directive, Value: json.RawMessage(directive)}}
	}
	return s.signed(c)
}

func (s *shop) signed(c *set.Claims) string {
	compact := sign(s.t, c)
	u, err := set.Parse(compact)
	if err != nil {
		s.t.Fatal(err)
	}
	if o, err := receipt.OrderOf(u, receipt.Default()); err == nil {
		o.ReceiptIssuer, o.ReceiptAudience = "https://app.example.com", issuer
		s.till.orders[c.ID] = o
	}
	return compact
}

// take pushes a token and wants this status.
func (s *shop) take(compact string, want int) *httptest.ResponseRecorder {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, push(compact))
	if w.Code != want {
		s.t.Errorf("answer %d %s, want %d", w.Code, w.Body, want)
	}
	return w
}

// only gives the one receipt that was taken.
func (s *shop) only() *receipt.Receipt {
	s.t.Helper()
	all := s.till.receipts()
	if len(all) != 1 {
		s.t.Fatalf("%d receipts", len(all))
	}
	return all[0]
}

const (
	revoke   = `{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}]}`
	watching = `{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"receipt":{"when":"all"}}`
)

func TestMuxCallsOnce(t *testing.T) {
	req.Covers(t, "RX-35", "RX-58", "RX-64", "RX-67", "RX-69", "RX-78", "RX-102", "RX-103")
	synctest.Test(t, func(t *testing.T) {
		var got []*receiver.SessionRevoked
		register := func(m *receiver.Mux) {
			m.OnSessionRevoked(func(_ context.Context, s *receiver.SessionRevoked) (receipt.Line, error) {
				got = append(got, s)
				return receipt.Line{}, nil
			})
		}
		s := newShop(t, receiver.Memory(), nil, register)
		first := s.token("j1", caep.SessionRevokedURI, `{"event_timestamp":1,"reason_admin":{"en":"<b>x</b>"}}`, "")
		s.take(first, 202)
		s.take(first, 202)
		synctest.Wait()
		s.take(first, 202)
		// Another token of the same transaction is another signal.
		s.take(s.token("j2", caep.SessionRevokedURI, `{}`, ""), 202)
		synctest.Wait()
		s.stop()
		s.start(nil, register) // a restart repeats nothing
		s.take(first, 202)
		time.Sleep(time.Hour)
		if len(got) != 2 || got[0].ID != "j1" || got[1].ID != "j2" || got[0].TXN != got[1].TXN {
			t.Fatalf("%d calls: %+v", len(got), got)
		}
		email, _ := got[0].Subject.Email()
		if got[0].Issuer != issuer || email != "jane@example.com" || got[0].Event.ReasonAdmin["en"] != "<b>x</b>" || got[0].Try != 1 || got[0].Ref == "" ||
			got[0].Ref == got[1].Ref || got[0].Order != nil || got[0].Token != first || got[0].Type.Name != "caep/session-revoked" {
			t.Errorf("%+v", got[0])
		}
		// A jti that was used for another token is refused.
		s.take(s.token("j1", caep.SessionRevokedURI, `{"event_timestamp":2}`, ""), 400)
		if s.till.asked != 0 {
			t.Error("a receipt for a signal that is no order")
		}
		s.stop()
	})
}

func TestMuxTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		refs := map[string]bool{}
		s := newShop(t, receiver.Memory(), func(c *receiver.MuxConfig) { c.Patience = time.Hour }, func(m *receiver.Mux) {
			m.OnSessionRevoked(func(_ context.Context, s *receiver.SessionRevoked) (receipt.Line, error) {
				at = append(at, time.Now())
				refs[s.Ref] = true
				switch {
				case s.ID == "never":
					return receipt.Line{}, errors.New("no")
				case s.Try == 1:
					panic("a bug")
				case s.Try == 2:
					return receipt.Line{}, errors.New("database down")
				case s.Try == 3:
					return receipt.Line{Status: receipt.Pending}, nil
				}
				return receipt.Line{}, nil
			})
		})
		s.take(s.token("j1", caep.SessionRevokedURI, `{}`, ""), 202)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if len(at) != 4 || len(refs) != 1 || at[1].Sub(at[0]) > 2*time.Second {
			t.Errorf("called at %v under %d names", at, len(refs))
		}
		at = nil
		s.take(s.token("never", caep.SessionRevokedURI, `{}`, ""), 202)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if len(at) < 12 || at[len(at)-1].Sub(at[0]) > 70*time.Minute {
			t.Errorf("called %d times, at last after %s", len(at), at[len(at)-1].Sub(at[0]))
		}
		s.stop()
	})
}

func TestMuxAnswersOrders(t *testing.T) {
	counts := receipt.CountsOf("session", 3, 3, 0)
	for name, c := range map[string]struct {
		directive string
		line      receipt.Line
		outcome   string
		status    string
		reason    string
		look      func(t *testing.T, r *receipt.Receipt)
	}{
		"nothing said":   {revoke, receipt.Line{}, receipt.OutcomeFulfilled, receipt.Succeeded, "done", nil},
		"already gone":   {revoke, receipt.Line{Status: receipt.Skipped, Reason: "already_gone"}, receipt.OutcomeFulfilled, receipt.Skipped, "already_gone", nil},
		"failed":         {revoke, receipt.Line{Status: receipt.Failed, Reason: "app_unreachable", ReasonText: map[string]string{"en": "it is down"}}, receipt.OutcomeUnfulfilled, receipt.Failed, "app_unreachable", nil},
		"failed somehow": {revoke, receipt.Line{Status: receipt.Failed}, receipt.OutcomeUnfulfilled, receipt.Failed, "app_error", nil},
		"declined":       {revoke, receipt.Line{Status: receipt.Failed, Reason: "policy_declined"}, receipt.OutcomeRefused, receipt.Failed, "policy_declined", nil},
		"counts not asked": {revoke, receipt.Line{Counts: counts}, receipt.OutcomeFulfilled, receipt.Succeeded, "done", func(t *testing.T, r *receipt.Receipt) {
			if l := r.Lines[0]; l.Counts != nil || l.Reached() != receipt.Assertion {
				t.Errorf("%+v", l)
			}
		}},
		"counts asked": {`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"receipt":{"evidence":"counted"}}`, receipt.Line{Counts: counts}, receipt.OutcomeFulfilled, receipt.Succeeded, "done", func(t *testing.T, r *receipt.Receipt) {
			if l := r.Lines[0]; l.Counts == nil || *l.Counts.Acted != 3 || l.Reached() != receipt.Counted {
				t.Errorf("%+v", l)
			}
		}},
		"a target": {`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions","target":{"app":"wiki"}}]}`, receipt.Line{Target: &receipt.Target{App: "x", Kind: "account", ID: "p-1"}}, receipt.OutcomeFulfilled, receipt.Succeeded, "done", func(t *testing.T, r *receipt.Receipt) {
			if l := r.Lines[0]; l.ID != "a1.1" || l.Target.App != "wiki" || l.Target.ID != "p-1" || l.Ref != receipt.Ref(issuer, "j1", "a1", "revoke_sessions", "wiki", "p-1") {
				t.Errorf("%+v", l)
			}
		}},
		"summary": {`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"receipt":{"detail":"summary"}}`, receipt.Line{Target: &receipt.Target{App: "x"}}, receipt.OutcomeFulfilled, receipt.Succeeded, "done", func(t *testing.T, r *receipt.Receipt) {
			if l := r.Lines[0]; l.ID != "a1" || l.Target != nil || l.Quantity != 1 {
				t.Errorf("%+v", l)
			}
		}},
		"default action":      {`{"obligation":"must"}`, receipt.Line{}, receipt.OutcomeFulfilled, receipt.Succeeded, "done", nil},
		"no such pair":        {revoke, receipt.Line{Status: receipt.Succeeded, Reason: "withdrawn"}, receipt.OutcomeUnfulfilled, receipt.Failed, "internal_error", nil},
		"no such status":      {revoke, receipt.Line{Status: "great"}, receipt.OutcomeUnfulfilled, receipt.Failed, "internal_error", nil},
		"impossible counts":   {`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"receipt":{"evidence":"counted"}}`, receipt.Line{Counts: receipt.CountsOf("session", 1, 3, 0)}, receipt.OutcomeFulfilled, receipt.Succeeded, "done", nil},
		"narrower than asked": {revoke, receipt.Line{Reach: receipt.ReachSession}, receipt.OutcomeFulfilled, receipt.Succeeded, "done", nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShop(t, receiver.Memory(), nil, func(m *receiver.Mux) {
					m.OnSessionRevoked(func(_ context.Context, s *receiver.SessionRevoked) (receipt.Line, error) {
						if s.Order == nil || s.Action.Action != "revoke_sessions" || s.Ref == "" {
							t.Errorf("%+v", s)
						}
						return c.line, nil
					})
				})
				s.take(s.token("j1", caep.SessionRevokedURI, `{}`, c.directive), 202)
				synctest.Wait()
				r := s.only()
				l := r.Lines[0]
				if r.Stage != receipt.StageFinal || r.Outcome != c.outcome || l.Status != c.status || l.Reason != c.reason || len(r.Lines) != 1 {
					t.Errorf("%s %s: %+v", r.Stage, r.Outcome, l)
				}
				if c.look != nil {
					c.look(t, r)
				}
				if len(s.sent) != 1 || s.sent[0] != nil || s.till.shown[0] != "Bearer token-1" {
					t.Errorf("told %v, shown %q", s.sent, s.till.shown)
				}
				s.stop()
			})
		})
	}
}

func TestMuxOrdersWithoutFunction(t *testing.T) {
	for name, c := range map[string]struct {
		directive string
		adjust    func(*receiver.MuxConfig)
		register  bool
		outcome   string
		reason    string
	}{
		"no function":    {revoke, nil, false, receipt.OutcomeRefused, "not_supported"},
		"not agreed":     {revoke, func(c *receiver.MuxConfig) { c.Receipts.Actions = []string{"disable_account"} }, true, receipt.OutcomeRefused, "not_supported"},
		"refused whole":  {`{"obligation":"must","crit":["x"],"x":1,"actions":[{"id":"a1","action":"revoke_sessions"}]}`, nil, true, receipt.OutcomeRefused, receipt.InvalidDirective},
		"came too late":  {`{"obligation":"must","not_after":NOW-1,"actions":[{"id":"a1","action":"revoke_sessions"}]}`, nil, true, receipt.OutcomeRefused, "expired"},
		"after deadline": {`{"obligation":"must","complete_by":NOW+600,"actions":[{"id":"a1","action":"revoke_sessions"}]}`, nil, true, receipt.OutcomeUnfulfilled, "timed_out"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShop(t, receiver.Memory(), c.adjust, func(m *receiver.Mux) {
					if c.register {
						m.OnSessionRevoked(func(context.Context, *receiver.SessionRevoked) (receipt.Line, error) {
							return receipt.Line{}, errors.New("down")
						})
					}
				})
				now := time.Now().Unix()
				directive := strings.NewReplacer("NOW-1", fmt.Sprint(now-1), "NOW+600", fmt.Sprint(now+600)).Replace(c.directive)
				s.take(s.token("j1", caep.SessionRevokedURI, `{}`, directive), 202)
				time.Sleep(9*time.Minute + 55*time.Second)
				synctest.Wait()
				if r := s.only(); r.Outcome != c.outcome || r.Lines[0].Reason != c.reason {
					t.Errorf("%s: %+v", r.Outcome, r.Lines)
				}
				s.stop()
			})
		})
	}
}

func TestMuxInterimThenFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ready atomic.Bool
		s := newShop(t, receiver.Memory(), nil, func(m *receiver.Mux) {
			m.OnSessionRevoked(func(context.Context, *receiver.SessionRevoked) (receipt.Line, error) {
				if !ready.Load() {
					return receipt.Line{Status: receipt.Pending, Reason: "awaiting_approval"}, nil
				}
				return receipt.Line{}, nil
			})
		})
		s.take(s.token("j1", caep.SessionRevokedURI, `{}`, watching), 202)
		time.Sleep(10 * time.Minute)
		if r := s.only(); r.Stage != receipt.StageInterim || r.Outcome != receipt.OutcomePending || r.Lines[0].Reason != "awaiting_approval" || r.NextUpdateBy == 0 {
			t.Errorf("%+v", r)
		}
		ready.Store(true)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		all := s.till.receipts()
		if len(all) != 2 || all[1].Stage != receipt.StageFinal || all[1].Seq != 2 || all[1].Number != all[0].Number || all[1].Outcome != receipt.OutcomeFulfilled {
			t.Errorf("%+v", all)
		}
		// Who asks for the final one only gets no other, and who asks for exceptions none of a success.
		for jti, when := range map[string]string{"final": "final", "exceptions": "exceptions"} {
			s.take(s.token(jti, caep.SessionRevokedURI, `{}`, strings.NewReplacer(`"all"`, `"`+when+`"`, "must", "report").Replace(watching)), 202)
		}
		time.Sleep(time.Hour)
		if all := s.till.receipts(); len(all) != 3 {
			for _, r := range all {
				t.Errorf("receipt %s %s %s", r.Number, r.Stage, r.Outcome)
			}
		}
		s.stop()
	})
}

func TestMuxSendsUntilTaken(t *testing.T) {
	for name, c := range map[string]struct {
		answers []int
		taken   int
		asked   int
		end     error
	}{
		"trouble":          {[]int{500, 0, 429, 408}, 1, 5, nil},
		"no such order":    {[]int{400}, 0, 1, errors.New("400")},
		"not allowed":      {[]int{403}, 0, 1, errors.New("403")},
		"unknown token":    {[]int{401}, 0, 1, errors.New("401")},
		"trouble for days": {slices.Repeat([]int{503}, 5000), 0, 0, errors.New("503")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				s := newShop(t, receiver.Memory(), nil, func(m *receiver.Mux) {
					m.OnSessionRevoked(func(context.Context, *receiver.SessionRevoked) (receipt.Line, error) {
						calls++
						return receipt.Line{}, nil
					})
				})
				s.till.answers = c.answers
				s.take(s.token("j1", caep.SessionRevokedURI, `{}`, revoke), 202)
				time.Sleep(96 * time.Hour)
				if n := len(s.till.receipts()); n != c.taken || calls != 1 || len(s.sent) != 1 || (s.sent[0] == nil) != (c.end == nil) || c.end != nil && !strings.Contains(s.sent[0].Error(), c.end.Error()) {
					t.Errorf("%d receipts, %d calls, told %v", n, calls, s.sent)
				}
				if c.asked != 0 && s.till.asked != c.asked || s.till.asked > 300 {
					t.Errorf("%d tries", s.till.asked)
				}
				s.stop()
			})
		})
	}
}

func TestMuxRenewsForReceipts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cred := &counter{}
		s := newShop(t, receiver.Memory(), func(c *receiver.MuxConfig) { c.Receipts.Credential = cred }, func(m *receiver.Mux) {
			m.OnSessionRevoked(func(context.Context, *receiver.SessionRevoked) (receipt.Line, error) { return receipt.Line{}, nil })
		})
		s.till.answers = []int{401}
		s.take(s.token("j1", caep.SessionRevokedURI, `{}`, revoke), 202)
		synctest.Wait()
		if s.only(); cred.n != 1 || !slices.Equal(s.till.shown, []string{"Bearer t0", "Bearer t1"}) {
			t.Errorf("renewed %d times, shown %q", cred.n, s.till.shown)
		}
		s.stop()
	})
}

// counter is a credential that is another one after each renewal.
type counter struct{ n int }

func (c *counter) Authorize(r *http.Request) error {
	r.Header.Set("Authorization", fmt.Sprint("Bearer t", c.n))
	return nil
}
func (c *counter) Renew(*http.Request) bool { c.n++; return true }

// mortal is an Inbox whose process dies at the n-th writing: nothing is written from then on.
type mortal struct {
	receiver.Inbox
	left int
	dead bool
}

func (m *mortal) write(do func() error) error {
	if m.dead || m.left == 0 {
		m.dead = true
		return errors.New("the process is dead")
	}
	m.left--
	return do()
}

func (m *mortal) Claim(ctx context.Context, now, until time.Time) (item receiver.Item, ok bool, err error) {
	if m.dead {
		return item, false, errors.New("the process is dead")
	}
	return m.Inbox.Claim(ctx, now, until)
}
func (m *mortal) Save(ctx context.Context, item receiver.Item) error {
	return m.write(func() error { return m.Inbox.Save(ctx, item) })
}
func (m *mortal) Done(ctx context.Context, key string) error {
	return m.write(func() error { return m.Inbox.Done(ctx, key) })
}

func TestMuxSurvivesDeath(t *testing.T) {
	req.Covers(t, "RX-103")
	for left, want := range []struct{ calls, asked int }{
		0: {2, 1}, // before the line was kept: the function is called again, under the same Ref
		1: {1, 1}, // before the receipt was kept: it is made again
		2: {1, 2}, // before it was known that it was taken: the same bytes are sent again
	} {
		t.Run(fmt.Sprint("at writing ", left), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls, refs := 0, map[string]bool{}
				register := func(m *receiver.Mux) {
					m.OnSessionRevoked(func(_ context.Context, s *receiver.SessionRevoked) (receipt.Line, error) {
						calls++
						refs[s.Ref] = true
						return receipt.Line{}, nil
					})
				}
				store := receiver.Memory()
				s := newShop(t, &mortal{Inbox: store, left: left}, nil, register)
				s.take(s.token("j1", caep.SessionRevokedURI, `{}`, revoke), 202)
				synctest.Wait()
				s.stop()
				s.inbox = store
				s.start(nil, register)
				time.Sleep(time.Hour)
				if s.only(); calls != want.calls || len(refs) != 1 || s.till.asked != want.asked {
					t.Errorf("%d calls under %d names, %d receipts sent", calls, len(refs), s.till.asked)
				}
				s.stop()
			})
		})
	}
}

func TestMuxWithdrawal(t *testing.T) {
	withdraw := func(s *shop, jti, order, hash string) string {
		c := claims()
		c.ID, c.IssuedAt = jti, time.Now().Unix()
		c.SubID = json.RawMessage(fmt.Sprintf(`{"format":"jwt_id","iss":%q,"jti":%q}`, issuer, order))
		c.Events = []set.Event{{Type: receipt.Default().Withdrawn, Payload: json.RawMessage(fmt.Sprintf(`{"set_hash":%q}`, hash))}}
		return s.signed(c)
	}
	for name, c := range map[string]struct {
		foreign bool // the hash of another token
		begun   bool
		calls   int
		reason  string
	}{
		"in time":   {false, false, 0, "withdrawn"},
		"too late":  {false, true, 2, "done"},
		"of others": {true, false, 1, "done"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				register := func(m *receiver.Mux) {
					m.OnSessionRevoked(func(context.Context, *receiver.SessionRevoked) (receipt.Line, error) {
						if calls++; c.begun && calls == 1 {
							return receipt.Line{}, errors.New("not yet")
						}
						return receipt.Line{}, nil
					})
				}
				s := newShop(t, receiver.Memory(), nil, register)
				if !c.begun {
					s.stop() // nobody works: the order waits
				}
				order := s.token("j1", caep.SessionRevokedURI, `{}`, revoke)
				s.take(order, 202)
				synctest.Wait()
				hash := s.till.orders["j1"].SetHash
				if c.foreign {
					hash = "sha-256:" + strings.Repeat("A", 43)
				}
				s.take(withdraw(s, "w1", "j1", hash), 202)
				s.take(withdraw(s, "w2", "j1", hash), 202) // once more, by another token
				if !c.begun {
					s.start(nil, register)
				}
				time.Sleep(time.Hour)
				if r := s.only(); calls != c.calls || r.Lines[0].Reason != c.reason {
					t.Errorf("%d calls, %+v", calls, r.Lines)
				}
				s.stop()
				s.take(withdraw(s, "w3", "", ""), 400)
			})
		})
	}
}

func TestMuxRefusesDirectives(t *testing.T) {
	s := newShop(t, receiver.Memory(), nil, nil)
	defer s.stop()
	for name, directive := range map[string]string{"no object": `7`, "no obligation": `{}`, "actions of another kind": `{"obligation":"must","actions":"all"}`} {
		if w := s.take(s.token(set.NewID(), caep.SessionRevokedURI, `{}`, directive), 400); !strings.Contains(w.Body.String(), "directive") {
			t.Errorf("%s: %s", name, w.Body)
		}
	}
	// Without an agreement a directive means nothing.
	plain := newShop(t, receiver.Memory(), func(c *receiver.MuxConfig) { c.Receipts.Endpoint = "" }, nil)
	defer plain.stop()
	plain.take(plain.token("j", caep.SessionRevokedURI, `{}`, `7`), 202)
}

func TestMuxAboutTheStream(t *testing.T) {
	req.Covers(t, "RX-32", "RX-39", "RX-40", "RX-41", "RX-42", "RX-43", "RX-44", "RX-99", "RX-100")
	synctest.Test(t, func(t *testing.T) {
		var statuses []string
		s := newShop(t, receiver.Memory(), nil, func(m *receiver.Mux) {
			m.OnStreamUpdated(func(_ context.Context, u *receiver.StreamUpdated) (receipt.Line, error) {
				statuses = append(statuses, u.Event.Status+" "+u.Event.Reason)
				return receipt.Line{}, nil
			})
		})
		if !s.mux.Verified().IsZero() || len(s.mux.Events()) != 0 {
			t.Error("before anything came")
		}
		s.take(s.token("u1", ssf.StreamUpdatedURI, `{"status":"paused","reason":"licence"}`, ""), 202)
		s.take(s.token("v0", ssf.VerificationURI, `{}`, ""), 202) // unasked
		if !s.mux.Verified().Equal(time.Now()) {
			t.Error("the one that came unasked was not noticed")
		}
		w := s.take(s.token("v1", ssf.VerificationURI, `{"state":"never asked"}`, ""), 400)
		if !strings.Contains(w.Body.String(), stream.InvalidState) {
			t.Errorf("%s", w.Body)
		}
		// The event may come before the answer to our request, and twice.
		var state string
		client := &receiver.Client{HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			var in stream.VerifyRequest
			_ = json.NewDecoder(r.Body).Decode(&in)
			state = in.State
			s.take(s.token("v2", ssf.VerificationURI, `{"state":"`+state+`"}`, ""), 202)
			return say(204, ""), nil
		})}}
		md := &stream.Metadata{VerificationEndpoint: "https://idp.example.test/verify"}
		if err := s.mux.Verify(t.Context(), client, md, streamID); err != nil || len(state) < 40 {
			t.Errorf("state %q, %v", state, err)
		}
		s.take(s.token("v3", ssf.VerificationURI, `{"state":"`+state+`"}`, ""), 202)
		time.Sleep(11 * time.Minute)
		s.take(s.token("v4", ssf.VerificationURI, `{"state":"`+state+`"}`, ""), 400)
		// One that does not come.
		silent := &receiver.Client{HTTP: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return say(204, ""), nil })}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.mux.Verify(ctx, silent, md, streamID); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		// About another stream.
		c := claims()
		c.ID, c.IssuedAt, c.SubID = "v5", time.Now().Unix(), json.RawMessage(`{"format":"opaque","id":"other"}`)
		c.Events = []set.Event{{Type: ssf.VerificationURI, Payload: json.RawMessage(`{}`)}}
		s.take(s.signed(c), 400)
		synctest.Wait()
		if !slices.Equal(statuses, []string{"paused licence"}) {
			t.Errorf("%q", statuses)
		}
		s.stop()
	})
}

func TestMuxDiscardsCriticalMembers(t *testing.T) {
	req.Covers(t, "RX-11", "RX-65", "RX-66")
	synctest.Test(t, func(t *testing.T) {
		var got []string
		s := newShop(t, receiver.Memory(), func(c *receiver.MuxConfig) { c.Critical = []string{"user", "robot"} }, func(m *receiver.Mux) {
			m.OnSessionRevoked(func(_ context.Context, s *receiver.SessionRevoked) (receipt.Line, error) {
				email, _ := s.Subject.Email()
				got = append(got, fmt.Sprint(email, s.Subject.Parts()))
				return receipt.Line{}, nil
			})
		})
		for i, sub := range []string{
			`{"format":"complex","user":{"format":"email","email":"a@b.example"},"robot":{"format":"opaque","id":"r"}}`,
			`{"format":"complex","user":{"format":"email","email":"a@b.example"},"device":{"format":"opaque","id":"d"},"other":{"format":"opaque","id":"o"}}`,
		} {
			c := claims()
			c.ID, c.IssuedAt, c.SubID = fmt.Sprint("c", i), time.Now().Unix(), json.RawMessage(sub)
			s.take(s.signed(c), 202)
		}
		synctest.Wait()
		if len(got) != 1 || !strings.Contains(got[0], "device") || !strings.Contains(got[0], "a@b.example") {
			t.Errorf("%q", got)
		}
		s.stop()
	})
}

func TestMuxOtherTypes(t *testing.T) {
	req.Covers(t, "RX-60", "RX-61")
	synctest.Test(t, func(t *testing.T) {
		var got []string
		s := newShop(t, receiver.Memory(), nil, func(m *receiver.Mux) {
			receiver.On(m, risc.AccountDisabledURI, func(_ context.Context, s *receiver.Signal[*risc.AccountDisabled]) (receipt.Line, error) {
				got = append(got, "disabled "+s.Event.Reason)
				return receipt.Line{}, nil
			})
			m.On("urn:example:strange", func(_ context.Context, s *receiver.Other) (receipt.Line, error) {
				raw, _ := json.Marshal(s.Event)
				got = append(got, s.Type.URI+string(raw))
				return receipt.Line{}, nil
			})
		})
		if !slices.Equal(s.mux.Events(), []string{risc.AccountDisabledURI, "urn:example:strange"}) {
			t.Errorf("%q", s.mux.Events())
		}
		s.take(s.token("a", risc.AccountDisabledURI, `{"reason":"hijacking","more":[1]}`, ""), 202)
		s.take(s.token("b", "urn:example:strange", `{"x":{"y":[1.50]}}`, ""), 202)
		s.take(s.token("c", "urn:example:unheard", `{}`, ""), 202)
		synctest.Wait()
		if !slices.Equal(got, []string{"disabled hijacking", `urn:example:strange{"x":{"y":[1.50]}}`}) {
			t.Errorf("%q", got)
		}
		s.stop()
	})
	for name, wrong := range map[string]func(m *receiver.Mux){
		"another payload": func(m *receiver.Mux) { receiver.On[*risc.AccountDisabled](m, caep.SessionRevokedURI, nil) },
		"twice": func(m *receiver.Mux) {
			m.OnSessionRevoked(nil)
			m.On(caep.SessionRevokedURI, nil)
		},
		"no type": func(m *receiver.Mux) { m.On("", nil) },
	} {
		m, err := receiver.NewMux(receiver.MuxConfig{Issuer: "i", Audience: []string{"a"}, Inbox: receiver.Memory()})
		if err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			wrong(m)
		}()
	}
	// Every type of CAEP has its function.
	m, err := receiver.NewMux(receiver.MuxConfig{Issuer: "i", Audience: []string{"a"}, Inbox: receiver.Memory()})
	if err != nil {
		t.Fatal(err)
	}
	m.OnSessionRevoked(nil)
	m.OnTokenClaimsChange(nil)
	m.OnCredentialChange(nil)
	m.OnAssuranceLevelChange(nil)
	m.OnDeviceComplianceChange(nil)
	m.OnSessionEstablished(nil)
	m.OnSessionPresented(nil)
	m.OnRiskLevelChange(nil)
	m.OnStreamUpdated(nil)
	if len(m.Events()) != len(caep.Vocabulary()) {
		t.Errorf("%q", m.Events())
	}
}

func TestMuxIsSetUp(t *testing.T) {
	for name, cfg := range map[string]receiver.MuxConfig{
		"no issuer":   {Audience: []string{"a"}, Inbox: receiver.Memory()},
		"no audience": {Issuer: "i", Inbox: receiver.Memory()},
		"no inbox":    {Issuer: "i", Audience: []string{"a"}},
		"no signer":   {Issuer: "i", Audience: []string{"a"}, Inbox: receiver.Memory(), Receipts: &receiver.Receipts{Issuer: "x"}},
	} {
		if _, err := receiver.NewMux(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The keys come from the metadata of the transmitter, which is read when the first token comes; until it can be, the sender is told to wait.
func TestMuxFindsKeys(t *testing.T) {
	req.Covers(t, "RX-9", "RX-50", "RX-81", "IOP-22")
	x := ssftest.NewTransmitter(t, nil)
	down := true
	m, err := receiver.NewMux(receiver.MuxConfig{Issuer: x.Issuer, Audience: []string{"me"}, Algorithms: set.Algorithms(), Inbox: receiver.Memory(), Log: slog.New(slog.DiscardHandler),
		Registry: event.NewRegistry(caep.Vocabulary()),
		HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if down {
				return nil, errors.New("connection refused")
			}
			return x.Server.Client().Transport.RoundTrip(r)
		})}})
	if err != nil {
		t.Fatal(err)
	}
	c := claims()
	c.Issuer, c.Audience, c.IssuedAt = x.Issuer, []string{"me"}, time.Now().Unix()
	payload, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	compact, err := ssftest.Signer(set.ES256, "test-es256").Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{503, 202, 202} {
		w := httptest.NewRecorder()
		m.ServeHTTP(w, push(compact))
		if w.Code != want || want == 503 && w.Header().Get("Retry-After") == "" {
			t.Errorf("answer %d %s, want %d", w.Code, w.Body, want)
		}
		down = false
	}
}

// Keys that cannot be used: the sender is told which of us is in trouble, within bounds.
func TestMuxHostileKeys(t *testing.T) {
	req.Covers(t, "RX-49", "RX-50", "RX-51")
	good := set.MarshalJWKS([]set.Key{newSigner().Public()})
	for name, c := range map[string]struct {
		keys func(n int, r *http.Request) (*http.Response, error)
		want []int
	}{
		"slow": {func(_ int, r *http.Request) (*http.Response, error) {
			select {
			case <-r.Context().Done():
				return nil, r.Context().Err()
			case <-time.After(time.Hour):
				return say(200, string(good)), nil
			}
		}, []int{503}},
		"endless": {func(int, *http.Request) (*http.Response, error) {
			r := say(200, "")
			r.Body = io.NopCloser(spaces{})
			return r, nil
		}, []int{503}},
		"none": {func(int, *http.Request) (*http.Response, error) { return say(200, `{"keys":[]}`), nil }, []int{400}},
		"symmetric": {func(int, *http.Request) (*http.Response, error) {
			return say(200, `{"keys":[{"kty":"oct","kid":"k1","k":"c2VjcmV0"}]}`), nil
		}, []int{400}},
		"private": {func(int, *http.Request) (*http.Response, error) {
			return say(200, strings.Replace(string(good), `"keys":[{`, `"keys":[{"d":"AAAA",`, 1)), nil
		}, []int{400}},
		"for encryption": {func(int, *http.Request) (*http.Response, error) {
			return say(200, strings.Replace(string(good), `"use":"sig"`, `"use":"enc"`, 1)), nil
		}, []int{400}},
		"moved": {func(int, *http.Request) (*http.Response, error) {
			return say(302, "", "Location", "https://evil.example/jwks"), nil
		}, []int{503}},
		"a web page": {func(int, *http.Request) (*http.Response, error) { return say(200, "<html>"), nil }, []int{503}},
		"new ones each time": {func(n int, _ *http.Request) (*http.Response, error) {
			if n == 1 {
				return say(200, string(good)), nil
			}
			return say(200, `{"keys":[]}`), nil
		}, []int{202, 202}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				m, err := receiver.NewMux(receiver.MuxConfig{Issuer: issuer, Audience: []string{audience}, Algorithms: set.Algorithms(), Inbox: receiver.Memory(), Log: slog.New(slog.DiscardHandler),
					HTTP: &http.Client{Timeout: 10 * time.Second, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
						if strings.HasSuffix(r.URL.Path, "/jwks") {
							asked++
							return c.keys(asked, r)
						}
						return say(200, fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, issuer, issuer+"/jwks")), nil
					})}})
				if err != nil {
					t.Fatal(err)
				}
				for i, want := range c.want {
					cl := claims()
					cl.ID, cl.IssuedAt = fmt.Sprint("j", i), time.Now().Unix()
					compact := sign(t, cl)
					began := time.Now()
					w := httptest.NewRecorder()
					m.ServeHTTP(w, push(compact))
					if w.Code != want || time.Since(began) > 30*time.Second || want == 400 && !strings.Contains(w.Body.String(), stream.InvalidKey) {
						t.Errorf("answer %d %s after %s, want %d", w.Code, w.Body, time.Since(began), want)
					}
				}
				if asked > 3 {
					t.Errorf("the keys were asked for %d times", asked)
				}
			})
		})
	}
}
