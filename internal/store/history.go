package store

import (
	"context"
	"slices"

	"countersign/transmitter"
)

// Deliveries implements transmitter.Store. Pages are read from the latest on until enough lines are found. A search for a
// jti reads page after page, a search for a txn first looks for its events: both read much where the history is long,
// and nothing has to be kept in order for them while signals come in.
func (v *Transmitter) Deliveries(ctx context.Context, which transmitter.DeliveryFilter) ([]transmitter.Delivery, error) {
	n := which.N
	if n <= 0 {
		n = 100
	}
	var out []transmitter.Delivery
	err := v.read(ctx, func(t *tx) error {
		out = nil
		h := &historySearch{v: v, t: t, which: which, n: n}
		if which.TXN != "" {
			if err := h.findEvents(); err != nil || len(h.events) == 0 {
				return err
			}
		}
		if which.Outcome != transmitter.Skipped {
			if err := h.pages(); err != nil {
				return err
			}
		}
		if (which.Outcome == "" || which.Outcome == transmitter.Skipped) && which.JTI == "" {
			if err := h.skips(); err != nil {
				return err
			}
		}
		h.cut()
		out = h.found
		return h.name()
	})
	return out, err
}

// historySearch is one search of the history.
type historySearch struct {
	v      *Transmitter
	t      *tx
	which  transmitter.DeliveryFilter
	n      int
	events map[int64]bool // of the txn that is looked for
	from   int64          // the lowest and the highest of them
	to     int64
	found  []transmitter.Delivery // latest first after cut
}

// cut keeps the n latest lines.
func (h *historySearch) cut() {
	slices.SortStableFunc(h.found, func(a, b transmitter.Delivery) int { return a.Place().Compare(b.Place()) })
	h.found = h.found[:min(len(h.found), h.n)]
}

func (h *historySearch) findEvents() error {
	h.events = map[int64]bool{}
	return h.t.each(func(scan scanFunc) error {
		var seq int64
		err := scan(&seq)
		if len(h.events) == 0 {
			h.from = seq
		}
		h.from, h.to = min(h.from, seq), max(h.to, seq)
		h.events[seq] = true
		return err
	}, `SELECT seq FROM event WHERE tenant = $1 AND txn = $2`, h.v.tenant, h.which.TXN)
}

// pages collects lines of what was delivered and set aside.
func (h *historySearch) pages() error {
	var lastAt, lastSeq int64
	for some := 4; ; some = min(2*some, 256) {
		w := where(h.v.tenant)
		if h.which.Stream != 0 {
			w.add(`stream = ?`, h.which.Stream)
		}
		if h.which.Before != 0 {
			w.add(`first_at < ?`, int64(h.which.Before))
		}
		if h.which.From != nil {
			w.add(`first_at <= ?`, int64(h.which.From.At))
		}
		if h.events != nil {
			w.add(`last_event >= ?`, h.from)
			w.add(`first_event <= ?`, h.to)
		}
		if lastSeq != 0 {
			w.args = append(w.args, lastAt, lastSeq)
			k := len(w.args)
			w.where.WriteString(` AND (last_at, seq) < ($` + itoa(k-1) + `, $` + itoa(k) + `)`)
		}
		w.args = append(w.args, some)
		n, enough := 0, false
		err := h.t.each(func(scan scanFunc) error {
			n++
			var stream int64
			var entries []byte
			if err := scan(&lastSeq, &stream, &lastAt, &entries); err != nil || enough {
				return err
			}
			if len(h.found) >= h.n {
				h.cut()
				// Nothing in this page or a later one comes before what is there.
				if enough = int64(h.found[h.n-1].At) > lastAt; enough {
					return nil
				}
			}
			return h.lines(stream, entries)
		}, `SELECT seq, stream, last_at, entries FROM delivery_page`+w.where.String()+` ORDER BY last_at DESC, seq DESC LIMIT $`+itoa(len(w.args)), w.args...)
		if err != nil || enough || n < some {
			return err
		}
	}
}

// lines takes the lines of a page that are looked for, the last one first.
func (h *historySearch) lines(stream int64, entries []byte) error {
	first := len(h.found)
	err := eachLine(entries, func(o *transmitter.Outcome) error {
		outcome := transmitter.Delivered
		if o.Dead {
			outcome = transmitter.DeadLettered
		}
		f := &h.which
		if f.JTI != "" && f.JTI != o.JTI || f.Outcome != "" && f.Outcome != outcome || f.Before != 0 && o.At >= f.Before ||
			f.From != nil && (transmitter.Place{At: o.At, Event: o.Event, Stream: stream}).Compare(*f.From) < 0 || h.events != nil && !h.events[o.Event] {
			return nil
		}
		h.found = append(h.found, transmitter.Delivery{Stream: stream, JTI: o.JTI, Event: o.Event, Outcome: outcome, Status: o.Status, Reason: o.Reason,
			Tries: o.Tries, First: o.First, At: o.At})
		return nil
	})
	slices.Reverse(h.found[first:])
	return err
}

func (h *historySearch) skips() error {
	w := where(h.v.tenant)
	if h.which.Stream != 0 {
		w.add(`stream = ?`, h.which.Stream)
	}
	if h.which.Before != 0 {
		w.add(`at < ?`, int64(h.which.Before))
	}
	if h.events != nil {
		w.add(`event >= ?`, h.from)
		w.add(`event <= ?`, h.to)
	}
	if f := h.which.From; f != nil {
		w.args = append(w.args, int64(f.At), f.Event, f.Stream)
		k := len(w.args)
		w.where.WriteString(` AND (at, event, stream) <= ($` + itoa(k-2) + `, $` + itoa(k-1) + `, $` + itoa(k) + `)`)
	}
	left := h.n
	rows := ` ORDER BY at DESC, event DESC, stream DESC`
	if h.events == nil {
		w.args = append(w.args, h.n)
		rows += ` LIMIT $` + itoa(len(w.args))
	}
	return h.t.each(func(scan scanFunc) error {
		d := transmitter.Delivery{Outcome: transmitter.Skipped}
		var at int64
		err := scan(&d.Stream, &d.Event, &d.Reason, &at)
		d.First, d.At = transmitter.Micros(at), transmitter.Micros(at)
		if left > 0 && (h.events == nil || h.events[d.Event]) {
			h.found = append(h.found, d)
			left--
		}
		return err
	}, `SELECT stream, event, reason, at FROM skip`+w.where.String()+rows, w.args...)
}

// name adds what the lines say by key only.
func (h *historySearch) name() error {
	streams, events := map[int64]string{}, map[int64][2]string{}
	for i := range h.found {
		streams[h.found[i].Stream], events[h.found[i].Event] = "", [2]string{}
	}
	d := h.v.s.d
	for keys := range slices.Chunk(mapKeys(streams), 500) {
		err := h.t.each(func(scan scanFunc) error {
			var key int64
			var id string
			err := scan(&key, &id)
			streams[key] = id
			return err
		}, `SELECT seq, id FROM stream WHERE tenant = $1 AND `+d.in("seq", 2), h.v.tenant, d.ints(keys))
		if err != nil {
			return err
		}
	}
	for keys := range slices.Chunk(mapKeys(events), 500) {
		err := h.t.each(func(scan scanFunc) error {
			var key int64
			var what [2]string
			err := scan(&key, &what[0], &what[1])
			events[key] = what
			return err
		}, `SELECT seq, type, txn FROM event WHERE tenant = $1 AND `+d.in("seq", 2), h.v.tenant, d.ints(keys))
		if err != nil {
			return err
		}
	}
	for i := range h.found {
		l := &h.found[i]
		l.StreamID, l.Type, l.TXN = streams[l.Stream], events[l.Event][0], events[l.Event][1]
	}
	return nil
}

func mapKeys[V any](m map[int64]V) []int64 {
	keys := make([]int64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
