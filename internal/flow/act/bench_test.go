package act_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/connectors"
	"countersign/internal/connector"
	"countersign/internal/flow"
	"countersign/internal/flow/act"
	"countersign/internal/hub"
	"countersign/internal/store"
)

// site is an application with sessions, as http-sessions and the demo's packs speak to it. Its behaviour is set
// by the test; it counts what it is asked.
type site struct {
	*httptest.Server
	mu       sync.Mutex
	users    map[string][]string // account id to addresses
	sessions map[string][]string // account id to session ids
	acting   []string            // acting requests: method, path, idempotency key
	looks    int                 // lists of sessions
	// before is asked first; true: it answered. Called with mu held.
	before func(w http.ResponseWriter, r *http.Request) bool
	// end carries out "end all sessions"; nil: at once, 204. Called with mu held.
	end func(w http.ResponseWriter, account string)
}

func newSite(t *testing.T) *site {
	s := &site{users: map[string][]string{"a1": {"alice@example.test"}}, sessions: map[string][]string{"a1": {"s1", "s2"}}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	isAct := r.Method != http.MethodGet
	if isAct {
		s.acting = append(s.acting, r.Method+" "+r.URL.Path+" "+r.Header.Get("Idempotency-Key"))
	}
	if s.before != nil && s.before(w, r) {
		return
	}
	switch {
	case r.Method == http.MethodGet && len(p) == 2:
		users := []map[string]string{}
		for id, emails := range s.users {
			if slices.Contains(emails, r.URL.Query().Get("email")) {
				users = append(users, map[string]string{"id": id, "email": r.URL.Query().Get("email")})
			}
		}
		slices.SortFunc(users, func(a, b map[string]string) int { return strings.Compare(a["id"], b["id"]) })
		writeJSON(w, map[string]any{"users": users})
	case r.Method == http.MethodGet && len(p) == 4:
		s.looks++
		list := []map[string]string{}
		for _, id := range s.sessions[p[2]] {
			list = append(list, map[string]string{"id": id})
		}
		writeJSON(w, list)
	case r.Method == http.MethodDelete && len(p) == 4:
		if s.end != nil {
			s.end(w, p[2])
			return
		}
		delete(s.sessions, p[2])
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodDelete && len(p) == 3:
		for account, list := range s.sessions {
			if i := slices.Index(list, p[2]); i >= 0 {
				s.sessions[account] = slices.Delete(list, i, i+1)
				w.WriteHeader(http.StatusNoContent)
				return
			}
		}
		http.NotFound(w, r)
	default:
		http.NotFound(w, r)
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (s *site) requests() []string { s.mu.Lock(); defer s.mu.Unlock(); return slices.Clone(s.acting) }

// bench is a store, a belt with the step act, and apps.
type bench struct {
	t      *testing.T
	path   string
	store  *store.Store
	apps   map[string]*connector.App
	packs  *connector.Packs
	worker *act.Worker
	belt   *flow.Belt
	cfg    act.Config
	n      int
	clock  func() time.Time
	stop   context.CancelFunc
	done   chan struct{}
	cuts   chan int64
}

func newBench(t *testing.T) *bench {
	t.Helper()
	packs, err := connector.Load(connectors.FS, "")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, path: filepath.Join(t.TempDir(), "hub.db"), packs: packs, apps: map[string]*connector.App{}, clock: time.Now, cuts: make(chan int64, 64)}
	b.open()
	return b
}

func (b *bench) open() {
	b.t.Helper()
	st, err := store.Open(context.Background(), "sqlite:"+b.path, store.Config{Node: "n1", Now: func() time.Time { return b.clock() }})
	if err != nil {
		b.t.Fatal(err)
	}
	b.store = st
	b.t.Cleanup(func() { st.Close() })
}

func (b *bench) app(name, pack, url string) {
	b.t.Helper()
	p, ok := b.packs.Lookup(pack)
	if !ok {
		b.t.Fatalf("no pack %s", pack)
	}
	b.apps[name] = &connector.App{Name: name, Pack: p, Settings: map[string]string{"url": url}, Secrets: map[string]string{"token": "t0ken"}, Match: "email"}
}

// start runs a belt over the store. change may alter the worker's configuration.
func (b *bench) start(change func(*act.Config)) {
	b.t.Helper()
	b.cfg = act.Config{Store: b.store, Runner: connector.NewRunner(connector.Config{Client: &http.Client{Timeout: 2 * time.Second}}),
		App: func(_ context.Context, _, name string) (*connector.App, error) {
			if a := b.apps[name]; a != nil {
				return a, nil
			}
			return nil, hub.Errorf(hub.NotFound, "no app %s", name)
		},
		Key: func(sig *hub.Signal, a *hub.Action) string { return "key-" + a.App + "-" + a.Account },
		Next: func(sig *hub.Signal, jobs []hub.Job, added []*hub.Action) {
			for _, j := range jobs {
				w := flow.Work{Job: j}
				for _, a := range added {
					if j.Kind == "act" && a.Seq == j.Ref {
						w.Item = &act.Item{Action: a, Signal: sig}
					}
				}
				b.belt.Take(w)
			}
		},
		Poke: func() { b.belt.Poke() },
		Now:  func() time.Time { return b.clock() },
	}
	if change != nil {
		change(&b.cfg)
	}
	b.worker = act.New(b.cfg)
	b.belt = flow.NewBelt(flow.Config{Jobs: b.store, Poll: 20 * time.Millisecond, Steps: []flow.Step{
		{Kind: "act", Limit: 64, PerKey: 4, Key: func(ctx context.Context, w *flow.Work) (string, error) {
			if _, ok := w.Item.(*act.Item); !ok {
				it, err := b.worker.Load(ctx, &w.Job)
				if err != nil {
					return "", err
				}
				w.Item = it
			}
			return w.Item.(*act.Item).Action.App, nil
		}, Do: func(ctx context.Context, w *flow.Work) (time.Duration, error) {
			return b.worker.Do(ctx, &w.Job, w.Item.(*act.Item))
		}},
		{Kind: "cut", Do: func(ctx context.Context, w *flow.Work) (time.Duration, error) {
			b.cuts <- w.Job.Ref
			return 0, b.store.FinishJob(ctx, &w.Job, nil)
		}},
	}})
	ctx, cancel := context.WithCancel(context.Background())
	b.stop, b.done = cancel, make(chan struct{})
	go func() { defer close(b.done); b.belt.Run(ctx) }()
	b.t.Cleanup(b.halt)
}

func (b *bench) halt() {
	b.stop()
	<-b.done
}

// plan keeps a signal and decides the actions for it. order may be nil.
func (b *bench) plan(order *hub.Order, actions ...*hub.Action) *hub.Signal {
	b.t.Helper()
	ctx := context.Background()
	b.n++
	now := b.clock()
	id := hub.NewID(hub.PrefixSignal, now)
	sig := &hub.Signal{ID: id, Tenant: "default", Source: "idp", Door: "push", Issuer: "https://idp.example.test", JTI: id, IssuedAt: now.Unix(),
		EventType: "https://schemas.openid.net/secevent/caep/event-type/session-revoked", SubID: json.RawMessage(`{"format":"email","email":"alice@example.test"}`),
		Event: json.RawMessage(`{}`), SetHash: "sha-256:x", Token: "a.b.c", Received: hub.At(now), Order: order}
	kept, err := b.store.Keep(ctx, sig, "f"+id, nil, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	d := &hub.Decision{ID: hub.NewID(hub.PrefixDecision, now), SignalID: id, At: hub.At(now), Inputs: json.RawMessage(`{}`)}
	for _, a := range actions {
		a.ID, a.Requested, a.Identity = hub.NewID(hub.PrefixAction, now), hub.At(now), "alice"
		if a.State == "" {
			a.State = hub.Planned
		}
	}
	jobs, err := b.store.Decide(ctx, sig, d, actions, kept.Job, store.DecideOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.cfg.Next(sig, jobs, actions)
	return sig
}

// final waits until no action of the signal is open, and gives them with their tries.
func (b *bench) final(sig *hub.Signal) []*hub.Action {
	b.t.Helper()
	end := time.After(15 * time.Second)
	for {
		all, err := b.store.ActionsOf(context.Background(), sig.Seq)
		if err != nil {
			b.t.Fatal(err)
		}
		if !slices.ContainsFunc(all, func(a *hub.Action) bool { return !a.State.Final() }) {
			for i, a := range all {
				if all[i], err = b.store.ActionBySeq(context.Background(), a.Seq); err != nil {
					b.t.Fatal(err)
				}
			}
			return all
		}
		select {
		case <-end:
			for _, a := range all {
				b.t.Logf("%s at %s: %s %s %s", a.Name, a.App, a.State, a.Reason, a.Progress)
			}
			b.t.Fatal("the actions did not end")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func revoke(app string) *hub.Action {
	return &hub.Action{Name: hub.RevokeSessions, App: app, Email: "alice@example.test", Reach: hub.ReachTokens, Line: "x"}
}
