package oauth

import (
	"context"
	"errors"
	"sync"

	"countersign/internal/hub"
)

// flights lets callers that want one thing at one time share one call for it.
type flights[T any] struct {
	mu  sync.Mutex
	all map[string]*flight[T]
}

type flight[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// do runs get in the goroutine of the first caller of a key; the others wait for what it gives, no longer than their own
// context. get must not end with the first caller's context.
func (f *flights[T]) do(ctx context.Context, key string, get func() (T, error)) (T, error) {
	f.mu.Lock()
	if one := f.all[key]; one != nil {
		f.mu.Unlock()
		select {
		case <-one.done:
			return one.value, one.err
		case <-ctx.Done():
			var none T
			return none, hub.Errorf(hub.Unavailable, "waiting for an issuer: %w", ctx.Err())
		}
	}
	one := &flight[T]{done: make(chan struct{}), err: errors.New("oauth: the call ended without an answer")}
	if f.all == nil {
		f.all = map[string]*flight[T]{}
	}
	f.all[key] = one
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.all, key)
		f.mu.Unlock()
		close(one.done)
	}()
	one.value, one.err = get()
	return one.value, one.err
}
