package store

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"countersign/internal/hub"
)

// querier is what *sql.Tx, the SQLite writer and the readers have in common.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// tx runs statements in one transaction, or outside of any for reads. Text that PostgreSQL would
// refuse (NUL, invalid UTF-8) is refused for both engines before it gets there.
type tx struct {
	ctx        context.Context
	q          querier
	statements *atomic.Int64
}

// exec runs a statement and gives the number of rows it changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	if err := checkText(args); err != nil {
		return 0, err
	}
	t.count()
	r, err := t.q.ExecContext(t.ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// scanFunc reads one row.
type scanFunc func(dest ...any) error

// each runs a query and calls f for every row.
func (t *tx) each(f func(scan scanFunc) error, query string, args ...any) error {
	if err := checkText(args); err != nil {
		return err
	}
	t.count()
	rows, err := t.q.QueryContext(t.ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// one runs a query and scans its first row; found is false when there is none.
func (t *tx) one(query string, args []any, dest ...any) (found bool, err error) {
	err = t.each(func(scan scanFunc) error {
		if found {
			return nil
		}
		found = true
		return scan(dest...)
	}, query, args...)
	return found && err == nil, err
}

func (t *tx) count() {
	if t.statements != nil {
		t.statements.Add(1)
	}
}

// checkText refuses strings that one of the engines would not keep.
func checkText(args []any) error {
	for _, a := range args {
		if s, ok := a.(string); ok {
			if err := goodText(s); err != nil {
				return err
			}
		}
	}
	return nil
}

func goodText(s string) error {
	if strings.IndexByte(s, 0) >= 0 {
		return hub.Errorf(hub.Invalid, "text holds a NUL character")
	}
	if !utf8.ValidString(s) {
		return hub.Errorf(hub.Invalid, "text is not valid UTF-8")
	}
	return nil
}

// needTenant refuses the empty tenant: every row belongs to one.
func needTenant(tenant string) error {
	if tenant == "" {
		return hub.Errorf(hub.Invalid, "the tenant is missing")
	}
	return nil
}

// preparer is a *sql.DB or a *sql.Conn.
type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// prepared keeps each statement compiled. SQLite compiles on every call otherwise; pgx has its own cache.
type prepared struct {
	on preparer
	mu sync.RWMutex
	st map[string]*sql.Stmt
}

func newPrepared(on preparer) *prepared { return &prepared{on: on, st: map[string]*sql.Stmt{}} }

func (p *prepared) stmt(query string) (*sql.Stmt, error) {
	p.mu.RLock()
	st := p.st[query]
	p.mu.RUnlock()
	if st != nil {
		return st, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if st := p.st[query]; st != nil {
		return st, nil
	}
	st, err := p.on.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	p.st[query] = st
	return st, nil
}

func (p *prepared) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	st, err := p.stmt(query)
	if err != nil {
		return nil, err
	}
	return st.ExecContext(ctx, args...)
}

func (p *prepared) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	st, err := p.stmt(query)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, args...)
}

func (p *prepared) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, st := range p.st {
		st.Close()
	}
	p.st = map[string]*sql.Stmt{}
}
