package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"countersign/internal/hub"
	"countersign/transmitter"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Lease is how long a claimed job stays with its holder unless renewed.
const Lease = 30 * time.Second

// StopPoints are the names that Config.Stop is called with.
var StopPoints = []string{
	"keep.before-commit", "keep.after-commit", "decide.before-commit", "decide.after-commit",
	"attempt.after-commit", "action.before-commit", "action.after-commit",
	"receipt.before-commit", "receipt.after-commit", "ack.before-commit", "ack.after-commit",
	"poll.before-commit", "poll.after-commit", "announce.before-commit", "announce.after-commit",
	"redrive.before-commit", "redrive.after-commit", "expire.before-commit", "expire.after-commit",
	"reissue.before-commit", "reissue.after-commit", "withdraw.before-commit", "withdraw.after-commit",
}

// The kinds of writes that have stop points.
const (
	pointKeep     = "keep"
	pointDecide   = "decide"
	pointAttempt  = "attempt"
	pointAction   = "action"
	pointReceipt  = "receipt"
	pointAck      = "ack"
	pointPoll     = "poll"
	pointAnnounce = "announce"
	pointRedrive  = "redrive"
	pointExpire   = "expire"
	pointReissue  = "reissue"
	pointWithdraw = "withdraw"
	pointNone     = ""
)

// Store keeps everything. It is safe for concurrent use.
type Store struct {
	cfg      Config
	d        *dialect
	e        engine
	life     string // node and a random part: names this life of this node
	claims   atomic.Int64
	seqs     sequence
	former   straggling
	reissued progress
	gone     goneStreams
	open     map[string]*openStreams // by tenant
	gens     map[string]int64        // generations of streams as committed; only SQLite's writer uses it

	waiting    atomic.Int64
	ops        atomic.Int64
	statements atomic.Int64
	commits    atomic.Int64
	signals    atomic.Int64
	keepTrips  atomic.Int64
}

// engine is what differs between SQLite and PostgreSQL beyond the dialect.
type engine interface {
	// write runs f in a transaction and returns when it is durable, or was undone.
	write(ctx context.Context, point string, f func(*tx) error) error
	// keep and done are the hot writes: many callers share statements.
	keep(ctx context.Context, k *keeping) error
	done(ctx context.Context, d *acks) error
	decide(ctx context.Context, w *deciding) error
	// ack is done within a transaction of write.
	ack(t *tx, a *acks) error
	// ours refuses a stream that another node delivers.
	ours(t *tx, stream int64) error
	// shards gives those whose streams this node delivers.
	shards(ctx context.Context) (transmitter.Shards, error)
	// reader gives statements outside of any transaction.
	reader() querier
	ping(ctx context.Context) error
	close() error
}

// Open opens the store at "sqlite:PATH" or "postgres://…", makes or migrates its tables, and frees the
// jobs that an earlier life of this node still held.
func Open(ctx context.Context, url string, cfg Config) (*Store, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Node == "" {
		cfg.Node = "node"
	}
	if strings.Contains(cfg.Node, "/") {
		return nil, hub.Errorf(hub.Invalid, "the node id %q holds a slash", cfg.Node)
	}
	if cfg.QueueLimit == 0 {
		cfg.QueueLimit = 4096
	}
	if cfg.Pool == 0 {
		cfg.Pool = 16
	}
	if cfg.Fatal == nil {
		log := cfg.Log
		cfg.Fatal = func(err error) {
			log.Error("the database could not make a write durable; the process ends and must be started again", "err", err)
			os.Exit(70)
		}
	}
	var random [8]byte
	rand.Read(random[:])
	s := &Store{cfg: cfg, open: map[string]*openStreams{}, gens: map[string]int64{}, life: cfg.Node + "/" + hex.EncodeToString(random[:])}
	s.seqs.s = s
	var err error
	switch {
	case strings.HasPrefix(url, "sqlite:"):
		s.d = &sqliteDialect
		err = openSQLite(ctx, s, strings.TrimPrefix(url, "sqlite:"))
	case strings.HasPrefix(url, "postgres://"), strings.HasPrefix(url, "postgresql://"):
		s.d = &postgresDialect
		err = openPostgres(ctx, s, url)
	default:
		return nil, hub.Errorf(hub.Invalid, "the database %q is neither sqlite:PATH nor postgres://…", scheme(url))
	}
	if err != nil {
		return nil, translate(err)
	}
	if err := s.freeJobs(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// scheme is the part of a URL that holds no password.
func scheme(url string) string {
	if i := strings.Index(url, ":"); i >= 0 {
		return url[:i+1] + "…"
	}
	return "…"
}

// Close writes what is queued, refuses what comes later, and closes the database.
func (s *Store) Close() error { return s.e.close() }

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return translate(s.e.ping(ctx)) }

// Engine is "sqlite" or "postgres".
func (s *Store) Engine() string { return s.d.name }

// Stats gives the counters.
func (s *Store) Stats() Stats {
	return Stats{
		Ops: s.ops.Load(), Statements: s.statements.Load(), Commits: s.commits.Load(),
		Waiting: s.waiting.Load(), Signals: s.signals.Load(), KeepTrips: s.keepTrips.Load(),
	}
}

// now is the moment that new rows get.
func (s *Store) now() hub.Micros { return hub.At(s.cfg.Now()) }

// admit counts a write in, or refuses it when too many wait already.
func (s *Store) admit() (leave func(), err error) {
	if s.waiting.Add(1) > int64(s.cfg.QueueLimit) {
		s.waiting.Add(-1)
		return nil, busy()
	}
	return func() { s.waiting.Add(-1); s.ops.Add(1) }, nil
}

// write runs f in a transaction of its own or, on SQLite, in a savepoint of a shared one. f may run more
// than once and must not keep anything from a run that failed.
func (s *Store) write(ctx context.Context, point string, f func(*tx) error) error {
	leave, err := s.admit()
	if err != nil {
		return err
	}
	defer leave()
	return translate(s.e.write(ctx, point, f))
}

// read runs f outside of any transaction.
func (s *Store) read(ctx context.Context, f func(*tx) error) error {
	return translate(f(&tx{ctx: ctx, q: s.e.reader()}))
}

// stop calls the stop point of the kill bench, where it is one.
func (s *Store) stop(point, when string) {
	if s.cfg.Stop == nil || point == pointNone {
		return
	}
	name := point + when
	for _, p := range StopPoints {
		if p == name {
			s.cfg.Stop(name)
			return
		}
	}
}

// claim makes a new claim id: no two claims of any life are the same.
func (s *Store) claim() string {
	return s.life + "." + strconv.FormatInt(s.claims.Add(1), 36)
}

// migrate brings the tables up to date.
func (s *Store) migrate(ctx context.Context, m *migration) error {
	opts := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithTableName("schema_version")}
	dialect := goose.DialectSQLite3
	if s.d == &postgresDialect {
		dialect = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(m.lock))
		if err != nil {
			return err
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(dialect, m.db, s.d.migrations(), opts...)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// sequence hands out the integer keys of all tables. A block is reserved at a time, so that a key costs no
// statement and is known before the row is written; keys are never used twice.
type sequence struct {
	s           *Store
	mu          sync.Mutex
	next, limit int64
}

// block is how many keys are reserved at once.
const block = 1 << 16

// take gives the first of n keys.
func (q *sequence) take(ctx context.Context, n int64) (int64, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.next+n > q.limit {
		size := max(int64(block), n)
		var high int64
		err := q.s.e.write(ctx, pointNone, func(t *tx) error {
			_, err := t.one(`UPDATE counter SET value = value + $1 WHERE name = 'seq' RETURNING value`, []any{size}, &high)
			return err
		})
		if err != nil {
			return 0, translate(err)
		}
		q.next, q.limit = high-size+1, high+1
	}
	first := q.next
	q.next += n
	return first, nil
}
