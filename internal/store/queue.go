package store

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// op is one queued write. Exactly one of f, keep, acks and decide is set.
type op struct {
	point  string
	f      func(*tx) error
	keep   *keeping
	acks   *acks
	decide *deciding

	state  atomic.Int32 // opQueued, opTaken or opLeft
	err    error
	answer chan struct{}
}

const (
	opQueued = iota
	opTaken
	opLeft // its caller went away first
)

// queue is the bounded queue before the writers, and the door that Close shuts.
type queue struct {
	ops     chan *op
	quit    chan struct{}
	writers sync.WaitGroup
	inside  sync.WaitGroup // writes that go past the queue

	door   sync.RWMutex
	closed bool
}

func newQueue(limit int) *queue {
	return &queue{ops: make(chan *op, limit+batch), quit: make(chan struct{})}
}

// start runs n writers. Each takes what is queued, hands it to group, and answers the callers.
func (q *queue) start(n int, group func([]*op)) {
	for range n {
		q.writers.Add(1)
		go func() {
			defer q.writers.Done()
			q.run(group)
		}()
	}
}

// submit queues o and waits for its answer. A caller whose context ends while o still waits leaves, and o
// is not run; once a writer took it, the caller stays for the commit.
func (q *queue) submit(ctx context.Context, o *op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o.answer = make(chan struct{})
	q.door.RLock()
	if q.closed {
		q.door.RUnlock()
		return ErrStopped
	}
	select {
	case q.ops <- o:
		q.door.RUnlock()
	default:
		q.door.RUnlock()
		return busy()
	}
	select {
	case <-o.answer:
	case <-ctx.Done():
		if o.state.CompareAndSwap(opQueued, opLeft) {
			return ctx.Err()
		}
		<-o.answer
	}
	return o.err
}

// enter lets a write go past the queue until it calls leave.
func (q *queue) enter() (leave func(), err error) {
	q.door.RLock()
	defer q.door.RUnlock()
	if q.closed {
		return nil, ErrStopped
	}
	q.inside.Add(1)
	return q.inside.Done, nil
}

// stop shuts the door, waits for what is inside, and reports whether it was the first to do so.
func (q *queue) stop() bool {
	q.door.Lock()
	was := q.closed
	q.closed = true
	q.door.Unlock()
	if was {
		return false
	}
	q.inside.Wait()
	close(q.quit)
	q.writers.Wait()
	return true
}

func (q *queue) run(group func([]*op)) {
	ops := make([]*op, 0, batch)
	for {
		ops = ops[:0]
		select {
		case o := <-q.ops:
			ops = take(ops, o)
		case <-q.quit:
			select {
			case o := <-q.ops:
				ops = take(ops, o)
			default:
				return
			}
		}
		// Callers that were just answered come back at once: let them, so that one commit takes them all.
		for len(ops) < batch {
			n := len(ops)
			runtime.Gosched()
			ops = q.drain(ops)
			if len(ops) == n {
				break
			}
		}
		if len(ops) == 0 {
			continue
		}
		group(ops)
		for _, o := range ops {
			close(o.answer)
		}
	}
}

func take(ops []*op, o *op) []*op {
	if o.state.CompareAndSwap(opQueued, opTaken) {
		return append(ops, o)
	}
	return ops
}

func (q *queue) drain(ops []*op) []*op {
	for len(ops) < batch {
		select {
		case o := <-q.ops:
			ops = take(ops, o)
		default:
			return ops
		}
	}
	return ops
}
