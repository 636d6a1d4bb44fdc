package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"countersign/internal/hub"
	"countersign/transmitter"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// batch is how many writes one commit takes at most.
const batch = 256

// migration is what migrate needs to know.
type migration struct {
	db   *sql.DB
	lock int64 // id of the advisory lock, PostgreSQL
}

// lite is the SQLite engine: one writer goroutine that owns the one writing connection, and a few
// read-only connections.
//
// The writer takes what is queued, at most batch writes, runs all of them in one transaction, commits, answers,
// and repeats. There is no timer: at low load a write has a commit of its own, and on a slow disk batches
// grow by themselves. A write that fails undoes only itself, in its savepoint.
type lite struct {
	s       *Store
	db      *sql.DB // writer, one connection
	conn    *sql.Conn
	st      *prepared
	readers *sql.DB
	rst     *prepared
	mark    *marker
	check   *checkpointer

	queue  *queue
	broken atomic.Pointer[error]
	commit func(ctx context.Context) error // tests replace it
}

func openSQLite(ctx context.Context, s *Store, path string) (err error) {
	if path == "" {
		return hub.Errorf(hub.Invalid, "sqlite: the path is missing")
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if kind := networkFileSystem(filepath.Dir(path)); kind != "" {
		return hub.Errorf(hub.Invalid, "the folder of %s is on %s, where SQLite can lose data", filepath.Base(path), kind).
			WithHint("put the data folder on a local disk, or use PostgreSQL")
	}
	e := &lite{s: s, queue: newQueue(s.cfg.QueueLimit)}
	if e.mark, err = openMarker(path + ".lock"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			e.release(false)
		}
	}()
	// The file is made before SQLite opens it, so that it never has a wider mode.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	f.Close()

	pragmas := url.Values{"_pragma": {
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "fullfsync(ON)",
		"cache_size(-16000)", "temp_store(MEMORY)", "wal_autocheckpoint(16000)", "trusted_schema(OFF)",
	}}
	if e.db, err = sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+pragmas.Encode()); err != nil {
		return err
	}
	e.db.SetMaxOpenConns(1)
	e.db.SetConnMaxLifetime(0)
	var mode string
	if err := e.db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	if mode != "wal" {
		return hub.Errorf(hub.Invalid, "sqlite: the file system of %s does not allow a write-ahead log", path)
	}
	if e.mark.unclean {
		var verdict string
		if err := e.db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
			return err
		}
		if verdict != "ok" {
			return hub.Errorf(hub.Internal, "the database is damaged after an unclean stop: %s", verdict).
				WithHint("restore it from a backup; keep the damaged file")
		}
	}
	if err := s.migrate(ctx, &migration{db: e.db}); err != nil {
		return err
	}
	if e.conn, err = e.db.Conn(ctx); err != nil {
		return err
	}
	e.st = newPrepared(e.conn)
	side := url.Values{"_pragma": {"busy_timeout(0)", "synchronous(FULL)", "fullfsync(ON)", "cache_size(-500)", "trusted_schema(OFF)"}}
	beside, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+side.Encode())
	if err != nil {
		return err
	}
	beside.SetMaxOpenConns(1)
	e.check = startCheckpointer(beside, func(err error) { e.fatal(err, true) })
	read := url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(10000)", "query_only(ON)", "cache_size(-2000)", "temp_store(MEMORY)", "trusted_schema(OFF)"}}
	if e.readers, err = sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+read.Encode()); err != nil {
		return err
	}
	e.readers.SetMaxOpenConns(4)
	e.readers.SetMaxIdleConns(4)
	e.rst = newPrepared(e.readers)
	e.commit = func(ctx context.Context) error {
		_, err := e.st.ExecContext(ctx, "COMMIT")
		if d := s.cfg.CommitDelay; d > 0 {
			time.Sleep(d)
		}
		return err
	}
	s.e = e
	e.queue.start(1, e.group)
	return nil
}

func (e *lite) write(ctx context.Context, point string, f func(*tx) error) error {
	return e.queue.submit(ctx, &op{point: point, f: f})
}

func (e *lite) keep(ctx context.Context, k *keeping) error {
	return e.queue.submit(ctx, &op{point: pointKeep, keep: k})
}

func (e *lite) done(ctx context.Context, d *acks) error {
	return e.queue.submit(ctx, &op{point: pointAck, acks: d})
}

func (e *lite) ack(t *tx, a *acks) error { return e.s.ackRows(t, []*acks{a}) }

// ours: there is no other node.
func (e *lite) ours(*tx, int64) error { return nil }

func (e *lite) shards(context.Context) (transmitter.Shards, error) { return transmitter.AllShards, nil }

// group runs ops in one transaction and commits it. It sets err of each op.
func (e *lite) group(ops []*op) {
	all := func(err error) {
		for _, o := range ops {
			o.err = err
		}
	}
	if p := e.broken.Load(); p != nil {
		all(*p)
		return
	}
	ctx := context.Background()
	if _, err := e.st.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		all(err)
		return
	}
	t := &tx{ctx: ctx, q: e.st, statements: &e.s.statements}
	if err := e.runAll(t, ops); err != nil {
		// The transaction as a whole is gone: nothing of it was written.
		e.st.ExecContext(ctx, "ROLLBACK")
		all(err)
		e.fatal(err, fatalCode(err))
		return
	}
	for _, p := range points(ops) {
		e.s.stop(p, ".before-commit")
	}
	if err := e.commit(ctx); err != nil {
		if fullDisk(err) && e.undone(ctx) {
			all(err)
			return
		}
		err = hub.Errorf(hub.Unavailable, "commit: %w: %w", ErrStopped, err)
		all(err)
		e.fatal(err, true)
		return
	}
	e.s.commits.Add(1)
	e.check.wrote(len(ops))
	for _, p := range points(ops) {
		e.s.stop(p, ".after-commit")
	}
}

// undone reports whether a transaction whose COMMIT failed is over and nothing of it was written, after it was rolled
// back where SQLite did not do that itself.
//
// A COMMIT first writes the pages to the log, the last of them with the mark that makes the transaction count, and only
// then syncs. Where a write had no room (ENOSPC, a quota, a limit of the file's size) the marked page is not whole:
// its checksum covers it, so neither we nor a later recovery takes it for a commit, and the next transaction writes over
// it. Nothing was synced yet, so nothing can be half on the disk that we believe to be there. That is why a full disk
// is a refusal and no end of the process, unlike a failed fsync, and unlike every other error of COMMIT, of which we do
// not know so exactly where it happened.
func (e *lite) undone(ctx context.Context) bool {
	_, err := e.st.ExecContext(ctx, "ROLLBACK")
	var lite *sqlite.Error
	// "cannot rollback - no transaction is active": SQLite did it.
	return err == nil || errors.As(err, &lite) && lite.Code() == sqlite3.SQLITE_ERROR
}

// fatal ends the process, or at least all writing: after a failed fsync nobody knows what is on the disk,
// and a second one would report success for pages that were dropped.
func (e *lite) fatal(err error, yes bool) {
	if !yes {
		return
	}
	if e.broken.CompareAndSwap(nil, &err) {
		e.s.cfg.Fatal(err)
	}
}

// runAll runs the hot writes together and each other one in a savepoint. An error means that the
// transaction is lost; what failed alone has its own err.
func (e *lite) runAll(t *tx, ops []*op) error {
	var keeps, done, decides []*op
	for _, o := range ops {
		switch {
		case o.keep != nil:
			keeps = append(keeps, o)
		case o.acks != nil:
			done = append(done, o)
		case o.decide != nil:
			decides = append(decides, o)
		}
	}
	if err := e.together(t, keeps, func(t *tx, ops []*op) error {
		ks := make([]*keeping, len(ops))
		for i, o := range ops {
			ks[i] = o.keep
		}
		return e.s.keepRows(t, ks)
	}); err != nil {
		return err
	}
	if err := e.together(t, done, func(t *tx, ops []*op) error {
		as := make([]*acks, len(ops))
		for i, o := range ops {
			as[i] = o.acks
		}
		return e.s.ackRows(t, as)
	}); err != nil {
		return err
	}
	if err := e.together(t, decides, func(t *tx, ops []*op) error {
		ws := make([]*deciding, len(ops))
		for i, o := range ops {
			ws[i] = o.decide
		}
		return e.s.decideRows(t, ws)
	}); err != nil {
		return err
	}
	for _, o := range ops {
		if o.f == nil {
			continue
		}
		clear(e.s.gens) // f may change streams; the keeps of this group are through
		var err error
		if o.err, err = e.savepoint(t, o.f); err != nil {
			return err
		}
	}
	return nil
}

// together runs f over all ops in one savepoint, and over each alone when that failed.
func (e *lite) together(t *tx, ops []*op, f func(*tx, []*op) error) error {
	if len(ops) == 0 {
		return nil
	}
	failed, err := e.savepoint(t, func(t *tx) error { return f(t, ops) })
	if err != nil || failed == nil {
		return err
	}
	for i := range ops {
		if ops[i].err, err = e.savepoint(t, func(t *tx) error { return f(t, ops[i:i+1]) }); err != nil {
			return err
		}
	}
	return nil
}

// savepoint runs f so that its failure undoes only itself. lost means that the whole transaction is gone.
func (e *lite) savepoint(t *tx, f func(*tx) error) (failed, lost error) {
	if _, err := e.st.ExecContext(t.ctx, "SAVEPOINT one"); err != nil {
		return nil, err
	}
	failed = f(t)
	if fatalCode(failed) {
		return nil, failed
	}
	if failed != nil {
		if _, err := e.st.ExecContext(t.ctx, "ROLLBACK TO one"); err != nil {
			return nil, errors.Join(failed, err)
		}
	}
	if _, err := e.st.ExecContext(t.ctx, "RELEASE one"); err != nil {
		return nil, errors.Join(failed, err)
	}
	return failed, nil
}

// points gives the distinct stop points of a group.
func points(ops []*op) []string {
	var ps []string
next:
	for _, o := range ops {
		if o.err != nil || o.point == pointNone {
			continue
		}
		for _, p := range ps {
			if p == o.point {
				continue next
			}
		}
		ps = append(ps, o.point)
	}
	return ps
}

func (e *lite) reader() querier { return e.rst }

func (e *lite) ping(ctx context.Context) error {
	if p := e.broken.Load(); p != nil {
		return *p
	}
	return e.readers.PingContext(ctx)
}

func (e *lite) close() error {
	if e.queue.stop() {
		e.release(e.broken.Load() == nil)
	}
	return nil
}

// release closes what openSQLite opened, in any state of completeness.
func (e *lite) release(clean bool) {
	if e.check != nil {
		e.check.close()
	}
	if e.rst != nil {
		e.rst.close()
	}
	if e.readers != nil {
		e.readers.Close()
	}
	if e.st != nil {
		e.st.close()
	}
	if e.conn != nil {
		e.conn.Close()
	}
	if e.db != nil {
		if e.db.Close() != nil {
			clean = false
		}
	}
	if e.mark != nil {
		e.mark.close(clean)
	}
}
