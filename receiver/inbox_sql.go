package receiver

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Dialect is the SQL that a database speaks.
type Dialect int

// The dialects.
const (
	PostgreSQL Dialect = iota + 1 // 11 and later
	SQLite                        // 3.35 and later
)

// DefaultInbox is the name of the table of a SQLInbox where none is given.
const DefaultInbox = "countersign_inbox"

// remembered is for how long an item that was dealt with is known as a repeat (RX-59), and pruned how often the older ones go.
const (
	remembered = 30 * 24 * time.Hour
	pruned     = time.Hour
)

// ErrInbox is wrapped by the error for a SQLInbox that cannot be used.
var ErrInbox = errors.New("receiver: inbox is not set up")

// SQLInbox is an Inbox in a database of the application, on database/sql and without a driver of its own. Several processes may
// share one: each item is worked on by one of them, and by another when that one has died.
type SQLInbox struct {
	DB      *sql.DB
	Dialect Dialect
	// Table is its name, which may have a schema before it. Empty: DefaultInbox.
	Table string
	// Remember is for how long items that were dealt with are known as repeats. 0: 30 days.
	Remember time.Duration

	mu   sync.Mutex
	last time.Time // when Done pruned
}

var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,50}(\.[A-Za-z_][A-Za-z0-9_]{0,50})?$`)

// table gives the name as it goes into statements.
func (s *SQLInbox) table() (string, error) {
	name := s.Table
	if name == "" {
		name = DefaultInbox
	}
	switch {
	case s.Dialect != PostgreSQL && s.Dialect != SQLite:
		return "", fmt.Errorf("%w: no dialect", ErrInbox)
	case !tableName.MatchString(name):
		return "", fmt.Errorf("%w: table name %q", ErrInbox, name)
	}
	return name, nil
}

// Schema gives the statements that make the table where it is not there. They belong among the application's own migrations.
func (s *SQLInbox) Schema() (string, error) {
	name, err := s.table()
	if err != nil {
		return "", err
	}
	seq := "seq INTEGER PRIMARY KEY AUTOINCREMENT"
	if s.Dialect == PostgreSQL {
		seq = "seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
	}
	return strings.NewReplacer("{table}", name, "{index}", strings.ReplaceAll(name, ".", "_"), "{seq}", seq).Replace(`CREATE TABLE IF NOT EXISTS {table} (
	{seq},
	item_key TEXT NOT NULL UNIQUE,
	hash TEXT NOT NULL,
	token TEXT NOT NULL,
	state TEXT NOT NULL,
	received_at BIGINT NOT NULL,
	due_at BIGINT NOT NULL,
	done_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS {index}_due ON {table} (due_at, seq) WHERE done_at = 0;
CREATE INDEX IF NOT EXISTS {index}_done ON {table} (done_at) WHERE done_at > 0;
`), nil
}

// statement puts the table's name and the dialect's parameters into a statement.
func (s *SQLInbox) statement(query string) (string, error) {
	name, err := s.table()
	if err != nil {
		return "", err
	}
	query = strings.ReplaceAll(query, "{table}", name)
	locked := ""
	if s.Dialect == PostgreSQL {
		locked = "FOR UPDATE SKIP LOCKED"
		var out strings.Builder
		n := 0
		for _, c := range query {
			if c == '?' {
				n++
				out.WriteString("$" + strconv.Itoa(n))
				continue
			}
			out.WriteRune(c)
		}
		query = out.String()
	}
	return strings.ReplaceAll(query, "{locked}", locked), nil
}

func (s *SQLInbox) exec(ctx context.Context, query string, args ...any) (int64, error) {
	query, err := s.statement(query)
	if err != nil {
		return 0, err
	}
	res, err := s.DB.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, fmt.Errorf("receiver: inbox: %w", err)
	}
	return res.RowsAffected()
}

func (s *SQLInbox) item(ctx context.Context, query string, args ...any) (Item, bool, error) {
	query, err := s.statement(query)
	if err != nil {
		return Item{}, false, err
	}
	var item Item
	var state string
	var received, due int64
	err = s.DB.QueryRowContext(ctx, query, args...).Scan(&item.Key, &item.Hash, &item.Token, &state, &received, &due)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Item{}, false, nil
	case err != nil:
		return Item{}, false, fmt.Errorf("receiver: inbox: %w", err)
	}
	item.State, item.Received, item.Due = json.RawMessage(state), time.UnixMicro(received), time.UnixMicro(due)
	return item, true, nil
}

const itemColumns = "item_key, hash, token, state, received_at, due_at"

// Keep adds an item in one statement.
func (s *SQLInbox) Keep(ctx context.Context, item Item) error {
	n, err := s.exec(ctx, `INSERT INTO {table} (item_key, hash, token, state, received_at, due_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (item_key) DO NOTHING`,
		item.Key, item.Hash, item.Token, string(item.State), item.Received.UnixMicro(), item.Due.UnixMicro())
	if err != nil || n > 0 {
		return err
	}
	have, found, err := s.item(ctx, `SELECT `+itemColumns+` FROM {table} WHERE item_key = ?`, item.Key)
	switch {
	case err != nil:
		return err
	case !found:
		return &Busy{Err: errors.New("receiver: inbox: it was pruned in between")}
	case have.Hash != item.Hash:
		return ErrClash
	}
	return ErrRepeat
}

// Claim gives the item that has been due longest.
func (s *SQLInbox) Claim(ctx context.Context, now, until time.Time) (Item, bool, error) {
	return s.item(ctx, `UPDATE {table} SET due_at = ? WHERE seq = (
		SELECT seq FROM {table} WHERE done_at = 0 AND due_at <= ? ORDER BY due_at, seq LIMIT 1 {locked}) RETURNING `+itemColumns, until.UnixMicro(), now.UnixMicro())
}

// Find gives an item that is not dealt with.
func (s *SQLInbox) Find(ctx context.Context, key string) (Item, bool, error) {
	return s.item(ctx, `SELECT `+itemColumns+` FROM {table} WHERE item_key = ? AND done_at = 0`, key)
}

// Save writes Due and State.
func (s *SQLInbox) Save(ctx context.Context, item Item) error {
	_, err := s.exec(ctx, `UPDATE {table} SET due_at = ?, state = ? WHERE item_key = ? AND done_at = 0`, item.Due.UnixMicro(), string(item.State), item.Key)
	return err
}

// Done empties an item, and once an hour forgets those that were done long ago.
func (s *SQLInbox) Done(ctx context.Context, key string) error {
	now := time.Now()
	if _, err := s.exec(ctx, `UPDATE {table} SET done_at = ?, token = '', state = '' WHERE item_key = ? AND done_at = 0`, now.UnixMicro(), key); err != nil {
		return err
	}
	s.mu.Lock()
	due := now.Sub(s.last) >= pruned
	if due {
		s.last = now
	}
	s.mu.Unlock()
	if !due {
		return nil
	}
	return s.Prune(ctx, now)
}

// Prune forgets the items that have been done for longer than they are to be remembered.
func (s *SQLInbox) Prune(ctx context.Context, now time.Time) error {
	life := s.Remember
	if life <= 0 {
		life = remembered
	}
	_, err := s.exec(ctx, `DELETE FROM {table} WHERE done_at > 0 AND done_at < ?`, now.Add(-life).UnixMicro())
	return err
}
