package api

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/risc"
	"countersign/event/scim"
	"countersign/event/ssf"
	"countersign/internal/hub"
	"countersign/internal/store"
	"countersign/internal/vault"
	"countersign/receipt"
	"countersign/set"
)

var start = time.Date(2026, 9, 15, 9, 0, 0, 0, time.UTC)

// bench is a door over a real store, with one signal whose story is complete.
type bench struct {
	other    *otherSide
	t        *testing.T
	store    *store.Store
	door     *Door
	cfg      Config
	mu       sync.Mutex
	now      time.Time
	changed  int
	faulty   string // Check refuses a set that holds a resource of this name
	broken   error  // what Submit gives instead
	ready    error
	log      bytes.Buffer
	operator string
	tokens   map[string]string // by client
	signal   *hub.Signal
	action   *hub.Action
	receipt  *hub.Receipt
	signer   *set.Signer
	wires    map[string]*wire // by tenant; one that is not there is not open
	last     *Submission
}

type submitter struct{ b *bench }

func (s submitter) Submit(ctx context.Context, tenant string, sub *Submission) (hub.Kept, error) {
	if s.b.broken != nil {
		return hub.Kept{}, s.b.broken
	}
	s.b.last = sub
	src := "operator"
	if sub.Client != "" {
		src = "client:" + sub.Client
	}
	sig := &hub.Signal{ID: hub.NewID(hub.PrefixSignal, s.b.now), Tenant: tenant, Source: src, Door: "api", JTI: set.NewID(), EventType: sub.EventType, SubID: sub.SubID, Event: sub.Event, TXN: sub.TXN, Received: hub.At(s.b.now)}
	kept, err := s.b.store.Keep(ctx, sig, "api:"+sig.JTI, nil, sub.Idempotency)
	return kept.Kept, err
}

type keys struct{ signer *set.Signer }

func (k keys) Ours(context.Context, string) ([]set.Key, error) {
	return []set.Key{k.signer.Public()}, nil
}
func (k keys) Source(context.Context, string, string) ([]set.Key, error) {
	return []set.Key{k.signer.Public()}, nil
}

const clientDocs = `[
 {"kind":"client","name":"writer","auth":"bearer","scopes":["signals.write"],"events":["caep/session-revoked"],"domains":["example.test"]},
 {"kind":"client","name":"reader","auth":"bearer","scopes":["signals.read"]},
 {"kind":"client","name":"auditor","auth":"bearer","scopes":["signals.read","signals.token"]},
 {"kind":"client","name":"deployer","auth":"bearer","scopes":["resources.read","resources.write"]},
 {"kind":"client","name":"receiver","auth":"bearer","scopes":["ssf.read","ssf.manage"]}
]`

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, now: start, tokens: map[string]string{}}
	clock := func() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.now }
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "hub.db"), store.Config{Now: clock, Fatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	b.store = st
	v, err := vault.Open(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := set.NewSigner(set.EdDSA, "k1", ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	b.signer = signer
	b.wires = map[string]*wire{DefaultTenant: b.furnish(signer), "acme": {}}
	b.other = &otherSide{}
	b.cfg = Config{KeyRing: ring{b}, Sources: b.other, Refusals: st,
		Streams: func(tenant string) Streams {
			if w := b.wires[tenant]; w != nil {
				return w
			}
			return nil
		},
		Outbox: func(tenant string) Outbox {
			if w := b.wires[tenant]; w != nil {
				return w
			}
			return nil
		},
		Store: st, People: st, Signals: submitter{b}, Secrets: vault.NewSecrets(v, st), Keys: keys{signer}, Registry: event.NewRegistry(caep.Vocabulary(), risc.Vocabulary(), ssf.Vocabulary(), scim.Vocabulary()),
		Check: func(_ context.Context, _ string, all []hub.Resource) error {
			for _, r := range all {
				if r.Name == b.faulty {
					return hub.Errorf(hub.Invalid, "%s %s: does not fit", r.Kind, r.Name)
				}
			}
			return nil
		},
		Changed: func(context.Context, string) { b.changed++ },
		Accounts: func(_ context.Context, _, _, _ string, _ int) ([]AppAccount, string, error) {
			return []AppAccount{{ID: "w-1", Emails: []string{"nobody@example.test"}}}, "", nil
		},
		Show: func(_ context.Context, r *hub.Resource) map[string]any {
			if r.Kind == hub.KindSource {
				return map[string]any{"receive": "https://hub.example.test/receive/x"}
			}
			return nil
		},
		Ready: func(context.Context) error { return b.ready }, Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "m 1\n") }),
		Version: "0.1", Now: clock, Log: slog.New(slog.NewTextHandler(&b.log, nil))}
	b.door = New(b.cfg)
	if b.operator, _, err = Mint(t.Context(), st, DefaultTenant, "", "operator", nil, start, time.Time{}); err != nil {
		t.Fatal(err)
	}
	b.want(200, b.post("/apply", b.operator, `{"resources":`+clientDocs+`}`))
	for _, c := range []string{"writer", "reader", "auditor", "deployer", "receiver"} {
		var out struct{ Token string }
		b.decode(b.want(201, b.post("/tokens", b.operator, `{"client":"`+c+`"}`)), &out)
		b.tokens[c] = out.Token
	}
	b.tell(signer)
	return b
}

// tell writes one signal with decision, action, attempt and accepted receipt.
func (b *bench) tell(signer *set.Signer) {
	b.t.Helper()
	ctx := b.t.Context()
	must := func(err error) {
		b.t.Helper()
		if err != nil {
			b.t.Fatal(err)
		}
	}
	const idp, us = "https://idp.example.test", "https://hub.example.test"
	sub := json.RawMessage(`{"format":"email","email":"alice@example.test"}`)
	directive := json.RawMessage(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"complete_by":1789462900,"receipt":{"when":"final"}}`)
	claims := set.Claims{Issuer: idp, Audience: []string{us}, IssuedAt: start.Unix(), ID: "ord-1", TXN: "txn-1", SubID: sub, Events: []set.Event{{Type: "https://schemas.openid.net/secevent/caep/event-type/session-revoked", Payload: json.RawMessage(`{"event_timestamp":1789462800}`)}},
		Extra: []set.Member{{Name: receipt.Default().Directive, Value: directive}}}
	payload, err := claims.Marshal()
	must(err)
	token, err := signer.Sign(payload)
	must(err)
	u, err := set.Parse(token)
	must(err)
	b.signal = &hub.Signal{ID: hub.NewID(hub.PrefixSignal, start), Tenant: DefaultTenant, Source: "idp", Door: "push", Issuer: idp, JTI: "ord-1", IssuedAt: start.Unix(), TXN: "txn-1", EventType: claims.Events[0].Type, SubID: sub, Event: claims.Events[0].Payload,
		SetHash: u.Address(), Token: token, Received: hub.At(start.Add(time.Second)), Order: &hub.Order{Directive: directive, ReceiptNo: "CS-7F3K9Q2M", ReceiptIssuer: us, ReceiptAudience: idp, Endpoint: idp + "/receipts", CompleteBy: 1789462900}}
	kept, err := b.store.Keep(ctx, b.signal, u.Address(), nil, nil)
	must(err)
	b.signal.IdentityName, b.signal.Misses = "alice", []string{"iss_sub: not of this kind"}
	evidence := json.RawMessage(`{"status":204,"nonce":"q2Jm0Zb1rN7uE4dXo8cVtw"}`)
	b.action = &hub.Action{ID: hub.NewID(hub.PrefixAction, start), Tenant: DefaultTenant, SignalID: b.signal.ID, Name: hub.RevokeSessions, App: "wiki", Identity: "alice", Account: "7", Reach: hub.ReachTokens, Line: "a1", Ordered: true, State: hub.Planned, Requested: hub.At(start)}
	jobs, err := b.store.Decide(ctx, b.signal, &hub.Decision{ID: hub.NewID(hub.PrefixDecision, start), SignalID: b.signal.ID, At: hub.At(start), Inputs: json.RawMessage(`{"signal":{}}`), Findings: []hub.Finding{{Line: "a1", Result: "applies", Reason: "the source may"}}, Planned: []string{b.action.ID}}, []*hub.Action{b.action}, kept.Job, store.DecideOptions{})
	must(err)
	at := &hub.Attempt{No: 1, Op: hub.OpEndAllSessions, Request: "DELETE /admin/users/7/sessions", Sent: hub.At(start)}
	b.action.State, b.action.Attempts, b.action.Started = hub.Running, 1, hub.At(start)
	must(b.store.BeginAttempt(ctx, b.action, at, &jobs[0]))
	at.Answered, at.Status, at.Class = hub.At(start.Add(time.Second)), 204, "done"
	b.action.State, b.action.Reason, b.action.Completed, b.action.Level, b.action.Method, b.action.VerifiedAt = hub.Succeeded, "done", hub.At(start.Add(time.Second)), hub.Verified, receipt.MethodReadBack, hub.At(start.Add(time.Second))
	b.action.Counted, b.action.Found, b.action.Acted, b.action.Unit = true, 1, 1, "sessions"
	b.action.Evidence, b.action.EvidenceHash = evidence, receipt.DocumentHash(evidence)
	cut, err := b.store.SaveAction(ctx, b.action, at, &jobs[0], nil, nil)
	must(err)
	if len(cut) != 1 || cut[0].Kind != "cut" {
		b.t.Fatalf("jobs %v", cut)
	}
	order, err := receipt.OrderOf(u, receipt.Default())
	must(err)
	order.ReceiptIssuer, order.ReceiptAudience = us, idp
	line := receipt.Line{ID: "a1.1", Action: hub.RevokeSessions, Reach: "session_tokens", Target: &receipt.Target{App: "wiki", Kind: "account", ID: "p-41f0c2"}, Status: receipt.Succeeded, Reason: "done", CompletedAt: start.Unix() + 1,
		Evidence: &receipt.Evidence{Level: receipt.Assertion, Method: receipt.MethodAPIResponse, Hash: b.action.EvidenceHash}}
	totals, outcome := receipt.Compute(order.Directive, []receipt.Line{line})
	r := &receipt.Receipt{Number: "CS-7F3K9Q2M", Seq: 1, Stage: receipt.StageFinal, Outcome: outcome, Totals: totals, Lines: []receipt.Line{line}, Order: receipt.OrderLink{EventType: order.EventType, SetHash: order.SetHash, ReceivedAt: start.Unix() + 1}}
	body, err := receipt.Issue(order, r, "rcp-1", start.Unix()+2)
	must(err)
	input := signer.Input(body)
	signed, err := signer.Complete(input)
	must(err)
	ru, err := set.Parse(signed)
	must(err)
	b.receipt = &hub.Receipt{ID: hub.NewID(hub.PrefixReceipt, start), Tenant: DefaultTenant, SignalID: b.signal.ID, SignalSeq: b.signal.Seq, Source: "idp", ReceiptNo: r.Number, No: 1, Stage: r.Stage, Outcome: outcome, JTI: "rcp-1", KID: "k1", Input: input, Hash: ru.Address(), Body: ru.Claims().Events[0].Payload, Endpoint: b.signal.Order.Endpoint, State: "queued", Cut: hub.At(start.Add(2 * time.Second))}
	send, err := b.store.SaveReceipt(ctx, b.receipt, 0, &cut[0], nil)
	must(err)
	b.receipt.State, b.receipt.Token, b.receipt.Tries, b.receipt.Accepted = "accepted", signed, 1, hub.At(start.Add(3*time.Second))
	must(b.store.MarkReceipt(ctx, b.receipt, send, nil))
}

func (b *bench) call(method, path, token, body string, header ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	if !strings.HasPrefix(path, "/healthz") && !strings.HasPrefix(path, "/readyz") && !strings.HasPrefix(path, "/metrics") && !strings.HasPrefix(path, "/api") {
		path = Prefix + path
	}
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, path, rd)
	r.Host = "127.0.0.1:8444"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if strings.HasPrefix(path, Prefix+"/import/identities") {
		r.Header.Set("Content-Type", "text/csv")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		switch header[i] {
		case "Host":
			r.Host = header[i+1]
		case "":
		default:
			r.Header.Set(header[i], header[i+1])
		}
	}
	w := httptest.NewRecorder()
	b.door.ServeHTTP(w, r)
	return w
}

func (b *bench) get(path, token string) *httptest.ResponseRecorder {
	b.t.Helper()
	return b.call("GET", path, token, "")
}

func (b *bench) post(path, token, body string, header ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	return b.call("POST", path, token, body, header...)
}

func (b *bench) want(status int, w *httptest.ResponseRecorder) *httptest.ResponseRecorder {
	b.t.Helper()
	if w.Code != status {
		b.t.Fatalf("answered %d, wanted %d: %s", w.Code, status, w.Body)
	}
	return w
}

func (b *bench) decode(w *httptest.ResponseRecorder, v any) {
	b.t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
		b.t.Fatalf("%v: %s", err, w.Body)
	}
}

// refused holds a problem to its form, and gives it.
func (b *bench) refused(status int, code hub.Code, words string, w *httptest.ResponseRecorder) problem {
	b.t.Helper()
	var p problem
	if w.Code != status || w.Header().Get("Content-Type") != "application/problem+json" {
		b.t.Errorf("answered %d %s, wanted %d: %s", w.Code, w.Header().Get("Content-Type"), status, w.Body)
		return p
	}
	b.decode(w, &p)
	if p.Code != code || p.Status != status || p.Reference == "" || !strings.Contains(p.Title, words) {
		b.t.Errorf("problem %+v, wanted %s with %q", p, code, words)
	}
	return p
}

var errDisk = errors.New("disk: /var/lib/secret-path is gone")
