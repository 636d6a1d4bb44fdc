package store

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"countersign/internal/hub"
	"countersign/transmitter"
)

// A PostgreSQL that goes away and comes back: what is called meanwhile is refused with hub.Unavailable, nothing that was
// acknowledged is lost, and the Store goes on by itself, leases and claimed jobs included.
func TestDatabaseGoesAndComesBack(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := postgresPlace(t)
	admin, err := pgx.Connect(ctx, p.url)
	must(t, err)
	defer admin.Close(context.Background())
	// A database of its own, so that only its connections can be cut off.
	name := "gone_" + p.schema
	_, err = admin.Exec(ctx, `CREATE DATABASE `+name)
	must(t, err)
	u, err := url.Parse(p.url)
	must(t, err)
	u.Path = "/" + name
	s := place{url: u.String(), schema: "hub"}.open(t, Config{Fatal: func(err error) { t.Errorf("fatal: %v", err) }})
	v := s.Transmitter(tenant, nil)
	st := &transmitter.Stream{ID: "str_1", Receiver: "r", Status: transmitter.Enabled}
	must(t, v.CreateStream(ctx, st, 0))
	job := keepNew(t, s, newSignal("before"))
	must(t, v.Enqueue(ctx, outgoing(st, 0, "before")))

	_, err = admin.Exec(ctx, `ALTER DATABASE `+name+` ALLOW_CONNECTIONS false`)
	must(t, err)
	_, err = admin.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, name)
	must(t, err)
	for i := range 3 {
		_, err := s.Keep(ctx, newSignal(fmt.Sprint("gone", i)), "p", nil, nil)
		wantCode(t, err, hub.Unavailable)
		wantCode(t, v.Enqueue(ctx, outgoing(st, 0, fmt.Sprint("gone", i))), hub.Unavailable)
		wantCode(t, v.Done(ctx, []transmitter.Outcome{{Stream: st.Key, Seq: 1, JTI: "x", Event: 1}}), hub.Unavailable)
		_, err = v.Next(ctx, st.Key, 0, 1)
		wantCode(t, err, hub.Unavailable)
		wantCode(t, s.Ping(ctx), hub.Unavailable)
	}
	// Long enough that the lease ends: nothing is delivered without one.
	for end := time.Now().Add(leaseTime + 2*time.Second); ; time.Sleep(50 * time.Millisecond) {
		held, err := v.Shards(ctx)
		if err != nil {
			wantCode(t, err, hub.Unavailable)
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d shards are held without a database", size(held))
		}
	}

	_, err = admin.Exec(ctx, `ALTER DATABASE `+name+` ALLOW_CONNECTIONS true`)
	must(t, err)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if held, err := v.Shards(ctx); err == nil && held == transmitter.AllShards {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the leases did not come back")
		}
	}
	keepNew(t, s, newSignal("after"))
	must(t, s.RenewJobs(ctx, []hub.Job{*job}))
	must(t, s.FinishJob(ctx, job, nil))
	items, err := v.Next(ctx, st.Key, 0, 10)
	must(t, err)
	if len(items) != 1 || items[0].JTI != "before" {
		t.Fatalf("waiting: %+v", items)
	}
}
