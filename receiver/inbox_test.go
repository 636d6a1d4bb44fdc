package receiver_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"countersign/internal/pgtest"
	"countersign/internal/req"
	"countersign/receiver"
)

// inboxes opens each kind of Inbox, empty.
func inboxes() map[string]func(t *testing.T) receiver.Inbox {
	open := func(t *testing.T, driver, dsn string, s *receiver.SQLInbox) receiver.Inbox {
		t.Helper()
		db, err := sql.Open(driver, dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		s.DB = db
		schema, err := s.Schema()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time it changes nothing
			if _, err := db.ExecContext(t.Context(), schema); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	return map[string]func(t *testing.T) receiver.Inbox{
		"memory": func(*testing.T) receiver.Inbox { return receiver.Memory() },
		"sqlite": func(t *testing.T) receiver.Inbox {
			return open(t, "sqlite", "file:"+t.TempDir()+"/inbox.db?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)", &receiver.SQLInbox{Dialect: receiver.SQLite})
		},
		"postgresql": func(t *testing.T) receiver.Inbox {
			address, schema := pgtest.URL(t)
			db, err := sql.Open("pgx", address)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.ExecContext(t.Context(), `CREATE SCHEMA IF NOT EXISTS `+schema); err != nil {
				t.Fatal(err)
			}
			return open(t, "pgx", address, &receiver.SQLInbox{Dialect: receiver.PostgreSQL, Table: schema + ".signals"})
		},
	}
}

func TestInbox(t *testing.T) {
	for name, open := range inboxes() {
		t.Run(name, func(t *testing.T) {
			req.Covers(t, "RX-58", "RX-59", "RX-78")
			ctx := t.Context()
			in := open(t)
			at := time.Unix(1_800_000_000, 0)
			item := func(key string, due time.Time) receiver.Item {
				return receiver.Item{Key: key, Hash: "h-" + key, Token: "t-" + key, Received: at, Due: due, State: json.RawMessage(`{"n":1}`)}
			}
			for i, key := range []string{"a", "b", "c"} {
				if err := in.Keep(ctx, item(key, at.Add(time.Duration(2-i)*time.Second))); err != nil {
					t.Fatal(err)
				}
			}
			same := item("a", at)
			if err := in.Keep(ctx, same); !errors.Is(err, receiver.ErrRepeat) {
				t.Errorf("again: %v", err)
			}
			same.Hash = "other"
			if err := in.Keep(ctx, same); !errors.Is(err, receiver.ErrClash) {
				t.Errorf("another one: %v", err)
			}
			// The one that is due first, and only what is due.
			if got, ok, err := in.Claim(ctx, at.Add(1500*time.Millisecond), at.Add(time.Minute)); !ok || err != nil || got.Key != "c" || got.Token != "t-c" || got.Hash != "h-c" || !got.Received.Equal(at) || string(got.State) != `{"n":1}` {
				t.Errorf("%+v, %v, %v", got, ok, err)
			}
			if got, _, err := in.Claim(ctx, at.Add(1500*time.Millisecond), at.Add(time.Minute)); got.Key != "b" || err != nil {
				t.Errorf("%+v, %v", got, err)
			}
			if got, ok, err := in.Claim(ctx, at.Add(1500*time.Millisecond), at.Add(time.Minute)); ok || err != nil {
				t.Errorf("%+v, %v", got, err)
			}
			// What was claimed and not dealt with comes again.
			got, ok, err := in.Claim(ctx, at.Add(2*time.Minute), at.Add(3*time.Minute))
			if !ok || err != nil || got.Key != "a" {
				t.Errorf("%+v, %v, %v", got, ok, err)
			}
			got.State, got.Due = json.RawMessage(`{"n":2}`), at.Add(time.Hour)
			if err := in.Save(ctx, got); err != nil {
				t.Fatal(err)
			}
			if found, ok, err := in.Find(ctx, "a"); !ok || err != nil || string(found.State) != `{"n":2}` || !found.Due.Equal(at.Add(time.Hour)) {
				t.Errorf("%+v, %v, %v", found, ok, err)
			}
			// What is done is a repeat for ever after, and nothing else.
			if err := errors.Join(in.Done(ctx, "a"), in.Done(ctx, "a"), in.Save(ctx, got)); err != nil {
				t.Fatal(err)
			}
			if _, ok, err := in.Find(ctx, "a"); ok || err != nil {
				t.Errorf("found, %v", err)
			}
			if err := in.Keep(ctx, item("a", at)); !errors.Is(err, receiver.ErrRepeat) {
				t.Errorf("after it was done: %v", err)
			}
			for _, key := range []string{"b", "c"} {
				if err := in.Done(ctx, key); err != nil {
					t.Fatal(err)
				}
			}
			if got, ok, err := in.Claim(ctx, at.Add(24*time.Hour), at.Add(25*time.Hour)); ok || err != nil {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// Two that claim at once never get the same item.
func TestInboxIsShared(t *testing.T) {
	for name, open := range inboxes() {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			in := open(t)
			at := time.Unix(1_800_000_000, 0)
			for i := range 60 {
				if err := in.Keep(ctx, receiver.Item{Key: fmt.Sprint(i), Hash: "h", Token: "t", Received: at, Due: at, State: json.RawMessage(`{}`)}); err != nil {
					t.Fatal(err)
				}
			}
			var mu sync.Mutex
			claimed := map[string]int{}
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for {
						item, ok, err := in.Claim(ctx, at, at.Add(time.Minute))
						if err != nil {
							t.Error(err)
						}
						mu.Lock()
						done := err != nil || !ok && len(claimed) == 60
						if ok {
							claimed[item.Key]++
						}
						mu.Unlock()
						if done {
							return
						}
					}
				})
			}
			all.Wait()
			for key, n := range claimed {
				if n != 1 {
					t.Errorf("item %s was claimed %d times", key, n)
				}
			}
		})
	}
}

func TestMemoryInboxIsBounded(t *testing.T) {
	req.Covers(t, "RX-81")
	ctx := t.Context()
	in := &receiver.MemoryInbox{Waiting: 3, Remembered: 5}
	keep := func(i int) error {
		return in.Keep(ctx, receiver.Item{Key: fmt.Sprint(i), Hash: "h"})
	}
	for i := range 3 {
		if err := keep(i); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := errors.AsType[*receiver.Busy](keep(3)); !ok {
		t.Error("a fourth one was kept")
	}
	for i := range 20 {
		if i >= 3 {
			if err := keep(i); err != nil {
				t.Fatal(err)
			}
		}
		if err := in.Done(ctx, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range map[int]error{0: nil, 14: nil, 15: receiver.ErrRepeat, 19: receiver.ErrRepeat} {
		if err := keep(i); !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", i, err, want)
		}
	}
}

func TestSQLInboxRefuses(t *testing.T) {
	for name, s := range map[string]*receiver.SQLInbox{"no dialect": {}, "a name": {Dialect: receiver.SQLite, Table: "x; DROP TABLE y"}} {
		if _, err := s.Schema(); !errors.Is(err, receiver.ErrInbox) {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Keep(t.Context(), receiver.Item{}); !errors.Is(err, receiver.ErrInbox) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSQLInboxPrunes(t *testing.T) {
	in := inboxes()["sqlite"](t).(*receiver.SQLInbox)
	ctx := t.Context()
	for _, key := range []string{"done", "waits"} {
		if err := in.Keep(ctx, receiver.Item{Key: key, Hash: "h", Received: time.Now(), Due: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Done(ctx, "done"); err != nil {
		t.Fatal(err)
	}
	if err := in.Prune(ctx, time.Now().Add(29*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := in.Keep(ctx, receiver.Item{Key: "done", Hash: "h"}); !errors.Is(err, receiver.ErrRepeat) {
		t.Errorf("after 29 days: %v", err)
	}
	if err := in.Prune(ctx, time.Now().Add(31*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := in.Keep(ctx, receiver.Item{Key: "done", Hash: "h"}); err != nil {
		t.Errorf("after 31 days: %v", err)
	}
	if _, ok, _ := in.Find(ctx, "waits"); !ok {
		t.Error("what waits was pruned")
	}
}
