package store

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"countersign/internal/hub"
	"countersign/internal/pgtest"
)

const tenant = "default"

// place is where a test's store lives; opening it twice gives the same rows.
type place struct {
	url    string
	schema string
}

func (p place) open(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := p.tryOpen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func (p place) tryOpen(cfg Config) (*Store, error) {
	cfg.Schema = p.schema
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return Open(context.Background(), p.url, cfg)
}

func sqlitePlace(t testing.TB) place {
	return place{url: "sqlite:" + filepath.Join(t.TempDir(), "test.db")}
}

func postgresPlace(t testing.TB) place {
	u, schema := pgtest.URL(t)
	return place{url: u, schema: schema}
}

// eachPlace runs a test on both engines.
func eachPlace(t *testing.T, f func(t *testing.T, p place)) {
	t.Run("sqlite", func(t *testing.T) { f(t, sqlitePlace(t)) })
	t.Run("postgres", func(t *testing.T) { f(t, postgresPlace(t)) })
}

// eachEngine is eachPlace for tests that need the store opened once, with the strict configuration.
func eachEngine(t *testing.T, f func(t *testing.T, s *Store)) {
	t.Run("sqlite", func(t *testing.T) { f(t, copiedPlace(t).open(t, Config{})) })
	t.Run("postgres", func(t *testing.T) { f(t, usedPostgresPlace(t).open(t, Config{})) })
}

// empty is the file of an empty database, made once: making the tables takes longer than most tests.
var empty struct {
	sync.Once
	file []byte
}

// copiedPlace is sqlitePlace with a database that is there already.
func copiedPlace(t testing.TB) place {
	t.Helper()
	empty.Do(func() {
		p := sqlitePlace(t)
		s, err := p.tryOpen(Config{})
		must(t, err)
		must(t, s.Close())
		empty.file, err = os.ReadFile(strings.TrimPrefix(p.url, "sqlite:"))
		must(t, err)
	})
	p := sqlitePlace(t)
	must(t, os.WriteFile(strings.TrimPrefix(p.url, "sqlite:"), empty.file, 0o600))
	return p
}

// used are schemas whose tables are empty again: making them anew takes longer than most tests.
var used struct {
	sync.Mutex
	places []place
}

// usedPostgresPlace is postgresPlace with a schema that tests before may have used. It is opened once, in this process.
func usedPostgresPlace(t testing.TB) place {
	used.Lock()
	defer used.Unlock()
	var p place
	if n := len(used.places); n > 0 {
		p, used.places = used.places[n-1], used.places[:n-1]
	} else {
		p = postgresPlace(t)
	}
	t.Cleanup(func() { // after the store was closed
		if t.Failed() || sweep(p) != nil {
			return
		}
		used.Lock()
		defer used.Unlock()
		used.places = append(used.places, p)
	})
	return p
}

// sweep empties the tables of a schema that nobody has open.
func sweep(p place) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, p.url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, `SET lock_timeout = '2s'; SET session_replication_role = replica; SET search_path = `+p.schema+`;
DO $$ DECLARE name text; BEGIN
	FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename NOT IN ('schema_version', 'counter', 'shard_lease') LOOP
		EXECUTE 'DELETE FROM ' || quote_ident(name);
	END LOOP;
	UPDATE shard_lease SET owner = '', epoch = 0;
END $$`)
	return err
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t testing.TB, err error, want hub.Code) {
	t.Helper()
	if err == nil || hub.CodeOf(err) != want {
		t.Fatalf("error is %v (%s), want %s", err, hub.CodeOf(err), want)
	}
}

// newSignal makes a signal like the receive door does.
func newSignal(jti string) *hub.Signal {
	now := time.Now()
	return &hub.Signal{
		ID: hub.NewID(hub.PrefixSignal, now), Tenant: tenant, Source: "okta", Door: "push", Issuer: "https://okta.example", JTI: jti, IssuedAt: now.Unix(),
		TXN: "txn-" + jti, EventType: "https://schemas.openid.net/secevent/caep/event-type/session-revoked",
		SubID: json.RawMessage(`{"format":"email","email":"a@example.com"}`), Event: json.RawMessage(`{"event_timestamp":1700000000}`),
		SetHash: "sha-256:abc", Token: "eyJ.eyJ." + jti, Received: hub.At(now), State: hub.SignalReceived,
	}
}

func withOrderOf(g *hub.Signal) *hub.Signal {
	g.Order = &hub.Order{Directive: json.RawMessage(`{ "obligation":"must" }`), ReceiptNo: hub.NewID("CS", time.Now()), ReceiptIssuer: "https://hub.example",
		ReceiptAudience: "https://okta.example", Endpoint: "https://okta.example/receipts", CompleteBy: time.Now().Unix() + 60}
	return g
}

func keepNew(t testing.TB, s *Store, g *hub.Signal) *hub.Job {
	t.Helper()
	k, err := s.Keep(t.Context(), g, "print-"+g.JTI, nil, nil)
	must(t, err)
	if k.Status != hub.KeptNew || k.Job == nil || k.Seq == 0 || g.Seq != k.Seq {
		t.Fatalf("kept %+v with job %+v", k.Kept, k.Job)
	}
	return k.Job
}

func newAction(app string) *hub.Action {
	return &hub.Action{ID: hub.NewID(hub.PrefixAction, time.Now()), Name: hub.RevokeSessions, App: app, Identity: "anna", Account: "a-1", Email: "a@example.com b@example.com",
		Reach: hub.ReachTokens, State: hub.Planned, Requested: hub.At(time.Now()), Line: "x"}
}

func newDecision(g *hub.Signal, actions ...*hub.Action) *hub.Decision {
	d := &hub.Decision{ID: hub.NewID(hub.PrefixDecision, time.Now()), SignalID: g.ID, At: hub.At(time.Now()), Inputs: json.RawMessage(`{"subject":"a<b"}`),
		Findings: []hub.Finding{{Policy: "p", Version: 2, Rule: 1, Result: "applies", Reason: "because"}}}
	for _, a := range actions {
		d.Planned = append(d.Planned, a.ID)
	}
	return d
}

// decided keeps a signal and decides it with the actions; it gives their jobs.
func decided(t testing.TB, s *Store, g *hub.Signal, opt DecideOptions, actions ...*hub.Action) []hub.Job {
	t.Helper()
	job := keepNew(t, s, g)
	jobs, err := s.Decide(t.Context(), g, newDecision(g, actions...), actions, job, opt)
	must(t, err)
	return jobs
}

func count(t testing.TB, s *Store, table string) int {
	t.Helper()
	var n int
	must(t, s.read(t.Context(), func(x *tx) error {
		_, err := x.one(fmt.Sprintf(`SELECT count(*) FROM %s`, table), nil, &n)
		return err
	}))
	return n
}
