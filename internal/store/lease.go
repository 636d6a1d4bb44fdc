package store

import (
	"context"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"countersign/internal/hub"
	"countersign/transmitter"
)

// Leases of shards, PostgreSQL. A node is alive while its row was renewed within leaseTime by the database's clock, and a
// shard is held while its owner is alive. Rendezvous hashing over the nodes that are alive says who should hold
// which; a node takes what it should have once nobody alive holds it, and gives up what another should have. There is
// no vote: two nodes can believe for a moment that they hold one shard, and then a SET can be sent twice, which
// at-least-once allows.
//
// A killed node is followed within leaseTime + renewEvery + a round trip, 12.5 s and a little; the pump asks again each second.
const (
	leaseTime  = 10 * time.Second
	renewEvery = 2500 * time.Millisecond
	// leaseMargin is what a node stops before its own lease ends, by its own clock from before it asked.
	leaseMargin = time.Second
	// forgetNode is after what time a node that is gone has no row any more.
	forgetNode = time.Hour
)

// leases is what this node holds.
type leases struct {
	e    *pg
	stop context.CancelFunc
	end  sync.WaitGroup

	renewing sync.Mutex // one renewal at a time

	mu    sync.Mutex
	held  transmitter.Shards
	until time.Time // of held, by our own monotonic clock
}

// startLeases claims a first time and goes on until close.
func startLeases(ctx context.Context, e *pg) (*leases, error) {
	l := &leases{e: e}
	if err := l.renew(ctx); err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	l.end.Go(func() {
		tick := time.NewTicker(renewEvery)
		defer tick.Stop()
		failed := false
		for {
			select {
			case <-run.Done():
				return
			case <-tick.C:
			}
			err := l.renew(run)
			if err != nil && run.Err() == nil && !failed {
				e.s.cfg.Log.Warn("the leases of streams could not be renewed; nothing is pushed until they are", "err", err)
			}
			failed = err != nil
		}
	})
	return l, nil
}

// close gives back at once what is held.
func (l *leases) close() {
	l.stop()
	l.end.Wait()
	l.renewing.Lock()
	defer l.renewing.Unlock()
	l.mu.Lock()
	l.held, l.until = transmitter.Shards{}, time.Time{}
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if _, err := l.e.pool.Exec(ctx, `WITH gone AS (DELETE FROM node WHERE id = $1) UPDATE shard_lease SET owner = '' WHERE owner = $1`, l.e.s.life); err != nil {
		l.e.s.cfg.Log.Warn("the leases of streams could not be given back; they end by themselves", "err", err)
	}
}

// current gives what is held now.
func (l *leases) current(ctx context.Context) (transmitter.Shards, error) {
	l.mu.Lock()
	held, fresh := l.held, time.Now().Before(l.until)
	l.mu.Unlock()
	if fresh {
		return held, nil
	}
	if err := l.renew(ctx); err != nil {
		return transmitter.Shards{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held, nil
}

const micros = `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`

// alive is the condition that the node n was seen lately.
var alive = `n.seen > ` + micros + ` - ` + itoa(int(leaseTime/time.Microsecond))

// renew says that this node is alive, and moves the shards towards where they should be. Each statement stands alone, so
// that a node which stops in the middle holds no lock.
func (l *leases) renew(ctx context.Context) error {
	l.renewing.Lock()
	defer l.renewing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, leaseTime)
	defer cancel()
	me := l.e.s.life
	begun := time.Now()
	// An earlier life of this node is over: its row goes, and with it its leases.
	if _, err := l.e.pool.Exec(ctx, `WITH former AS (DELETE FROM node WHERE (substr(id, 1, $2) = $3 AND id <> $1) OR seen < `+micros+` - $4)
		INSERT INTO node (id, seen) VALUES ($1, `+micros+`) ON CONFLICT (id) DO UPDATE SET seen = excluded.seen`,
		me, len(l.e.s.cfg.Node)+1, l.e.s.cfg.Node+"/", int64(forgetNode/time.Microsecond)); err != nil {
		return translate(err)
	}
	nodes, err := l.texts(ctx, `SELECT n.id FROM node n WHERE `+alive+` ORDER BY n.id`)
	if err != nil {
		return err
	}
	if !slices.Contains(nodes, me) {
		nodes = append(nodes, me)
	}
	want, leave := []int64{}, []int64{} // not nil, which would be NULL
	l.mu.Lock()
	was := l.held
	l.mu.Unlock()
	for shard := range transmitter.ShardCount {
		switch {
		case rendezvous(nodes, shard) == me:
			want = append(want, int64(shard))
		case was[shard/64]&(1<<(shard%64)) != 0:
			leave = append(leave, int64(shard))
		}
	}
	// What another should have is first only left alone here; a renewal later, when the pump has seen it, the row goes.
	if _, err := l.e.pool.Exec(ctx, `UPDATE shard_lease SET owner = '' WHERE owner = $1 AND NOT (shard = ANY($2) OR shard = ANY($3))`, me, want, leave); err != nil {
		return translate(err)
	}
	// A row that another node is taking at this moment is skipped: it is not ours this time.
	if _, err := l.e.pool.Exec(ctx, `UPDATE shard_lease l SET owner = $1, epoch = l.epoch + 1
		FROM (SELECT x.shard FROM shard_lease x WHERE x.shard = ANY($2) AND x.owner <> $1
			AND NOT EXISTS (SELECT 1 FROM node n WHERE n.id = x.owner AND `+alive+`) ORDER BY x.shard FOR UPDATE SKIP LOCKED) f
		WHERE l.shard = f.shard`, me, want); err != nil {
		return translate(err)
	}
	rows, err := l.e.pool.Query(ctx, `SELECT shard FROM shard_lease WHERE owner = $1 AND shard = ANY($2)`, me, want)
	if err != nil {
		return translate(err)
	}
	var held transmitter.Shards
	for rows.Next() {
		var shard int
		if err := rows.Scan(&shard); err != nil {
			rows.Close()
			return err
		}
		held.Add(shard)
	}
	if err := rows.Err(); err != nil {
		return translate(err)
	}
	l.mu.Lock()
	l.held, l.until = held, begun.Add(leaseTime-leaseMargin)
	l.mu.Unlock()
	return nil
}

func (l *leases) texts(ctx context.Context, query string) ([]string, error) {
	rows, err := l.e.pool.Query(ctx, query)
	if err != nil {
		return nil, translate(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, translate(rows.Err())
}

// rendezvous gives the node that should hold a shard: when one comes or goes, only its own shards move. A node that
// starts again has the same ones.
func rendezvous(lives []string, shard int) string {
	best, most := "", uint64(0)
	for _, life := range lives {
		node, _, _ := strings.Cut(life, "/")
		h := fnv.New64a()
		h.Write([]byte(node))
		// FNV alone says too little about its last bytes: mixed as splitmix64 does it.
		score := h.Sum64() + (uint64(shard)+1)*0x9e3779b97f4a7c15
		score = (score ^ score>>30) * 0xbf58476d1ce4e5b9
		score = (score ^ score>>27) * 0x94d049bb133111eb
		score ^= score >> 31
		if best == "" || score > most || score == most && life < best {
			best, most = life, score
		}
	}
	return best
}

func (e *pg) shards(ctx context.Context) (transmitter.Shards, error) { return e.leases.current(ctx) }

// ours refuses a stream whose shard another node holds, in the transaction that would change it.
func (e *pg) ours(t *tx, stream int64) error {
	var owner string
	found, err := t.one(`SELECT l.owner FROM shard_lease l JOIN node n ON n.id = l.owner WHERE l.shard = $1 AND l.owner <> $2 AND `+alive,
		[]any{transmitter.ShardOf(stream), e.s.life}, &owner)
	if err == nil && found {
		err = hub.Errorf(hub.Conflict, "another node delivers the stream now")
	}
	return err
}

// Shards implements transmitter.Store. On PostgreSQL the claim is renewed by the Store itself while it is open.
func (v *Transmitter) Shards(ctx context.Context) (transmitter.Shards, error) {
	if err := needTenant(v.tenant); err != nil {
		return transmitter.Shards{}, err
	}
	return v.s.e.shards(ctx)
}
