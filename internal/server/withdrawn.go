package server

import "sync"

// lately remembers the latest of many numbers. What it forgets is in the store by then.
type lately struct {
	mu       sync.Mutex
	now, old map[int64]struct{}
}

// maxLately is how many are remembered at least.
const maxLately = 10_000

func (l *lately) add(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == nil || len(l.now) >= maxLately {
		l.old, l.now = l.now, map[int64]struct{}{}
	}
	l.now[n] = struct{}{}
}

func (l *lately) has(n int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.now[n]; ok {
		return true
	}
	_, ok := l.old[n]
	return ok
}
