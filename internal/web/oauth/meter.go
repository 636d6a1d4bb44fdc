package oauth

import (
	"sync"
	"time"
)

// meter counts what happens per key; counts run off evenly with time. It holds a bounded number of keys.
type meter struct {
	now func() time.Time

	mu  sync.Mutex
	all map[string]level
}

type level struct {
	n  float64
	at time.Time
}

// bound is how much may happen at once, and in a minute afterwards.
type bound float64

// The bounds. Wrong credentials are few where people are honest, and a client needs a new token once an hour, though
// some fetch one for each call.
const (
	failuresOfClient  bound = 10  // by client and address
	failuresOfAddress bound = 100 // by address
	grantsOfClient    bound = 600
)

const maxMeter = 20_000

func newMeter(now func() time.Time) *meter { return &meter{now: now, all: map[string]level{}} }

// full reports how many seconds a key must wait; 0: none.
func (m *meter) full(key string, b bound) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.level(key, b)
	if n < float64(b) {
		return 0
	}
	return max(1, int((n-float64(b)+1)*60/float64(b)))
}

// count adds one to a key.
func (m *meter) count(key string, b bound) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.level(key, b) + 1
	if _, ok := m.all[key]; !ok && len(m.all) >= maxMeter {
		m.room()
	}
	m.all[key] = level{min(n, float64(b)+1), m.now()}
}

func (m *meter) level(key string, b bound) float64 {
	l, ok := m.all[key]
	if !ok {
		return 0
	}
	return max(0, l.n-m.now().Sub(l.at).Minutes()*float64(b))
}

// room forgets what is older than a minute, which every bound has run off, and where that is not enough, some others.
func (m *meter) room() {
	for k, l := range m.all {
		if m.now().Sub(l.at) > time.Minute+10*time.Second {
			delete(m.all, k)
		}
	}
	for k := range m.all {
		if len(m.all) < maxMeter*9/10 {
			return
		}
		delete(m.all, k)
	}
}
