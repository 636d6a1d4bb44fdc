package outbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"countersign/internal/strictjson"
	"countersign/set"
	"countersign/subject"
)

// Dialect is the SQL that the database speaks.
type Dialect int

// The dialects.
const (
	PostgreSQL Dialect = iota + 1 // 11 and later
	SQLite                        // 3.35 and later
)

// DefaultTable is the name of the table where none is given.
const DefaultTable = "countersign_outbox"

// ErrInvalid is wrapped by the error for a signal, a table or a relay that cannot be used.
var ErrInvalid = errors.New("outbox: not valid")

// Table is where signals wait. Its methods may be called from many goroutines.
type Table struct {
	Dialect Dialect
	// Name of the table, which may have a schema before it; empty: DefaultTable.
	Name string
}

var names = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,50}(\.[A-Za-z_][A-Za-z0-9_]{0,50})?$`)

// check gives the name of the table as it goes into statements.
func (t Table) check() (string, error) {
	name := t.Name
	if name == "" {
		name = DefaultTable
	}
	switch {
	case t.Dialect != PostgreSQL && t.Dialect != SQLite:
		return "", fmt.Errorf("%w: no dialect", ErrInvalid)
	case !names.MatchString(name):
		return "", fmt.Errorf("%w: table name %q", ErrInvalid, name)
	}
	return name, nil
}

// Schema gives the statements that make the table where it is not there; each ends with a semicolon. They belong among the
// application's own migrations.
func (t Table) Schema() (string, error) {
	name, err := t.check()
	if err != nil {
		return "", err
	}
	key := "seq INTEGER PRIMARY KEY AUTOINCREMENT"
	if t.Dialect == PostgreSQL {
		key = "seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
	}
	index := strings.ReplaceAll(name, ".", "_")
	return strings.NewReplacer("{table}", name, "{index}", index, "{key}", key).Replace(`CREATE TABLE IF NOT EXISTS {table} (
	{key},
	id TEXT NOT NULL UNIQUE,
	event_type TEXT NOT NULL,
	sub_id TEXT NOT NULL,
	event TEXT NOT NULL,
	txn TEXT NOT NULL,
	do_what TEXT NOT NULL,
	subject TEXT NOT NULL,
	state TEXT NOT NULL DEFAULT 'waiting',
	created_at BIGINT NOT NULL,
	due_at BIGINT NOT NULL,
	tries BIGINT NOT NULL DEFAULT 0,
	claim TEXT NOT NULL DEFAULT '',
	claimed_until BIGINT NOT NULL DEFAULT 0,
	ended_at BIGINT NOT NULL DEFAULT 0,
	reason TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS {index}_waiting ON {table} (due_at, seq) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS {index}_subject ON {table} (subject, seq) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS {index}_ended ON {table} (state, ended_at);
`), nil
}

// Signal is something that happened to somebody.
type Signal struct {
	EventType string          // event type URI, or a name such as caep/session-revoked
	SubID     json.RawMessage // RFC 9493 subject identifier
	Event     json.RawMessage // the event object; empty: {}
	TXN       string          // what it belongs to; empty: the receiving side makes one
	Do        []string        // what a hub does with it: act, transmit or both; empty: its default
}

// Entry is a signal as it waits.
type Entry struct {
	ID string // the idempotency key: the same at each try
	Signal
	Created time.Time
	Tries   int    // that failed so far
	Reason  string // of the last failure
}

// Execer is what Put needs of a transaction: *sql.Tx, *sql.Conn and *sql.DB have it.
type Execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Put writes a signal within the application's transaction and gives its id. Nothing is sent before that transaction
// commits. An error that wraps ErrInvalid says what is wrong with the signal; nothing was written then.
func (t Table) Put(ctx context.Context, tx Execer, s Signal) (id string, err error) {
	name, err := t.check()
	if err != nil {
		return "", err
	}
	group, err := s.check()
	if err != nil {
		return "", err
	}
	id = set.NewID()
	now := time.Now().UnixMicro()
	_, err = tx.ExecContext(ctx, t.rebind(`INSERT INTO `+name+` (id, event_type, sub_id, event, txn, do_what, subject, created_at, due_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`), id, s.EventType, string(s.SubID), string(s.Event), s.TXN, strings.Join(s.Do, ","), group, now, now)
	if err != nil {
		return "", fmt.Errorf("outbox: %w", err)
	}
	return id, nil
}

// check fills in what was left out, and gives the name of the subject that entries are kept in order by.
func (s *Signal) check() (group string, err error) {
	if len(s.Event) == 0 {
		s.Event = json.RawMessage("{}")
	}
	sub, err := subject.Parse(s.SubID)
	if err != nil {
		return "", fmt.Errorf("%w: sub_id: %w", ErrInvalid, err)
	}
	if err := strictjson.Check(s.Event, strictjson.Limits{}); err != nil {
		return "", fmt.Errorf("%w: event: %w", ErrInvalid, err)
	}
	if _, err := strictjson.Object(s.Event); err != nil {
		return "", fmt.Errorf("%w: event: %w", ErrInvalid, err)
	}
	for name, text := range map[string]string{"event_type": s.EventType, "txn": s.TXN} {
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			return "", fmt.Errorf("%w: %s is not clean text", ErrInvalid, name)
		}
	}
	if s.EventType == "" {
		return "", fmt.Errorf("%w: event_type is missing", ErrInvalid)
	}
	for _, do := range s.Do {
		if do != "act" && do != "transmit" {
			return "", fmt.Errorf("%w: do is neither act nor transmit", ErrInvalid)
		}
	}
	key := sub.Key()
	return fmt.Sprintf("%x", key[:]), nil
}

// rebind writes the parameters of a statement as the dialect has them.
func (t Table) rebind(query string) string {
	if t.Dialect != PostgreSQL {
		return query
	}
	var b strings.Builder
	n := 0
	for _, r := range query {
		if r == '?' {
			n++
			fmt.Fprintf(&b, "$%d", n)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Dead gives up to n entries that were given up, latest first.
func (t Table) Dead(ctx context.Context, db *sql.DB, n int) ([]Entry, error) {
	name, err := t.check()
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, t.rebind(`SELECT `+columns+` FROM `+name+` WHERE state = 'dead' ORDER BY ended_at DESC, seq DESC LIMIT ?`), n)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	found, err := scan(rows)
	out := make([]Entry, len(found))
	for i := range found {
		out[i] = found[i].Entry
	}
	return out, err
}

// Requeue lets dead entries be tried again, under the same keys, and gives how many it found.
func (t Table) Requeue(ctx context.Context, db Execer, ids ...string) (int, error) {
	name, err := t.check()
	if err != nil {
		return 0, err
	}
	n := 0
	now := time.Now().UnixMicro()
	for _, id := range ids { // created_at is its age from now on
		got, err := t.exec(ctx, db, `UPDATE `+name+` SET state = 'waiting', due_at = ?, created_at = ?, tries = 0, ended_at = 0, claimed_until = 0 WHERE id = ? AND state = 'dead'`, now, now, id)
		if err != nil {
			return n, err
		}
		n += int(got)
	}
	return n, nil
}

// Prune removes entries that were sent or given up before a moment, and gives how many.
func (t Table) Prune(ctx context.Context, db Execer, before time.Time) (int, error) {
	name, err := t.check()
	if err != nil {
		return 0, err
	}
	n, err := t.exec(ctx, db, `DELETE FROM `+name+` WHERE state IN ('sent', 'dead') AND ended_at < ?`, before.UnixMicro())
	return int(n), err
}

func (t Table) exec(ctx context.Context, db Execer, query string, args ...any) (int64, error) {
	r, err := db.ExecContext(ctx, t.rebind(query), args...)
	if err != nil {
		return 0, fmt.Errorf("outbox: %w", err)
	}
	return r.RowsAffected()
}

const columns = `seq, id, event_type, sub_id, event, txn, do_what, created_at, tries, reason`

// claimed is an entry with what marks its row.
type claimed struct {
	Entry
	seq int64
}

func scan(rows *sql.Rows) ([]claimed, error) {
	defer rows.Close()
	var out []claimed
	for rows.Next() {
		var c claimed
		var subID, event, do string
		var created int64
		if err := rows.Scan(&c.seq, &c.ID, &c.EventType, &subID, &event, &c.TXN, &do, &created, &c.Tries, &c.Reason); err != nil {
			return nil, fmt.Errorf("outbox: %w", err)
		}
		c.SubID, c.Event, c.Created = json.RawMessage(subID), json.RawMessage(event), time.UnixMicro(created).UTC()
		if do != "" {
			c.Do = strings.Split(do, ",")
		}
		out = append(out, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	return out, nil
}
