package transmitter

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// Enqueue implements Store.
func (m *Memory) Enqueue(_ context.Context, out *Outgoing) error {
	defer m.lock()()
	if out.Generation != 0 && out.Generation != m.generation {
		return ErrStale
	}
	if m.Busy > 0 && m.waiting+len(out.Rows) > m.Busy {
		return ErrBusy
	}
	m.add(out)
	return nil
}

// add keeps the event, its rows, the orders of those and the skips.
func (m *Memory) add(out *Outgoing) {
	m.lastEvent++
	out.Event.Key = m.lastEvent
	event := out.Event
	for i := range out.Rows {
		r := &out.Rows[i]
		r.Seq = 0
		s := m.streams[r.Stream]
		if s == nil || s.Status == Disabled && !r.Parting {
			continue
		}
		m.lastSeq++
		r.Seq = m.lastSeq
		told := &event
		if r.Body != nil {
			own := event
			own.Body, told = r.Body, &own
		}
		m.rows[r.Stream] = append(m.rows[r.Stream], Item{Stream: r.Stream, Seq: r.Seq, JTI: r.JTI, IssuedAt: r.IssuedAt, KeyID: r.KeyID,
			Algorithm: r.Algorithm, Input: r.Input, Event: told, Parting: r.Parting})
		m.waiting++
		if r.Parting {
			m.parting++
		}
		if r.Order != nil {
			m.lastOrder++
			r.Order.Key = m.lastOrder
			o := *r.Order
			m.orders[OrderKey{o.Receiver, o.ReceiptIssuer, o.JTI}] = &o
			m.bySeq[r.Seq] = &o
		}
	}
	for _, s := range out.Skips {
		m.note(Delivery{Stream: s.Stream, Event: event.Key, Type: event.Type, TXN: event.TXN, Outcome: Skipped, Reason: s.Reason, First: event.At, At: event.At})
	}
}

// note adds a line to the history.
func (m *Memory) note(d Delivery) {
	m.history = append(m.history, d)
	if keep := or(m.History, 10_000); len(m.history) > 2*keep {
		m.history = slices.Clone(m.history[len(m.history)-keep:])
	}
}

// Waiting implements Store.
func (m *Memory) Waiting(context.Context) ([]int64, error) {
	defer m.lock()()
	var out []int64
	for key, rows := range m.rows {
		if len(rows) > 0 {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out, nil
}

func seqOf(it Item, seq int64) int { return int(it.Seq - seq) }

// Next implements Store.
func (m *Memory) Next(_ context.Context, stream, after int64, n int) ([]Item, error) {
	defer m.lock()()
	rows := m.rows[stream]
	i, _ := slices.BinarySearchFunc(rows, after+1, seqOf)
	return slices.Clone(rows[i:min(len(rows), i+max(n, 0))]), nil
}

// Parting implements Store.
func (m *Memory) Parting(context.Context) ([]Item, error) {
	defer m.lock()()
	var out []Item
	if m.parting == 0 {
		return nil, nil
	}
	for _, rows := range m.rows {
		for _, it := range rows {
			if it.Parting {
				out = append(out, it)
			}
		}
	}
	slices.SortFunc(out, func(a, b Item) int { return int(a.Seq - b.Seq) })
	return out, nil
}

// Done implements Store.
func (m *Memory) Done(_ context.Context, outcomes []Outcome) error {
	defer m.lock()()
	for _, o := range outcomes {
		rows := m.rows[o.Stream]
		i, ok := slices.BinarySearchFunc(rows, o.Seq, seqOf)
		if !ok || o.JTI != "" && o.JTI != rows[i].JTI {
			continue
		}
		state := OrderDelivered
		if o.Dead {
			state = OrderRejected
		}
		m.end(i, state, o)
	}
	return nil
}

// end takes the row at i of o.Stream out of those that wait. Where o.Dead, it is set aside.
func (m *Memory) end(i int, state string, o Outcome) {
	rows := m.rows[o.Stream]
	item := rows[i]
	if i == 0 { // the usual case moves nothing
		rows[0] = Item{}
		m.rows[o.Stream] = rows[1:]
	} else {
		m.rows[o.Stream] = slices.Delete(rows, i, i+1)
	}
	if len(m.rows[o.Stream]) == 0 {
		delete(m.rows, o.Stream)
	}
	m.waiting--
	if item.Parting {
		m.parting--
	}
	if order := m.bySeq[item.Seq]; order != nil {
		order.State = state
		if state != OrderExpired {
			order.Arrived = o.At
		}
	}
	line := Delivery{Stream: item.Stream, JTI: item.JTI, Event: item.Event.Key, Type: item.Event.Type, TXN: item.Event.TXN, Outcome: Delivered,
		Status: o.Status, Reason: o.Reason, Tries: o.Tries, First: o.First, At: o.At}
	if o.Dead {
		line.Outcome = DeadLettered
		m.dead[o.Stream] = append(m.dead[o.Stream], DeadLetter{Item: item, Status: o.Status, Reason: o.Reason, At: o.At})
	} else {
		m.delivered[o.Stream]++
		delete(m.bySeq, item.Seq)
	}
	m.note(line)
}

// Acknowledge implements Store.
func (m *Memory) Acknowledge(_ context.Context, stream int64, acks []string, refused []Refusal, at Micros) (int, error) {
	defer m.lock()()
	named := make(map[string]*Refusal, len(acks)+len(refused)) // nil: delivered
	for i := range refused {
		named[refused[i].JTI] = &refused[i]
	}
	for _, jti := range acks {
		named[jti] = nil
	}
	n := 0
	for i := 0; i < len(m.rows[stream]) && len(named) > 0; {
		jti := m.rows[stream][i].JTI
		r, ok := named[jti]
		if !ok {
			i++
			continue
		}
		delete(named, jti)
		n++
		if r == nil {
			m.end(i, OrderDelivered, Outcome{Stream: stream, At: at})
		} else {
			m.end(i, OrderRejected, Outcome{Stream: stream, Dead: true, Reason: r.Reason(), At: at})
		}
	}
	return n, nil
}

// Dead implements Store.
func (m *Memory) Dead(_ context.Context, stream int64, n int) ([]DeadLetter, error) {
	defer m.lock()()
	out := slices.Clone(m.dead[stream])
	slices.Reverse(out)
	return out[:min(len(out), max(n, 0))], nil
}

// Counts implements Store.
func (m *Memory) Counts(_ context.Context, stream int64) (Counts, error) {
	defer m.lock()()
	c := Counts{Waiting: int64(len(m.rows[stream])), Delivered: m.delivered[stream], Dead: int64(len(m.dead[stream])), Subjects: int64(len(m.subjects[stream]))}
	for i := range m.rows[stream] {
		if at := m.rows[stream][i].Event.At; i == 0 || at < c.Oldest {
			c.Oldest = at
		}
	}
	return c, nil
}

// Redrive implements Store.
func (m *Memory) Redrive(_ context.Context, which DeadFilter) (int, error) {
	defer m.lock()()
	n := 0
	for key, letters := range m.dead {
		s := m.streams[key]
		if s == nil || s.Status == Disabled || which.Stream != 0 && which.Stream != key {
			continue
		}
		m.dead[key] = slices.DeleteFunc(letters, func(d DeadLetter) bool {
			order := m.bySeq[d.Item.Seq]
			if which.Seq != 0 && which.Seq != d.Item.Seq || which.JTI != "" && which.JTI != d.Item.JTI ||
				!strings.HasPrefix(d.Reason, which.Reason) || order != nil && order.Withdrawn != 0 {
				return false
			}
			at, _ := slices.BinarySearchFunc(m.rows[key], d.Item.Seq, seqOf)
			m.rows[key] = slices.Insert(m.rows[key], at, d.Item)
			if which.At != 0 {
				if m.again == nil {
					m.again = map[int64]Micros{}
				}
				m.again[d.Item.Seq] = which.At
			}
			m.waiting++
			if d.Item.Parting {
				m.parting++
			}
			if order != nil {
				order.State, order.Arrived = OrderQueued, 0
			}
			n++
			return true
		})
	}
	return n, nil
}

// Expire implements Store.
func (m *Memory) Expire(_ context.Context, before Micros, n int) (int, error) {
	defer m.lock()()
	maps.DeleteFunc(m.again, func(_ int64, at Micros) bool { return at < before })
	gone := 0
	for key := range m.rows {
		for i := 0; i < len(m.rows[key]) && gone < n; {
			if it := &m.rows[key][i]; it.Event.At == 0 || max(it.Event.At, m.again[it.Seq]) >= before {
				i++
				continue
			}
			m.end(i, OrderExpired, Outcome{Stream: key, Dead: true, Reason: "expired", At: before})
			gone++
		}
	}
	return gone, nil
}

// Purge implements Store. Events go with the last row that needs them, by themselves.
func (m *Memory) Purge(_ context.Context, before Micros, n int) (int, error) {
	defer m.lock()()
	lines, letters := 0, 0
	m.history = slices.DeleteFunc(m.history, func(d Delivery) bool {
		if d.At >= before || lines == n {
			return false
		}
		lines++
		return true
	})
	for key := range m.dead {
		m.dead[key] = slices.DeleteFunc(m.dead[key], func(d DeadLetter) bool {
			if d.At >= before || letters == n {
				return false
			}
			letters++
			delete(m.bySeq, d.Item.Seq)
			return true
		})
	}
	return lines + letters, nil
}

// Deliveries implements Store.
func (m *Memory) Deliveries(_ context.Context, which DeliveryFilter) ([]Delivery, error) {
	defer m.lock()()
	var out []Delivery
	for _, d := range slices.Backward(m.history) {
		if which.Stream != 0 && which.Stream != d.Stream || which.JTI != "" && which.JTI != d.JTI || which.TXN != "" && which.TXN != d.TXN ||
			which.Outcome != "" && which.Outcome != d.Outcome || which.Before != 0 && d.At >= which.Before ||
			which.From != nil && d.Place().Compare(*which.From) < 0 {
			continue
		}
		if s := m.streams[d.Stream]; s != nil {
			d.StreamID = s.ID
		}
		out = append(out, d)
	}
	slices.SortStableFunc(out, func(a, b Delivery) int { return a.Place().Compare(b.Place()) })
	return out[:min(len(out), or(which.N, 100))], nil
}

// KeysInUse implements Store.
func (m *Memory) KeysInUse(context.Context) (map[string]int64, error) {
	defer m.lock()()
	out := map[string]int64{}
	for _, rows := range m.rows {
		for i := range rows {
			out[rows[i].KeyID]++
		}
	}
	for _, letters := range m.dead {
		for i := range letters {
			out[letters[i].Item.KeyID]++
		}
	}
	return out, nil
}

// Reissue implements Store.
func (m *Memory) Reissue(_ context.Context, kid string, n int, again func(stream int64, it *Item) (Row, error)) (int, error) {
	defer m.lock()()
	type change struct {
		item *Item
		row  Row
	}
	var changes []change
	plan := func(it *Item) error {
		if it.KeyID != kid || len(changes) >= n {
			return nil
		}
		c := *it
		row, err := again(it.Stream, &c)
		changes = append(changes, change{it, row})
		return err
	}
	for _, rows := range m.rows {
		for i := range rows {
			if err := plan(&rows[i]); err != nil {
				return 0, err
			}
		}
	}
	for _, letters := range m.dead {
		for i := range letters {
			if err := plan(&letters[i].Item); err != nil {
				return 0, err
			}
		}
	}
	for _, c := range changes {
		it, r := c.item, c.row
		it.JTI, it.IssuedAt, it.KeyID, it.Algorithm = r.JTI, r.IssuedAt, r.KeyID, r.Algorithm
		if old := m.bySeq[it.Seq]; old != nil && r.Order != nil {
			it.Input = r.Input
			delete(m.orders, OrderKey{old.Receiver, old.ReceiptIssuer, old.JTI})
			old.JTI, old.SetHash, old.Input, old.IssuedAt, old.CompleteBy = r.Order.JTI, r.Order.SetHash, r.Order.Input, r.Order.IssuedAt, r.Order.CompleteBy
			m.orders[OrderKey{old.Receiver, old.ReceiptIssuer, old.JTI}] = old
		}
	}
	return len(changes), nil
}
