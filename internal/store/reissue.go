package store

import (
	"context"
	"sync"

	"countersign/transmitter"
)

// progress remembers how far Reissue came through the rows, so that its next call does not look again at those that
// have their new key already.
type progress struct {
	mu sync.Mutex
	at map[[2]string]rowPlace // by tenant and kid
}

// rowPlace is where a row lies: which table, and its key there.
type rowPlace struct {
	dead        bool
	stream, seq int64
}

func (p *progress) get(tenant, kid string) rowPlace {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at[[2]string{tenant, kid}]
}

func (p *progress) set(tenant, kid string, at rowPlace) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == nil {
		p.at = map[[2]string]rowPlace{}
	}
	if at == (rowPlace{}) {
		delete(p.at, [2]string{tenant, kid})
		return
	}
	p.at[[2]string{tenant, kid}] = at
}

// Reissue implements transmitter.Store. The rows are found beside the writer and looked at again within it.
func (v *Transmitter) Reissue(ctx context.Context, kid string, n int, again func(stream int64, it *transmitter.Item) (transmitter.Row, error)) (int, error) {
	if n <= 0 {
		return 0, needTenant(v.tenant)
	}
	from := v.s.reissued.get(v.tenant, kid)
	rows, err := v.rowsOf(ctx, kid, from, n)
	if err == nil && len(rows) < n && from != (rowPlace{}) {
		// Rows that were made since lie before.
		rows, err = v.rowsOf(ctx, kid, rowPlace{}, n)
	}
	if err != nil || len(rows) == 0 {
		v.s.reissued.set(v.tenant, kid, rowPlace{})
		return 0, err
	}
	done := 0
	err = v.write(ctx, pointReissue, func(t *tx) error {
		done = 0
		for _, r := range rows {
			ok, err := v.reissue(t, kid, r, again)
			if err != nil {
				return err
			}
			if ok {
				done++
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if len(rows) == n {
		v.s.reissued.set(v.tenant, kid, rows[n-1])
	} else {
		v.s.reissued.set(v.tenant, kid, rowPlace{})
	}
	return done, nil
}

// rowsOf finds up to n rows of a kid after a place, first those that wait.
func (v *Transmitter) rowsOf(ctx context.Context, kid string, from rowPlace, n int) ([]rowPlace, error) {
	var rows []rowPlace
	err := v.read(ctx, func(t *tx) error {
		rows = nil
		for _, dead := range []bool{false, true} {
			table, after := "outbox", rowPlace{stream: -1 << 62}
			if dead {
				table = "dead_letter"
			}
			switch {
			case from.dead && !dead || len(rows) == n:
				continue
			case from != (rowPlace{}) && from.dead == dead:
				after = from
			}
			err := t.each(func(scan scanFunc) error {
				p := rowPlace{dead: dead}
				err := scan(&p.stream, &p.seq)
				rows = append(rows, p)
				return err
			}, `SELECT o.stream, o.seq FROM `+table+` o JOIN stream st ON st.seq = o.stream
				WHERE (o.stream, o.seq) > ($1, $2) AND o.kid = $3 AND st.tenant = $4 ORDER BY o.stream, o.seq LIMIT $5`, after.stream, after.seq, kid, v.tenant, n-len(rows))
			if err != nil {
				return err
			}
		}
		return nil
	})
	return rows, err
}

// reissue gives one row its new identity, where it is still there and of that kid.
func (v *Transmitter) reissue(t *tx, kid string, at rowPlace, again func(stream int64, it *transmitter.Item) (transmitter.Row, error)) (bool, error) {
	table, lock := "outbox", ""
	if at.dead {
		table = "dead_letter"
	}
	if v.s.d == &postgresDialect {
		lock = ` FOR UPDATE OF o`
	}
	var it transmitter.Item
	var order int64
	found := false
	err := t.each(func(scan scanFunc) (err error) {
		found = true
		it, err = scanItem(scan, &order)
		return err
	}, `SELECT `+itemColumns+`, o.sent_order FROM `+table+` o`+itemJoins+` WHERE o.stream = $1 AND o.seq = $2 AND o.kid = $3 AND e.tenant = $4`+lock, at.stream, at.seq, kid, v.tenant)
	if err != nil || !found {
		return false, err
	}
	row, err := again(at.stream, &it)
	if err != nil {
		return false, err
	}
	if _, err := t.exec(`UPDATE `+table+` SET jti = $1, issued_at = $2, kid = $3, alg = $4 WHERE stream = $5 AND seq = $6`,
		row.JTI, row.IssuedAt, row.KeyID, row.Algorithm, at.stream, at.seq); err != nil {
		return false, err
	}
	if o := row.Order; o != nil && order != 0 {
		if _, err := t.exec(`UPDATE sent_order SET jti = $1, set_hash = $2, input = $3, issued_at = $4, complete_by = $5 WHERE seq = $6`,
			o.JTI, o.SetHash, row.Input, o.IssuedAt, o.CompleteBy, order); err != nil {
			return false, err
		}
	}
	return true, nil
}
