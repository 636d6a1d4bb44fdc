package store

import (
	"sync"
	"time"

	"countersign/internal/hub"
)

// memo remembers what each authenticated request asks for, tokens and clients, so that a request costs no
// read. A write of this process clears it before it returns, so a token that is revoked here is refused
// from then on. Other nodes on PostgreSQL learn of it within memoLife; on SQLite there are none.
type memo struct {
	mu      sync.RWMutex
	epoch   int64 // grows with each clearing: a read that began before one is not remembered
	tokens  map[string]remembered[Token]
	clients map[string]remembered[hub.Resource]
}

type remembered[T any] struct {
	value T
	until time.Time // zero: until it is cleared
}

const (
	memoLife = time.Second
	memoSize = 10000
)

func (m *memo) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
	m.tokens, m.clients = nil, nil
}

// recall gives a remembered value, or asks for it and remembers the answer. Errors are not remembered.
func recall[T any](s *Store, entries func(*memo) *map[string]remembered[T], key string, ask func() (*T, error)) (*T, error) {
	m := &s.memo
	now := s.cfg.Now()
	m.mu.RLock()
	epoch := m.epoch
	e, ok := (*entries(m))[key]
	m.mu.RUnlock()
	if ok && (e.until.IsZero() || now.Before(e.until)) {
		v := e.value
		return &v, nil
	}
	v, err := ask()
	if err != nil {
		return nil, err
	}
	e = remembered[T]{value: *v}
	if s.d.name == "postgres" {
		e.until = now.Add(memoLife)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if all := entries(m); m.epoch == epoch {
		if *all == nil || len(*all) >= memoSize {
			*all = map[string]remembered[T]{}
		}
		(*all)[key] = e
	}
	return v, nil
}
