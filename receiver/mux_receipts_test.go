package receiver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"countersign/event/caep"
	"countersign/internal/req"
	"countersign/receipt"
	"countersign/receiver"
	"countersign/set"
)

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
		// Once for each try, and no more.
		s.till.answers = []int{401, 401}
		s.take(s.token("j2", caep.SessionRevokedURI, `{}`, revoke), 202)
		synctest.Wait()
		if cred.n != 2 || len(s.till.shown) != 4 || len(s.sent) != 2 || s.sent[1] == nil {
			t.Errorf("renewed %d times, shown %q, told %v", cred.n, s.till.shown, s.sent)
		}
		s.stop()
	})
}

type counter struct{ n int }

func (c *counter) Authorize(r *http.Request) error {
	r.Header.Set("Authorization", fmt.Sprint("Bearer t", c.n))
	return nil
}
func (c *counter) Renew(*http.Request) bool { c.n++; return true }

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

// What was answered with 202 is done after a death, though nobody sends it again.
func TestMuxSurvivesDeath(t *testing.T) {
	req.Covers(t, "RX-79")
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
