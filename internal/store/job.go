package store

import (
	"context"
	"slices"
	"strconv"
	"sync"

	"countersign/internal/hub"
)

func itoa(n int) string { return strconv.Itoa(n) }

const leaseMicros = hub.Micros(Lease / 1000)

// within takes n keys inside a transaction; for the rare writes that cannot know before how many they need.
func (q *sequence) within(t *tx, n int64) (int64, error) {
	var high int64
	_, err := t.one(`UPDATE counter SET value = value + $1 WHERE name = 'seq' RETURNING value`, []any{n}, &high)
	return high - n + 1, err
}

// enqueue makes a job; with a claim it is ours at once. Where the same (kind, ref, key) is there already: one
// that is free becomes due when either of the two is, and one that is held runs once more afterwards.
// It gives the job as ours, or nil where it is not.
func (s *Store) enqueue(t *tx, tenant string, j hub.Job, claim string) (*hub.Job, error) {
	ready, tries := j.Due, 0
	if claim != "" {
		ready, tries = s.now()+leaseMicros, 1
	}
	var holder string
	_, err := t.one(`INSERT INTO job (`+jobColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (kind, ref, key) DO UPDATE SET
			due = CASE WHEN job.claim <> '' AND NOT job.again OR excluded.due < job.due THEN excluded.due ELSE job.due END,
			ready = CASE WHEN job.claim <> '' THEN job.ready WHEN excluded.claim <> '' THEN excluded.ready WHEN excluded.due < job.ready THEN excluded.due ELSE job.ready END,
			tries = CASE WHEN job.claim = '' AND excluded.claim <> '' THEN job.tries + 1 ELSE job.tries END,
			again = job.claim <> '',
			claim = CASE WHEN job.claim <> '' THEN job.claim ELSE excluded.claim END
		RETURNING seq, tries, claim`,
		[]any{j.Seq, tenant, j.Kind, j.Ref, j.Key, int64(j.Due), int64(ready), tries, claim, false}, &j.Seq, &j.Tries, &holder)
	if err != nil || claim == "" || holder != claim {
		return nil, err
	}
	j.Claim, j.Until = claim, ready
	return &j, nil
}

// release ends our hold of a job: next nil means done, else it is free and due then. A job that was
// enqueued meanwhile is due again in any case. Without our claim on it, it is hub.Conflict. A nil job is nothing.
func (s *Store) release(t *tx, job *hub.Job, next *hub.Micros) error {
	if job == nil {
		return nil
	}
	if next == nil {
		n, err := t.exec(`DELETE FROM job WHERE seq = $1 AND claim = $2 AND NOT again`, job.Seq, job.Claim)
		if err != nil || n > 0 {
			return err
		}
		n, err = t.exec(`UPDATE job SET claim = '', ready = due, again = $1 WHERE seq = $2 AND claim = $3`, false, job.Seq, job.Claim)
		if err == nil && n == 0 {
			err = staleClaim()
		}
		return err
	}
	n, err := t.exec(`UPDATE job SET claim = '', due = CASE WHEN again AND due < $1 THEN due ELSE $1 END, ready = CASE WHEN again AND due < $1 THEN due ELSE $1 END, again = $2
		WHERE seq = $3 AND claim = $4`, int64(*next), false, job.Seq, job.Claim)
	if err == nil && n == 0 {
		err = staleClaim()
	}
	return err
}

// hold checks that a job is ours, keeps others from it until the commit, and gives it a new lease.
func (s *Store) hold(t *tx, job *hub.Job) error {
	if job == nil {
		return nil
	}
	n, err := t.exec(`UPDATE job SET ready = $1 WHERE seq = $2 AND claim = $3`, int64(s.now()+leaseMicros), job.Seq, job.Claim)
	if err == nil && n == 0 {
		err = staleClaim()
	}
	return err
}

// ClaimJobs takes up to n due jobs of the kinds under a lease, the longest due first within each kind.
func (s *Store) ClaimJobs(ctx context.Context, kinds []string, n int) ([]hub.Job, error) {
	var jobs []hub.Job
	err := s.write(ctx, pointNone, func(t *tx) error {
		jobs = nil
		now, claim := s.now(), s.claim()
		until := now + leaseMicros
		if s.d == &postgresDialect && s.former.due(now) {
			if err := s.freeFormer(t); err != nil {
				return err
			}
		}
		for _, kind := range kinds {
			if len(jobs) >= n {
				break
			}
			// Without the second "ready <= now" two claimers of PostgreSQL can both take a row.
			err := t.each(func(scan scanFunc) error {
				j := hub.Job{Kind: kind, Claim: claim, Until: until}
				var due int64
				err := scan(&j.Seq, &j.Ref, &j.Key, &due, &j.Tries)
				j.Due = hub.Micros(due)
				jobs = append(jobs, j)
				return err
			}, `UPDATE job SET claim = $1, ready = $2, tries = tries + 1
				WHERE seq IN (SELECT seq FROM job WHERE kind = $3 AND ready <= $4 ORDER BY ready LIMIT $5`+s.d.skipLocked+`) AND ready <= $4
				RETURNING seq, ref, key, due, tries`, claim, int64(until), kind, int64(now), n-len(jobs))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return jobs, nil
}

// renewAtOnce is how many leases one transaction of RenewJobs renews: who would end one of these jobs waits for it.
const renewAtOnce = 500

// RenewJobs gives each job a new lease; jobs that others hold by now are left alone.
func (s *Store) RenewJobs(ctx context.Context, jobs []hub.Job) error {
	for part := range slices.Chunk(jobs, renewAtOnce) {
		until := int64(s.now() + leaseMicros)
		rows := make([][]any, len(part))
		for i, j := range part {
			rows[i] = []any{j.Seq, j.Claim, until}
		}
		err := s.write(ctx, pointNone, func(t *tx) error {
			if s.d == &postgresDialect {
				// In the order of the keys, as those who end jobs take them.
				_, err := t.exec(`UPDATE job SET ready = k.until FROM (SELECT j.seq, v.until FROM unnest($1::bigint[], $2::text[], $3::bigint[]) v (seq, claim, until)
					JOIN job j ON j.seq = v.seq AND j.claim = v.claim ORDER BY j.seq FOR UPDATE OF j SKIP LOCKED) k WHERE job.seq = k.seq`, arrays(rows)...)
				return err
			}
			return t.many(`UPDATE job SET ready = v.column3 FROM (VALUES `, `) v WHERE job.seq = v.column1 AND job.claim = v.column2 RETURNING 1`, rows, func(scanFunc) error { return nil })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// FinishJob ends a job that has no write of its own: next nil means done, else it is free and due then.
func (s *Store) FinishJob(ctx context.Context, job *hub.Job, next *hub.Micros) error {
	return s.write(ctx, pointNone, func(t *tx) error { return s.release(t, job, next) })
}

// Enqueue makes a job that is due at job.Due. One of the same kind, ref and key that is there already
// becomes due when either is.
func (s *Store) Enqueue(ctx context.Context, tenant string, job hub.Job) error {
	if err := needTenant(tenant); err != nil {
		return err
	}
	var err error
	if job.Seq, err = s.seqs.take(ctx, 1); err != nil {
		return err
	}
	return s.write(ctx, pointNone, func(t *tx) error {
		_, err := s.enqueue(t, tenant, job, "")
		return err
	})
}

// NextDue is the moment from which the next job can be claimed; 0 means that there is none.
func (s *Store) NextDue(ctx context.Context) (hub.Micros, error) {
	var next int64
	err := s.read(ctx, func(t *tx) error {
		return t.each(func(scan scanFunc) error {
			var ready int64
			if err := scan(&ready); err != nil {
				return err
			}
			if next == 0 || ready < next {
				next = ready
			}
			return nil
		}, `SELECT min(ready) FROM job WHERE kind IN ('process', 'act', 'cut', 'send', 'enroll') GROUP BY kind`)
	})
	return hub.Micros(next), err
}

// freeJobs gives back what an earlier life of this node held when it ended.
func (s *Store) freeJobs(ctx context.Context) error {
	return s.write(ctx, pointNone, s.freeFormer)
}

func (s *Store) freeFormer(t *tx) error {
	now := s.now()
	node, life := s.cfg.Node+"/", s.life+"."
	_, err := t.exec(`UPDATE job SET claim = '', ready = CASE WHEN due < $1 THEN due ELSE $1 END, again = $2
		WHERE claim <> '' AND substr(claim, 1, $3) = $4 AND substr(claim, 1, $5) <> $6`,
		int64(now), false, len(node), node, len(life), life)
	return err
}

// straggling looks for claims of an earlier life again, after 0.5 s, 1 s, 2 s, … up to the length of a lease:
// PostgreSQL may still carry out what a killed process sent last when its next life opens.
type straggling struct {
	mu  sync.Mutex
	at  hub.Micros // of the next look
	gap hub.Micros // until the one after
}

func (g *straggling) due(now hub.Micros) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gap == 0 {
		g.gap = 500_000
		g.at = now + g.gap
	}
	if g.gap > leaseMicros || now < g.at {
		return false
	}
	g.gap *= 2
	g.at = now + g.gap
	return true
}
