package store

import (
	"context"

	"countersign/transmitter"
)

// tallySelect counts what all streams of a tenant have. What waits is counted over the keys alone.
const tallySelect = `SELECT s.seq, s.id, s.delivered, s.subjects, s.fails, s.fault, coalesce(w.n, 0), coalesce(d.n, 0),
		coalesce((SELECT e.at FROM outbox o JOIN event e ON e.seq = o.event WHERE o.stream = s.seq AND o.seq = w.first), 0)
	FROM stream s
	LEFT JOIN (SELECT stream, count(*) AS n, min(seq) AS first FROM outbox GROUP BY stream) w ON w.stream = s.seq
	LEFT JOIN (SELECT stream, count(*) AS n FROM dead_letter GROUP BY stream) d ON d.stream = s.seq
	WHERE s.tenant = $1`

// Tallies implements transmitter.TallyStore.
func (v *Transmitter) Tallies(ctx context.Context) ([]transmitter.Tally, error) {
	var all []transmitter.Tally
	err := v.read(ctx, func(t *tx) error {
		all = make([]transmitter.Tally, 0, len(all))
		return t.each(func(scan scanFunc) error {
			var y transmitter.Tally
			var oldest int64
			var fails int
			err := scan(&y.Key, &y.StreamID, &y.Delivered, &y.Subjects, &fails, &y.Failing, &y.Waiting, &y.Dead, &oldest)
			y.Oldest = transmitter.Micros(oldest)
			y.Failing = y.Failing || fails > 0
			all = append(all, y)
			return err
		}, tallySelect, v.tenant)
	})
	return all, err
}
