package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"regexp"
	"time"

	"countersign/internal/hub"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// writers is how many goroutines send batches of hot writes to PostgreSQL.
const writers = 2

// transactionTime bounds one transaction, so that a dead server gives an answer.
const transactionTime = 30 * time.Second

// pg is the PostgreSQL engine. Hot writes of many callers go out as one batch in one round trip, natively over
// pgx; ordinary transactions go through database/sql over the same pool, each on its own connection:
// the server groups their commits.
type pg struct {
	s    *Store
	pool *pgxpool.Pool
	db   *sql.DB

	queue   *queue
	decides *queue // decisions, which share transactions of their own
	leases  *leases
	commit  func(tx *sql.Tx) error // tests replace it
}

// plainName is a search_path that names one schema.
var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

func openPostgres(ctx context.Context, s *Store, url string) (err error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		// The text of the error may quote the URL, and that has a password in it.
		return hub.Errorf(hub.Invalid, "the postgres:// address cannot be read").WithHint("it looks like postgres://user@host:5432/name?sslmode=verify-full")
	}
	cfg.MaxConns = int32(s.cfg.Pool)
	cfg.ConnConfig.ConnectTimeout = 10 * time.Second
	if cfg.ConnConfig.RuntimeParams["application_name"] == "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = "countersign"
	}
	if path := cfg.ConnConfig.RuntimeParams["search_path"]; s.cfg.Schema == "" && plainName.MatchString(path) {
		s.cfg.Schema = path // an address may name the schema: ?search_path=hub
	}
	if s.cfg.Schema != "" {
		cfg.ConnConfig.RuntimeParams["search_path"] = pgx.Identifier{s.cfg.Schema}.Sanitize()
	}
	e := &pg{s: s, queue: newQueue(s.cfg.QueueLimit), decides: newQueue(s.cfg.QueueLimit)}
	if e.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			e.release()
		}
	}()
	if err := e.check(ctx); err != nil {
		return err
	}
	if s.cfg.Schema != "" {
		if _, err := e.pool.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS `+pgx.Identifier{s.cfg.Schema}.Sanitize()); err != nil && !unique(err) {
			return err
		}
	}
	e.db = stdlib.OpenDBFromPool(e.pool)
	e.db.SetMaxIdleConns(0) // the pool keeps them
	lock := fnv.New64a()
	fmt.Fprintf(lock, "countersign migrate %s", s.cfg.Schema)
	if err := s.migrate(ctx, &migration{db: e.db, lock: int64(lock.Sum64() >> 1)}); err != nil {
		return err
	}
	e.commit = func(tx *sql.Tx) error { return tx.Commit() }
	if e.leases, err = startLeases(ctx, e); err != nil {
		return err
	}
	s.e = e
	e.queue.start(writers, e.group)
	e.decides.start(writers, e.groupDecides)
	return nil
}

// check refuses a server that can lose what it has acknowledged.
func (e *pg) check(ctx context.Context) error {
	var fsync, commit, encoding string
	err := e.pool.QueryRow(ctx, `SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('server_encoding')`).Scan(&fsync, &commit, &encoding)
	if err != nil {
		return err
	}
	if err := fsyncVerdict(fsync); err != nil {
		return err
	}
	if encoding != "UTF8" {
		return hub.Errorf(hub.Invalid, "the database has the encoding %s", encoding).WithHint("create it with ENCODING 'UTF8'")
	}
	if commit == "off" {
		e.s.cfg.Log.Warn("synchronous_commit is off: a crash of the PostgreSQL server can lose acknowledged signals")
	}
	return nil
}

func fsyncVerdict(setting string) error {
	if setting == "on" {
		return nil
	}
	return hub.Errorf(hub.Invalid, "the PostgreSQL server runs with fsync = %s and can lose acknowledged signals", setting).WithHint("set fsync = on")
}

// write runs f in a transaction. One that the server undid because of another is run again.
func (e *pg) write(ctx context.Context, point string, f func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	leave, err := e.queue.enter()
	if err != nil {
		return err
	}
	defer leave()
	return e.retry(ctx, point, f)
}

func (e *pg) retry(ctx context.Context, point string, f func(*tx) error) (err error) {
	for range 5 {
		if err = e.transaction(ctx, point, f); !again(err) {
			break
		}
	}
	return late(err)
}

// late makes the end of our own transactionTime, which is no end of the caller's context, an answer of its own.
func late(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return hub.Errorf(hub.Unavailable, "the PostgreSQL server took longer than %s: %w", transactionTime, err)
	}
	return err
}

func (e *pg) transaction(ctx context.Context, point string, f func(*tx) error) error {
	// A caller that goes away while its transaction runs does not tear it down: that would break the connection.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), transactionTime)
	defer cancel()
	x, err := e.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer x.Rollback()
	if err := f(&tx{ctx: ctx, q: x, statements: &e.s.statements}); err != nil {
		return err
	}
	e.s.stop(point, ".before-commit")
	if err := e.commit(x); err != nil {
		var refused *pgconn.PgError
		if errors.As(err, &refused) {
			return err // the server answered: it undid the transaction
		}
		return fmt.Errorf("%w: %w", errUnknownCommit, err)
	}
	e.s.commits.Add(1)
	e.s.stop(point, ".after-commit")
	return nil
}

func (e *pg) keep(ctx context.Context, k *keeping) error {
	return e.queue.submit(ctx, &op{point: pointKeep, keep: k})
}

func (e *pg) done(ctx context.Context, a *acks) error {
	if err := e.complete(ctx, a); err != nil {
		return err
	}
	return e.queue.submit(ctx, &op{point: pointAck, acks: a})
}

// group sends ops as one transaction. Where that fails for a reason of one of them, each goes alone.
func (e *pg) group(ops []*op) {
	ctx, cancel := context.WithTimeout(context.Background(), transactionTime)
	defer cancel()
	var err error
	for range 5 {
		if err = e.send(ctx, ops); !again(err) {
			break
		}
	}
	var refused *pgconn.PgError
	if err != nil && errors.As(err, &refused) && len(ops) > 1 {
		for i := range ops {
			e.group(ops[i : i+1])
		}
		return
	}
	for _, o := range ops {
		o.err = late(err)
	}
	if err != nil {
		return
	}
	// What was not written is looked at one by one; it is rare.
	for _, o := range ops {
		k := o.keep
		if k == nil || k.kept.ID != "" || k.wrote {
			continue
		}
		o.err = e.retry(ctx, pointKeep, func(t *tx) error {
			k.reset()
			return e.s.classify(t, k)
		})
	}
}

// send writes ops in one round trip and one transaction.
func (e *pg) send(ctx context.Context, ops []*op) error {
	b := &pgx.Batch{}
	keepRows := newKeepBatch(e.s, ops)
	keepRows.queue(b)
	ackRows := newAckBatch(ops)
	ackRows.queue(b)
	if b.Len() == 0 {
		return nil
	}
	for _, p := range points(ops) {
		e.s.stop(p, ".before-commit")
	}
	e.s.statements.Add(1)
	if keepRows.any() {
		e.s.keepTrips.Add(1)
	}
	// The batch is one implicit transaction: it commits with the one Sync at its end.
	err := e.pool.SendBatch(ctx, b).Close()
	if err != nil {
		var refused *pgconn.PgError
		var dial *pgconn.ConnectError
		if errors.As(err, &refused) || errors.As(err, &dial) || pgconn.SafeToRetry(err) {
			return err
		}
		return fmt.Errorf("%w: %w", errUnknownCommit, err)
	}
	e.s.commits.Add(1)
	for _, p := range points(ops) {
		e.s.stop(p, ".after-commit")
	}
	return nil
}

func (e *pg) reader() querier { return e.db }

func (e *pg) ping(ctx context.Context) error { return e.pool.Ping(ctx) }

func (e *pg) close() error {
	e.decides.stop()
	if e.queue.stop() {
		e.leases.close()
		e.release()
	}
	return nil
}

func (e *pg) release() {
	if e.db != nil {
		e.db.Close()
	}
	e.pool.Close()
}
