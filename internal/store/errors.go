package store

import (
	"context"
	"database/sql"
	"errors"
	"net"

	"countersign/internal/hub"
	"countersign/transmitter"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrStopped is the cause of every refusal after a failed COMMIT or fsync, or after Close.
var ErrStopped = errors.New("store: stopped")

// errUnknownCommit means that a COMMIT was sent and its answer never came. The transaction is there or it is
// not; callers get hub.Unavailable and repeat, and each verb of the store bears a repeat: a kept signal is
// then a repeat, a stale claim is refused, and a sequence that moved on is a conflict. So the process goes on.
var errUnknownCommit = errors.New("store: the connection broke at COMMIT; the write may or may not be there")

// translate gives errors of the engines a code. Errors that have one, and those of the transmitter's
// contract, pass as they are.
func translate(err error) error {
	var coded *hub.Error
	switch {
	case err == nil, errors.As(err, &coded):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, transmitter.ErrNotFound), errors.Is(err, transmitter.ErrConflict),
		errors.Is(err, transmitter.ErrStale), errors.Is(err, transmitter.ErrBusy), errors.Is(err, transmitter.ErrTooMany):
		return err
	case errors.Is(err, sql.ErrConnDone), errors.Is(err, ErrStopped), errors.Is(err, errUnknownCommit):
		return hub.Errorf(hub.Unavailable, "%w", err)
	}
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		switch {
		case fullDisk(err):
			return hub.Errorf(hub.Unavailable, "the disk is full: %w", err).WithHint("free space on the volume of the database")
		}
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return hub.Errorf(hub.Internal, "the database file is damaged: %w", err).WithHint("keep a copy of the file, then restore the data folder from a backup")
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR:
			return hub.Errorf(hub.Unavailable, "%w", err)
		}
	}
	var pg *pgconn.PgError
	var dial *pgconn.ConnectError
	var network net.Error
	switch {
	case errors.As(err, &dial): // also where the server answered, and refused the user or knows no such database
		return hub.Errorf(hub.Unavailable, "%w", err)
	case errors.As(err, &pg):
		if pg.Code == "53100" { // disk_full
			return hub.Errorf(hub.Unavailable, "the disk is full: %w", err).WithHint("free space on the volume of the PostgreSQL server")
		}
		switch pg.Code[:2] {
		case "08", "53", "57", "40", "55":
			return hub.Errorf(hub.Unavailable, "%w", err)
		}
	case errors.As(err, &network), pgconn.SafeToRetry(err), pgconn.Timeout(err):
		return hub.Errorf(hub.Unavailable, "%w", err)
	}
	return err
}

// again reports whether PostgreSQL undid the transaction only because of another one.
func again(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01")
}

// unique reports whether a unique index refused the row, on either engine.
func unique(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "23505"
	}
	var lite *sqlite.Error
	return errors.As(err, &lite) && (lite.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || lite.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// fullDisk reports whether SQLite had no room for a write: SQLITE_FULL for ENOSPC, an error of write for a quota or a limit
// of the file's size. A write that fails for another reason looks the same as those; it is refused, too, and
// the sync that follows the next one that succeeds tells the truth.
func fullDisk(err error) bool {
	var lite *sqlite.Error
	return errors.As(err, &lite) && (lite.Code()&0xff == sqlite3.SQLITE_FULL || lite.Code() == sqlite3.SQLITE_IOERR_WRITE)
}

// fatalCode reports whether SQLite failed to make something durable outside of COMMIT too.
func fatalCode(err error) bool {
	var lite *sqlite.Error
	return errors.As(err, &lite) && (lite.Code() == sqlite3.SQLITE_IOERR_FSYNC || lite.Code() == sqlite3.SQLITE_IOERR_DIR_FSYNC)
}

func notFound(what string) error { return hub.Errorf(hub.NotFound, "no such %s", what) }

func staleClaim() error {
	return hub.Errorf(hub.Conflict, "the job is held by somebody else now").WithHint("nothing is lost: whoever holds it goes on")
}

func busy() error {
	e := hub.Errorf(hub.Unavailable, "%w", transmitter.ErrBusy)
	return e.WithHint("try again in a second")
}
