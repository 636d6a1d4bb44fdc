package receiver

import (
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"
)

// Item is a SET that was kept, with what a Mux knows of its way so far.
type Item struct {
	Key      string          // names the SET: the same for the same issuer and jti
	Hash     string          // of the token's bytes: another one under the same key is a clash
	Token    string          // in compact form, as it came
	Received time.Time       // when it was kept
	Due      time.Time       // when it is looked at next
	State    json.RawMessage // the Mux's own
}

// Inbox is where a Mux keeps SETs until they are dealt with. Keep makes durable, before it returns, what the transmitter
// then forgets. SQLInbox keeps in a database, Memory in memory.
type Inbox interface {
	// Keep adds an item. ErrRepeat: there is or was one with this key and hash; ErrClash: with this key and another hash.
	Keep(ctx context.Context, item Item) error
	// Claim gives the item that has been due longest by now, and makes it due again at until: whoever claimed it is thought
	// dead then. false: none is due.
	Claim(ctx context.Context, now, until time.Time) (Item, bool, error)
	// Find gives an item that is not dealt with.
	Find(ctx context.Context, key string) (Item, bool, error)
	// Save writes Due and State of an item.
	Save(ctx context.Context, item Item) error
	// Done says that an item is dealt with. Its key and hash must be remembered for as long as the transmitter may repeat it;
	// the rest is not needed any more.
	Done(ctx context.Context, key string) error
}

// The bounds of a MemoryInbox.
const (
	DefaultWaiting    = 10_000
	DefaultRemembered = 100_000
)

// MemoryInbox is an Inbox that forgets everything when the process ends: what was acknowledged and not dealt with by then is
// lost. It is for tests, and for programs that lose nothing by a missed signal. The zero MemoryInbox is ready.
type MemoryInbox struct {
	// Waiting is how many items may wait; beyond that Keep says Busy. 0: DefaultWaiting.
	Waiting int
	// Remembered is how many items that were dealt with are known as repeats. 0: DefaultRemembered.
	Remembered int

	mu     sync.Mutex
	items  map[string]*waiting
	due    dueHeap
	kept   int               // counts items, so that those due at one time come in the order in which they were kept
	hashes map[string]string // of items that were dealt with
	ring   []string          // their keys; the one at next is the oldest once it is full
	next   int
}

type waiting struct {
	Item
	seq, at int
}

// dueHeap has the item first that is due first.
type dueHeap []*waiting

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	if h[i].Due.Equal(h[j].Due) {
		return h[i].seq < h[j].seq
	}
	return h[i].Due.Before(h[j].Due)
}
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}
func (h *dueHeap) Push(x any) {
	w := x.(*waiting)
	w.at = len(*h)
	*h = append(*h, w)
}
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	w := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return w
}

// Memory gives an Inbox that forgets; see MemoryInbox.
func Memory() *MemoryInbox { return new(MemoryInbox) }

// Keep adds an item.
func (m *MemoryInbox) Keep(_ context.Context, item Item) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	hash, known := m.hashes[item.Key]
	if have, ok := m.items[item.Key]; ok {
		hash, known = have.Hash, true
	}
	switch {
	case known && hash == item.Hash:
		return ErrRepeat
	case known:
		return ErrClash
	case len(m.items) >= most(m.Waiting, DefaultWaiting):
		return &Busy{RetryAfter: 5 * time.Second, Err: errors.New("receiver: too many signals wait in memory")}
	}
	if m.items == nil {
		m.items, m.hashes = map[string]*waiting{}, map[string]string{}
	}
	m.kept++
	w := &waiting{Item: item, seq: m.kept}
	m.items[item.Key] = w
	heap.Push(&m.due, w)
	return nil
}

// Claim gives the item that has been due longest.
func (m *MemoryInbox) Claim(_ context.Context, now, until time.Time) (Item, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.due) == 0 || m.due[0].Due.After(now) {
		return Item{}, false, nil
	}
	first := m.due[0]
	item := first.Item
	first.Due = until
	heap.Fix(&m.due, 0)
	return item, true, nil
}

// Find gives an item that waits.
func (m *MemoryInbox) Find(_ context.Context, key string) (Item, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w, ok := m.items[key]; ok {
		return w.Item, true, nil
	}
	return Item{}, false, nil
}

// Save writes Due and State.
func (m *MemoryInbox) Save(_ context.Context, item Item) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w, ok := m.items[item.Key]; ok {
		w.Due, w.State = item.Due, slices.Clone(item.State)
		heap.Fix(&m.due, w.at)
	}
	return nil
}

// Done forgets an item and remembers its key.
func (m *MemoryInbox) Done(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	w, ok := m.items[key]
	if !ok {
		return nil
	}
	delete(m.items, key)
	heap.Remove(&m.due, w.at)
	m.hashes[key] = w.Hash
	if len(m.ring) < most(m.Remembered, DefaultRemembered) {
		m.ring = append(m.ring, key)
		return nil
	}
	delete(m.hashes, m.ring[m.next])
	m.ring[m.next], m.next = key, (m.next+1)%len(m.ring)
	return nil
}

func most(n, usual int) int {
	if n <= 0 {
		return usual
	}
	return n
}
