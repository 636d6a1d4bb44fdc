package outbox_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"countersign/internal/pgtest"
	"countersign/outbox"
)

// place is a real database.
type place struct {
	table       outbox.Table
	driver, dsn string
}

func (p place) open(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open(p.driver, p.dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// each runs a test on both engines, with the table made.
func each(t *testing.T, f func(t *testing.T, p place, db *sql.DB)) {
	t.Run("sqlite", func(t *testing.T) {
		p := place{table: outbox.Table{Dialect: outbox.SQLite}, driver: "sqlite",
			dsn: "file:" + url.PathEscape(filepath.Join(t.TempDir(), "app.db")) + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"}
		f(t, p, made(t, p))
	})
	t.Run("postgres", func(t *testing.T) {
		address, schema := pgtest.URL(t)
		p := place{table: outbox.Table{Dialect: outbox.PostgreSQL, Name: schema + ".signals"}, driver: "pgx", dsn: address}
		if _, err := p.open(t).Exec(`CREATE SCHEMA IF NOT EXISTS ` + schema); err != nil {
			t.Fatal(err)
		}
		f(t, p, made(t, p))
	})
}

func made(t testing.TB, p place) *sql.DB {
	t.Helper()
	db := p.open(t)
	schema, err := p.table.Schema()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may be there already
		if _, err := db.Exec(schema); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func signal(who string) outbox.Signal {
	return outbox.Signal{EventType: "caep/session-revoked", SubID: json.RawMessage(`{"format":"email","email":"` + who + `@x.example"}`),
		Event: json.RawMessage(`{"event_timestamp":1700000000}`), TXN: "sale-1", Do: []string{"act", "transmit"}}
}

func put(t testing.TB, p place, db *sql.DB, who string) string {
	t.Helper()
	id, err := p.table.Put(t.Context(), db, signal(who))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// taker is the other side: it notes what it got, and answers as it was told.
type taker struct {
	mu     sync.Mutex
	got    []outbox.Entry
	busy   map[string]int
	answer func(e outbox.Entry) error
	twice  bool // one key was in flight twice at a time
}

func (k *taker) send(_ context.Context, e outbox.Entry) error {
	k.mu.Lock()
	if k.busy == nil {
		k.busy = map[string]int{}
	}
	k.busy[e.ID]++
	k.twice = k.twice || k.busy[e.ID] > 1
	k.got = append(k.got, e)
	answer := k.answer
	k.mu.Unlock()
	var err error
	if answer != nil {
		err = answer(e)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.busy[e.ID]--
	return err
}

func (k *taker) ids() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []string
	for _, e := range k.got {
		out = append(out, e.ID)
	}
	return out
}

func pass(t testing.TB, r *outbox.Relay) int {
	t.Helper()
	n, err := r.Pass(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOnlyWhatWasCommittedIsSent(t *testing.T) {
	each(t, func(t *testing.T, p place, db *sql.DB) {
		k := &taker{}
		relay := &outbox.Relay{DB: db, Table: p.table, Send: k.send}
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.table.Put(t.Context(), tx, signal("mira")); err != nil {
			t.Fatal(err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if pass(t, relay) != 0 || len(k.got) != 0 {
			t.Fatal("a transaction that was rolled back sent something")
		}
		if tx, err = db.Begin(); err != nil {
			t.Fatal(err)
		}
		id, err := p.table.Put(t.Context(), tx, signal("mira"))
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if pass(t, relay) != 1 || pass(t, relay) != 0 || len(k.got) != 1 {
			t.Fatalf("sent %d times", len(k.got))
		}
		e := k.got[0]
		want := signal("mira")
		if e.ID != id || e.EventType != want.EventType || string(e.SubID) != string(want.SubID) || string(e.Event) != string(want.Event) ||
			e.TXN != want.TXN || !slices.Equal(e.Do, want.Do) || e.Created.IsZero() || e.Tries != 0 {
			t.Errorf("sent %+v", e)
		}
	})
}

// What cannot be sent is tried again later under the same key, and given up at last with its reason.
func TestBackOffAndGivingUp(t *testing.T) {
	each(t, func(t *testing.T, p place, db *sql.DB) {
		now := time.Now()
		k := &taker{answer: func(outbox.Entry) error { return errors.New("no\x00 route") }}
		relay := &outbox.Relay{DB: db, Table: p.table, Send: k.send, MaxAge: time.Hour, Now: func() time.Time { return now }}
		id := put(t, p, db, "mira")
		for try := range 30 {
			before := len(k.got)
			now = now.Add(time.Millisecond)
			pass(t, relay)
			if len(k.got) == before+1 {
				if now = now.Add(-time.Microsecond); pass(t, relay) != 0 {
					t.Fatal("tried again at once")
				}
			}
			now = now.Add(5*time.Minute + time.Second)
			if dead, err := p.table.Dead(t.Context(), db, 10); err != nil || len(dead) > 0 {
				if err != nil || len(dead) != 1 || dead[0].ID != id || dead[0].Reason != "no  route" || dead[0].Tries != len(k.got) || try < 10 {
					t.Fatalf("given up after %d: %+v, %v", try, dead, err)
				}
				break
			}
			if try == 29 {
				t.Fatal("never given up")
			}
		}
		for i, got := range k.ids() {
			if got != id || k.got[i].Tries != i {
				t.Fatalf("try %d has key %s and counts %d", i, got, k.got[i].Tries)
			}
		}
		if pass(t, relay) != 0 {
			t.Fatal("what is dead was tried")
		}
		// Requeued it is as good as new, and under its old key.
		k.answer = nil
		if n, err := p.table.Requeue(t.Context(), db, id, "unknown"); n != 1 || err != nil {
			t.Fatalf("requeued %d, %v", n, err)
		}
		relay.Now = nil
		if pass(t, relay) != 1 || k.ids()[len(k.got)-1] != id {
			t.Fatal("not sent after it was requeued")
		}
	})
}

func TestPermanentAndAfter(t *testing.T) {
	each(t, func(t *testing.T, p place, db *sql.DB) {
		now := time.Now().Add(time.Minute)
		k := &taker{answer: func(e outbox.Entry) error {
			if strings.Contains(string(e.SubID), "never") {
				return fmt.Errorf("it said: %w", outbox.Permanent(errors.New("HTTP 422")))
			}
			return outbox.After(errors.New("HTTP 503"), 20*time.Minute)
		}}
		relay := &outbox.Relay{DB: db, Table: p.table, Send: k.send, Now: func() time.Time { return now }}
		never := put(t, p, db, "never")
		later := put(t, p, db, "later")
		if pass(t, relay) != 2 {
			t.Fatal("two were due")
		}
		dead, err := p.table.Dead(t.Context(), db, 10)
		if err != nil || len(dead) != 1 || dead[0].ID != never || dead[0].Reason != "it said: HTTP 422" {
			t.Fatalf("dead: %+v, %v", dead, err)
		}
		if now = now.Add(20*time.Minute - time.Second); pass(t, relay) != 0 {
			t.Fatal("tried before it was asked to")
		}
		k.answer = nil
		if now = now.Add(time.Second); pass(t, relay) != 1 || k.ids()[2] != later {
			t.Fatal("not tried again")
		}
		// Prune takes what ended before, and nothing else.
		waits := put(t, p, db, "waits")
		if n, err := p.table.Prune(t.Context(), db, now.Add(-time.Hour)); n != 0 || err != nil {
			t.Fatalf("pruned %d, %v", n, err)
		}
		if n, err := p.table.Prune(t.Context(), db, now.Add(time.Hour)); n != 2 || err != nil {
			t.Fatalf("pruned %d, %v", n, err)
		}
		if pass(t, relay) != 1 || k.ids()[3] != waits {
			t.Fatal("what waited was pruned")
		}
	})
}

// Several relays drain one table: each entry is sent once.
func TestRelaysShareTheWork(t *testing.T) {
	each(t, func(t *testing.T, p place, db *sql.DB) {
		const entries, relays = 120, 4
		want := map[string]bool{}
		for i := range entries {
			want[put(t, p, db, fmt.Sprintf("p%d", i))] = true
		}
		k := &taker{}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range relays {
			own := p.open(t)
			wg.Go(func() {
				r := &outbox.Relay{DB: own, Table: p.table, Send: k.send, Batch: 7, Poll: 5 * time.Millisecond}
				if err := r.Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		limit := time.Now().Add(20 * time.Second)
		for left := 1; left > 0; time.Sleep(2 * time.Millisecond) {
			if err := db.QueryRow(`SELECT count(*) FROM ` + tableName(p) + ` WHERE state = 'waiting'`).Scan(&left); err != nil {
				t.Fatal(err)
			}
			if time.Now().After(limit) {
				t.Fatalf("%d are left", left)
			}
		}
		cancel()
		wg.Wait()
		seen := map[string]int{}
		for _, id := range k.ids() {
			seen[id]++
		}
		if len(seen) != entries || len(k.got) != entries || k.twice {
			t.Fatalf("%d entries in %d sends, twice at once: %v", len(seen), len(k.got), k.twice)
		}
		for id := range want {
			if seen[id] != 1 {
				t.Fatalf("%s was sent %d times", id, seen[id])
			}
		}
	})
}

func tableName(p place) string {
	if p.table.Name != "" {
		return p.table.Name
	}
	return outbox.DefaultTable
}

// With Ordered nothing overtakes what was put before about the same subject, and other subjects go on.
func TestOrdered(t *testing.T) {
	each(t, func(t *testing.T, p place, db *sql.DB) {
		first, second := put(t, p, db, "mira"), put(t, p, db, "mira")
		other := put(t, p, db, "leo")
		now := time.Now().Add(time.Minute)
		k := &taker{answer: func(e outbox.Entry) error {
			if e.ID == first && e.Tries == 0 {
				return errors.New("away")
			}
			return nil
		}}
		relay := &outbox.Relay{DB: db, Table: p.table, Send: k.send, Ordered: true, Now: func() time.Time { return now }}
		for range 3 {
			pass(t, relay)
		}
		if got := k.ids(); len(got) != 2 || !slices.Contains(got, other) || slices.Contains(got, second) {
			t.Fatalf("sent while the first waits: %v", got)
		}
		now = now.Add(time.Minute)
		for range 3 {
			pass(t, relay)
		}
		if got := k.ids(); len(got) != 4 || got[2] != first || got[3] != second {
			t.Fatalf("sent: %v", got)
		}
	})
}

// An entry of a relay that died comes back when its lease has ended, and not before. What the dead one still says then
// counts only where it is that the entry was taken.
func TestLease(t *testing.T) {
	for _, late := range []error{nil, outbox.Permanent(errors.New("too late to say"))} {
		each(t, func(t *testing.T, p place, db *sql.DB) {
			id := put(t, p, db, "mira")
			now := time.Now()
			clock := func() time.Time { return now }
			k := &taker{answer: func(outbox.Entry) error { return outbox.After(errors.New("busy"), time.Hour) }}
			later := &outbox.Relay{DB: db, Table: p.table, Send: k.send, Now: clock}
			died := &outbox.Relay{DB: db, Table: p.table, Now: clock, Send: func(context.Context, outbox.Entry) error {
				if pass(t, later) != 0 {
					t.Error("taken while another has it")
				}
				now = now.Add(time.Minute + time.Second)
				if pass(t, later) != 1 || !slices.Equal(k.ids(), []string{id}) {
					t.Error("not taken over")
				}
				return late
			}}
			pass(t, died)
			dead, err := p.table.Dead(t.Context(), db, 1)
			if err != nil || len(dead) != 0 {
				t.Errorf("given up by a relay that had lost it: %v, %v", dead, err)
			}
			k.answer = nil
			now = now.Add(time.Hour)
			want := 1
			if late == nil {
				want = 0 // it was taken
			}
			if got := pass(t, later); got != want {
				t.Errorf("%d are left, want %d", got, want)
			}
		})
	}
}

// A batch that takes long is given back rather than sent beyond its lease.
func TestNothingIsSentBeyondTheLease(t *testing.T) {
	each(t, func(t *testing.T, p place, db *sql.DB) {
		for range 3 {
			put(t, p, db, "mira")
		}
		now := time.Now()
		k := &taker{}
		k.answer = func(outbox.Entry) error { now = now.Add(55 * time.Second); return nil }
		relay := &outbox.Relay{DB: db, Table: p.table, Send: k.send, Now: func() time.Time { return now }, Parallel: 1}
		if pass(t, relay) != 3 || len(k.got) != 1 {
			t.Fatalf("%d were sent of one lease", len(k.got))
		}
		if pass(t, relay) != 2 || len(k.got) != 2 {
			t.Fatalf("%d were sent of two", len(k.got))
		}
	})
}

// Killed between the send and the mark: it is sent again, under the same key.
func TestKilledBeforeTheMark(t *testing.T) {
	if file := os.Getenv("OUTBOX_CHILD"); file != "" {
		child(t, file)
		return
	}
	each(t, func(t *testing.T, p place, db *sql.DB) {
		id := put(t, p, db, "mira")
		file := filepath.Join(t.TempDir(), "sent")
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledBeforeTheMark$")
		cmd.Env = append(os.Environ(), "OUTBOX_CHILD="+file, "OUTBOX_DRIVER="+p.driver, "OUTBOX_DSN="+p.dsn, "OUTBOX_TABLE="+p.table.Name)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the child was not killed: %v\n%s", err, out)
		}
		sent, err := os.ReadFile(file)
		if err != nil || string(sent) != id {
			t.Fatalf("the child sent %q, want %q; %v", sent, id, err)
		}
		k := &taker{}
		relay := &outbox.Relay{DB: db, Table: p.table, Send: k.send}
		if pass(t, relay) != 0 {
			t.Fatal("taken over at once")
		}
		relay.Now = func() time.Time { return time.Now().Add(2 * time.Minute) }
		if pass(t, relay) != 1 || !slices.Equal(k.ids(), []string{id}) || pass(t, relay) != 0 {
			t.Fatalf("sent again: %v, want %s", k.ids(), id)
		}
	})
}

func child(t *testing.T, file string) {
	p := place{table: outbox.Table{Dialect: outbox.SQLite, Name: os.Getenv("OUTBOX_TABLE")}, driver: os.Getenv("OUTBOX_DRIVER"), dsn: os.Getenv("OUTBOX_DSN")}
	if p.driver == "pgx" {
		p.table.Dialect = outbox.PostgreSQL
	}
	relay := &outbox.Relay{DB: p.open(t), Table: p.table, Send: func(_ context.Context, e outbox.Entry) error {
		if err := os.WriteFile(file, []byte(e.ID), 0o600); err != nil {
			return err
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}}
	_, err := relay.Pass(context.Background())
	t.Fatalf("still alive: %v", err)
}

func TestPutRefuses(t *testing.T) {
	p := place{table: outbox.Table{Dialect: outbox.SQLite}, driver: "sqlite", dsn: "file:" + filepath.Join(t.TempDir(), "app.db")}
	db := made(t, p)
	for name, spoil := range map[string]func(*outbox.Signal){
		"no type":         func(s *outbox.Signal) { s.EventType = "" },
		"no subject":      func(s *outbox.Signal) { s.SubID = nil },
		"a broken one":    func(s *outbox.Signal) { s.SubID = json.RawMessage(`{"format":"email"}`) },
		"broken JSON":     func(s *outbox.Signal) { s.Event = json.RawMessage(`{`) },
		"no object":       func(s *outbox.Signal) { s.Event = json.RawMessage(`[]`) },
		"a name twice":    func(s *outbox.Signal) { s.Event = json.RawMessage(`{"a":1,"a":2}`) },
		"control in txn":  func(s *outbox.Signal) { s.TXN = "a\nb" },
		"another do":      func(s *outbox.Signal) { s.Do = []string{"drop"} },
		"broken encoding": func(s *outbox.Signal) { s.EventType = "a\xff" },
	} {
		s := signal("mira")
		spoil(&s)
		if _, err := p.table.Put(t.Context(), db, s); !errors.Is(err, outbox.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, table := range []outbox.Table{{}, {Dialect: 9}, {Dialect: outbox.SQLite, Name: "a; DROP TABLE b"}, {Dialect: outbox.SQLite, Name: "a.b.c"}, {Dialect: outbox.SQLite, Name: `"x"`}} {
		if _, err := table.Schema(); !errors.Is(err, outbox.ErrInvalid) {
			t.Errorf("%+v: %v", table, err)
		}
		if _, err := table.Put(t.Context(), db, signal("mira")); !errors.Is(err, outbox.ErrInvalid) {
			t.Errorf("%+v: %v", table, err)
		}
	}
	for name, r := range map[string]*outbox.Relay{
		"no database": {Table: p.table, Send: (&taker{}).send}, "no send": {Table: p.table, DB: db},
		"a short lease": {Table: p.table, DB: db, Send: (&taker{}).send, Lease: time.Second},
	} {
		if err := r.Run(t.Context()); !errors.Is(err, outbox.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var rows int
	if err := db.QueryRow(`SELECT count(*) FROM ` + outbox.DefaultTable).Scan(&rows); err != nil || rows != 0 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

// Run ends with its context, and a database that is away does not end it.
func TestRunSurvivesTheDatabase(t *testing.T) {
	p := place{table: outbox.Table{Dialect: outbox.SQLite}, driver: "sqlite", dsn: "file:" + url.PathEscape(filepath.Join(t.TempDir(), "app.db")) + "?_pragma=busy_timeout(10000)"}
	db := p.open(t) // the table is not there yet
	k := &taker{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	relay := &outbox.Relay{DB: db, Table: p.table, Send: k.send, Poll: time.Millisecond}
	go func() { done <- relay.Run(ctx) }()
	other := made(t, p)
	id := put(t, p, other, "mira")
	limit := time.Now().Add(10 * time.Second)
	for len(k.ids()) == 0 && time.Now().Before(limit) {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil || !slices.Equal(k.ids(), []string{id}) {
		t.Fatalf("%v, %v", k.ids(), err)
	}
}
