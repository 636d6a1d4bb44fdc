package transmitter

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Memory is a Store in memory, for tests, demonstrations and small programs. Nothing in it survives the process;
// apart from that it keeps the whole contract. The zero value is ready.
type Memory struct {
	// Busy is the number of waiting rows above which Enqueue returns ErrBusy. 0: no limit.
	Busy int

	mu         sync.Mutex
	generation int64
	lastKey    int64
	lastSeq    int64
	lastEvent  int64
	streams    map[int64]*Stream
	rows       map[int64][]Item // by stream, by rising seq
	dead       map[int64][]DeadLetter
	delivered  map[int64]int64
	waiting    int
	orders     map[OrderKey]*SentOrder
	bySeq      map[int64]*SentOrder // orders whose rows wait
	jtis       map[[2]string]string // receipt issuer and jti to content address
	numbers    map[[2]string]string // receipt issuer and receipt_no to the order's jti
	evidence   []KeptReceipt        // refused receipts of disputed orders
}

var _ Store = (*Memory)(nil)

func (m *Memory) lock() func() {
	m.mu.Lock()
	if m.streams == nil {
		m.streams, m.rows, m.dead = map[int64]*Stream{}, map[int64][]Item{}, map[int64][]DeadLetter{}
		m.delivered, m.orders, m.bySeq = map[int64]int64{}, map[OrderKey]*SentOrder{}, map[int64]*SentOrder{}
		m.jtis, m.numbers = map[[2]string]string{}, map[[2]string]string{}
		m.generation = 1
	}
	return m.mu.Unlock
}

func (m *Memory) find(receiver, id string) *Stream {
	for _, s := range m.streams {
		if s.Receiver == receiver && s.ID == id {
			return s
		}
	}
	return nil
}

func copyStream(s *Stream) *Stream {
	c := *s
	c.Audience, c.Requested, c.Delivered = slices.Clone(s.Audience), slices.Clone(s.Requested), slices.Clone(s.Delivered)
	c.Receipts = slices.Clone(s.Receipts)
	return &c
}

func (m *Memory) sorted(keep func(*Stream) bool) []Stream {
	var out []Stream
	for _, s := range m.streams {
		if keep(s) {
			out = append(out, *copyStream(s))
		}
	}
	slices.SortFunc(out, func(a, b Stream) int { return int(a.Key - b.Key) })
	return out
}

// CreateStream implements Store.
func (m *Memory) CreateStream(_ context.Context, s *Stream, limit int) error {
	defer m.lock()()
	has := 0
	for _, old := range m.streams {
		if old.ID == s.ID {
			return fmt.Errorf("%w: stream id %s is taken", ErrConflict, s.ID)
		}
		if old.Receiver == s.Receiver {
			has++
		}
	}
	if limit > 0 && has >= limit {
		return ErrConflict
	}
	m.generation++
	m.lastKey++
	s.Key, s.Generation = m.lastKey, m.generation
	m.streams[s.Key] = copyStream(s)
	return nil
}

// Stream implements Store.
func (m *Memory) Stream(_ context.Context, receiver, id string) (*Stream, error) {
	defer m.lock()()
	if s := m.find(receiver, id); s != nil {
		return copyStream(s), nil
	}
	return nil, ErrNotFound
}

// Streams implements Store.
func (m *Memory) Streams(_ context.Context, receiver string) ([]Stream, error) {
	defer m.lock()()
	return m.sorted(func(s *Stream) bool { return s.Receiver == receiver }), nil
}

// UpdateStream implements Store.
func (m *Memory) UpdateStream(_ context.Context, receiver, id string, change func(*Stream) error) (*Stream, error) {
	defer m.lock()()
	s := m.find(receiver, id)
	if s == nil {
		return nil, ErrNotFound
	}
	c := copyStream(s)
	if err := change(c); err != nil {
		return nil, err
	}
	m.generation++
	c.Key, c.ID, c.Receiver, c.Audience, c.Trouble, c.Generation = s.Key, s.ID, s.Receiver, s.Audience, s.Trouble, m.generation
	m.streams[s.Key] = copyStream(c)
	if c.Status == Disabled {
		m.drop(s.Key)
	}
	return c, nil
}

// drop removes what waits on a stream.
func (m *Memory) drop(key int64) {
	for _, it := range m.rows[key] {
		if o := m.bySeq[it.Seq]; o != nil {
			o.State = OrderDropped
			delete(m.bySeq, it.Seq)
		}
	}
	m.waiting -= len(m.rows[key])
	delete(m.rows, key)
}

// DeleteStream implements Store.
func (m *Memory) DeleteStream(_ context.Context, receiver, id string) error {
	defer m.lock()()
	s := m.find(receiver, id)
	if s == nil {
		return ErrNotFound
	}
	m.generation++
	m.drop(s.Key)
	delete(m.streams, s.Key)
	delete(m.dead, s.Key)
	delete(m.delivered, s.Key)
	return nil
}

// AllStreams implements Store.
func (m *Memory) AllStreams(context.Context) ([]Stream, int64, error) {
	defer m.lock()()
	return m.sorted(func(*Stream) bool { return true }), m.generation, nil
}

// Generation implements Store.
func (m *Memory) Generation(context.Context) (int64, error) {
	defer m.lock()()
	return m.generation, nil
}

// Enqueue implements Store.
func (m *Memory) Enqueue(_ context.Context, out *Outgoing) error {
	defer m.lock()()
	if out.Generation != 0 && out.Generation != m.generation {
		return ErrStale
	}
	if m.Busy > 0 && m.waiting+len(out.Rows) > m.Busy {
		return ErrBusy
	}
	m.lastEvent++
	out.Event.Key = m.lastEvent
	event := out.Event
	for i := range out.Rows {
		r := &out.Rows[i]
		r.Seq = 0
		s := m.streams[r.Stream]
		if s == nil || s.Status == Disabled {
			continue
		}
		m.lastSeq++
		r.Seq = m.lastSeq
		m.rows[r.Stream] = append(m.rows[r.Stream], Item{Stream: r.Stream, Seq: r.Seq, JTI: r.JTI, IssuedAt: r.IssuedAt, KeyID: r.KeyID,
			Algorithm: r.Algorithm, Input: r.Input, Event: &event})
		m.waiting++
		if r.Order != nil {
			o := *r.Order
			m.orders[OrderKey{o.Receiver, o.ReceiptIssuer, o.JTI}] = &o
			m.bySeq[r.Seq] = &o
		}
	}
	return nil
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
	return slices.Clone(rows[i:min(len(rows), i+n)]), nil
}

// Done implements Store.
func (m *Memory) Done(_ context.Context, outcomes []Outcome) error {
	defer m.lock()()
	for _, o := range outcomes {
		rows := m.rows[o.Stream]
		i, ok := slices.BinarySearchFunc(rows, o.Seq, seqOf)
		if !ok {
			continue
		}
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
		state := OrderDelivered
		if o.Dead {
			state = OrderRejected
			m.dead[o.Stream] = append(m.dead[o.Stream], DeadLetter{Item: item, Status: o.Status, Reason: o.Reason, At: o.At})
		} else {
			m.delivered[o.Stream]++
		}
		if order := m.bySeq[o.Seq]; order != nil {
			order.State = state
			delete(m.bySeq, o.Seq)
		}
	}
	return nil
}

// Backoff implements Store.
func (m *Memory) Backoff(_ context.Context, stream int64, t Trouble) error {
	defer m.lock()()
	if s := m.streams[stream]; s != nil {
		s.Trouble = t
	}
	return nil
}

// Dead implements Store.
func (m *Memory) Dead(_ context.Context, stream int64, n int) ([]DeadLetter, error) {
	defer m.lock()()
	out := slices.Clone(m.dead[stream])
	slices.Reverse(out)
	return out[:min(len(out), n)], nil
}

// Counts implements Store.
func (m *Memory) Counts(_ context.Context, stream int64) (Counts, error) {
	defer m.lock()()
	return Counts{Waiting: int64(len(m.rows[stream])), Delivered: m.delivered[stream], Dead: int64(len(m.dead[stream]))}, nil
}

func copyOrder(o *SentOrder) *SentOrder {
	c := *o
	c.Receipts = slices.Clone(o.Receipts)
	return &c
}

// Order implements Store.
func (m *Memory) Order(_ context.Context, key OrderKey) (*SentOrder, error) {
	defer m.lock()()
	if o := m.orders[key]; o != nil {
		return copyOrder(o), nil
	}
	return nil, ErrNotFound
}

// AcceptReceipt implements Store.
func (m *Memory) AcceptReceipt(_ context.Context, key OrderKey, r *KeptReceipt, decide func(*SentOrder, Elsewhere) Verdict) (Verdict, error) {
	defer m.lock()()
	o := m.orders[key]
	if o == nil {
		return KeepNothing, ErrNotFound
	}
	jti, number := [2]string{r.Issuer, r.JTI}, [2]string{r.Issuer, r.Number}
	v := decide(copyOrder(o), Elsewhere{JTIHash: m.jtis[jti], NumberOrder: m.numbers[number]})
	switch v {
	case Accept:
		for _, k := range o.Receipts {
			if k.Hash == r.Hash {
				return v, nil
			}
		}
		o.Receipts = insertReceipt(o.Receipts, *r)
		m.jtis[jti], m.numbers[number] = r.Hash, o.JTI
	case Dispute:
		m.evidence = append(m.evidence, *r)
		o.Disputed = "two receipts contradict each other"
	}
	return v, nil
}
