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
	// History is how many lines of the history are kept at least; the oldest go first. 0: 10,000.
	History int

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
	parting    int // of the waiting ones
	history    []Delivery
	subjects   map[int64]map[[16]byte]*SubjectEntry
	subjectKey map[[16]byte][]*SubjectEntry
	orders     map[OrderKey]*SentOrder
	lastOrder  int64
	bySeq      map[int64]*SentOrder // orders whose rows wait or were set aside
	again      map[int64]Micros     // by Seq: when rows were redriven, as long as that says something of their age
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
		m.subjects, m.subjectKey = map[int64]map[[16]byte]*SubjectEntry{}, map[[16]byte][]*SubjectEntry{}
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
	c.Receipts, c.Naming = slices.Clone(s.Receipts), slices.Clone(s.Naming)
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
func (m *Memory) UpdateStream(ctx context.Context, receiver, id string, change func(*Stream) error) (*Stream, error) {
	return m.Announce(ctx, receiver, id, func(s *Stream) (*Outgoing, error) { return nil, change(s) })
}

// Announce implements Store.
func (m *Memory) Announce(_ context.Context, receiver, id string, change func(*Stream) (*Outgoing, error)) (*Stream, error) {
	defer m.lock()()
	s := m.find(receiver, id)
	if s == nil {
		return nil, ErrNotFound
	}
	c := copyStream(s)
	out, err := change(c)
	if err != nil {
		return nil, err
	}
	m.generation++
	c.Key, c.ID, c.Receiver, c.Audience, c.Generation = s.Key, s.ID, s.Receiver, s.Audience, m.generation
	c.Trouble, c.Listed, c.Active = s.Trouble, s.Listed, s.Active
	c = copyStream(c)
	m.streams[s.Key] = c
	if c.Status == Disabled {
		m.drop(s.Key)
	}
	if out != nil {
		m.add(out)
	}
	return copyStream(c), nil
}

// drop removes what waits on a stream.
func (m *Memory) drop(key int64) {
	for _, it := range m.rows[key] {
		if o := m.bySeq[it.Seq]; o != nil {
			o.State = OrderDropped
			delete(m.bySeq, it.Seq)
		}
		if it.Parting {
			m.parting--
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
	for _, d := range m.dead[s.Key] {
		delete(m.bySeq, d.Item.Seq)
	}
	m.unlist(s.Key)
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

// Backoff implements Store.
func (m *Memory) Backoff(_ context.Context, stream int64, t Trouble) error {
	defer m.lock()()
	if s := m.streams[stream]; s != nil {
		s.Trouble = t
	}
	return nil
}

// Touch implements Store.
func (m *Memory) Touch(_ context.Context, active map[int64]Micros) error {
	defer m.lock()()
	for key, at := range active {
		if s := m.streams[key]; s != nil && at > s.Active {
			s.Active = at
		}
	}
	return nil
}

// Idle implements Store.
func (m *Memory) Idle(_ context.Context, now Micros) ([]Stream, error) {
	defer m.lock()()
	return m.sorted(func(s *Stream) bool {
		last := max(s.Created, s.Updated, s.Active)
		return s.Status == Enabled && s.InactivityTimeout > 0 && last+Micros(s.InactivityTimeout)*1_000_000 < now
	}), nil
}

// Shards implements Store: there is no other process.
func (m *Memory) Shards(context.Context) (Shards, error) { return AllShards, nil }
