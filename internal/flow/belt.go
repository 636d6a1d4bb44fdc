package flow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"countersign/internal/hub"
)

// Jobs is what the belt needs of the store.
type Jobs interface {
	// ClaimJobs takes up to n due jobs of the kinds under a lease.
	ClaimJobs(ctx context.Context, kinds []string, n int) ([]hub.Job, error)
	// RenewJobs makes the leases of jobs that are still being worked on last longer.
	RenewJobs(ctx context.Context, jobs []hub.Job) error
}

// Work is one claimed job, with what the step before still had in its hands.
type Work struct {
	Job hub.Job
	// Item is the row that the job speaks of, where it is in memory already: then the step need not read
	// it again. Nil after a restart, after a wait, and when the belt is long.
	Item any
}

// Step is one kind of work on the belt.
type Step struct {
	Kind string
	// Limit is how many run at once in all; PerKey how many with one key. Zero PerKey: no limit of its own.
	Limit, PerKey int
	// Key tells works apart that must not hinder each other, such as the app they go to. It may read the
	// row into w.Item. Nil: one queue for all. Called for claimed work before it queues.
	Key func(ctx context.Context, w *Work) (string, error)
	// Do does the work, and writes its end to the store itself. A positive again puts the same work back
	// on the belt after that time: the job stays claimed meanwhile. An error leaves the job to its lease,
	// so that it is tried again later, here or on another node.
	Do func(ctx context.Context, w *Work) (again time.Duration, err error)
}

// Belt hands claimed jobs to steps. What the store claimed for us when it committed comes by [Belt.Take],
// without any poll or timer; a poll finds what was put off, left over, or given up by another node.
//
// One slow key never holds up another: each key has its own queue and its own limit.
type Belt struct {
	jobs  Jobs
	log   *slog.Logger
	poll  time.Duration
	steps map[string]*step
	kinds []string
	wake  chan struct{}

	mu      sync.Mutex
	running sync.WaitGroup
	ctx     context.Context // of Run; nil before
	stopped bool
	held    map[int64]hub.Job
	early   []Work // taken before Run
}

// step is the state of one Step, under Belt.mu.
type step struct {
	Step
	queues  map[string]*queue
	ready   []*queue // queues with work and a free slot, in turn
	running int
	waiting int
}

type queue struct {
	key     string
	work    []Work
	running int
	listed  bool // in ready
}

// Config of a Belt.
type Config struct {
	Jobs  Jobs
	Steps []Step
	// Poll is how often the store is asked for due jobs. Zero: half a second.
	Poll time.Duration
	Log  *slog.Logger
}

const (
	// itemLimit is how many waiting works of a step keep their row in memory.
	itemLimit = 2048
	// claimBatch is how many jobs a poll claims at once, and how long a queue the poll adds to at most.
	claimBatch = 256
	// renewEvery is a third of the lease of the store.
	renewEvery = 10 * time.Second
)

// NewBelt makes a belt. Nothing moves before Run.
func NewBelt(c Config) *Belt {
	b := &Belt{jobs: c.Jobs, log: c.Log, poll: c.Poll, steps: map[string]*step{}, held: map[int64]hub.Job{}, wake: make(chan struct{}, 1)}
	if b.log == nil {
		b.log = slog.Default()
	}
	if b.poll == 0 {
		b.poll = 500 * time.Millisecond
	}
	for _, s := range c.Steps {
		if s.Limit == 0 {
			s.Limit = 64
		}
		if s.PerKey == 0 {
			s.PerKey = s.Limit
		}
		b.steps[s.Kind] = &step{Step: s, queues: map[string]*queue{}}
		b.kinds = append(b.kinds, s.Kind)
	}
	return b
}

// Take puts claimed jobs on the belt. It never blocks. Jobs of a kind without a step, and jobs that
// come after the belt stopped, are left to their lease.
func (b *Belt) Take(works ...Work) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return
	}
	if b.ctx == nil {
		b.early = append(b.early, works...)
		return
	}
	for _, w := range works {
		b.take(w)
	}
}

// Waiting says how many jobs of a kind stand on the belt unstarted.
func (b *Belt) Waiting(kind string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.steps[kind]; s != nil {
		return s.waiting
	}
	return 0
}

// Poke makes the belt look for due jobs at once.
func (b *Belt) Poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take queues one work and starts what may start. Held with mu.
func (b *Belt) take(w Work) {
	s := b.steps[w.Job.Kind]
	if s == nil || b.stopped {
		return
	}
	if was, held := b.held[w.Job.Seq]; held && was.Claim == w.Job.Claim {
		return
	}
	// A job that was given back and claimed again before its step returned comes under a new claim: it is new work.
	b.held[w.Job.Seq] = w.Job
	b.enqueue(s, w)
}

func (b *Belt) enqueue(s *step, w Work) {
	key := ""
	if s.Key != nil {
		if w.Item == nil {
			// The key needs the row: read it off the lock, then queue.
			s.waiting++
			b.running.Add(1)
			go b.load(s, w)
			return
		}
		k, err := s.Key(b.ctx, &w)
		if err != nil {
			b.drop(w, err)
			return
		}
		key = k
	}
	b.queue(s, key, w)
}

func (b *Belt) load(s *step, w Work) {
	defer b.running.Done()
	key, err := s.Key(b.ctx, &w)
	b.mu.Lock()
	defer b.mu.Unlock()
	s.waiting--
	if err != nil {
		b.drop(w, err)
		return
	}
	b.queue(s, key, w)
}

func (b *Belt) queue(s *step, key string, w Work) {
	q := s.queues[key]
	if q == nil {
		q = &queue{key: key}
		s.queues[key] = q
	}
	if s.waiting > itemLimit {
		w.Item = nil
	}
	q.work = append(q.work, w)
	s.waiting++
	s.list(q)
	b.start(s)
}

func (s *step) list(q *queue) {
	if !q.listed && len(q.work) > 0 && q.running < s.PerKey {
		q.listed = true
		s.ready = append(s.ready, q)
	}
}

// start runs what the limits allow, one queue after the other. Held with mu.
func (b *Belt) start(s *step) {
	for s.running < s.Limit && len(s.ready) > 0 && !b.stopped {
		q := s.ready[0]
		s.ready = s.ready[1:]
		q.listed = false
		w := q.work[0]
		q.work[0] = Work{}
		q.work = q.work[1:]
		q.running++
		s.running++
		s.waiting--
		s.list(q)
		b.running.Add(1)
		go b.do(s, q, w)
	}
}

func (b *Belt) do(s *step, q *queue, w Work) {
	defer b.running.Done()
	for {
		again, err := s.safely(b.ctx, &w)
		b.mu.Lock()
		switch {
		case err != nil:
			b.drop(w, err)
		case again > 0 && !b.stopped:
			later := w // w is the next work of this queue by then
			time.AfterFunc(again, func() { b.putBack(s, q.key, later) })
		default:
			b.forget(w)
		}
		// Go on with the next of this queue in the same goroutine when nobody else waits for the slot.
		if len(q.work) > 0 && len(s.ready) == 0 && !b.stopped {
			w = q.work[0]
			q.work[0] = Work{}
			q.work = q.work[1:]
			s.waiting--
			b.mu.Unlock()
			continue
		}
		q.running--
		s.running--
		s.list(q)
		if len(q.work) == 0 && q.running == 0 {
			delete(s.queues, q.key)
		}
		b.start(s)
		b.mu.Unlock()
		return
	}
}

// safely runs the step. A panic of one work is that work's failure, and is left to its lease like one.
func (s *step) safely(ctx context.Context, w *Work) (again time.Duration, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return s.Do(ctx, w)
}

func (b *Belt) putBack(s *step, key string, w Work) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return
	}
	b.queue(s, key, w)
}

// forget ends our interest in a work, unless its job came again meanwhile under another claim. Held with mu.
func (b *Belt) forget(w Work) {
	if b.held[w.Job.Seq].Claim == w.Job.Claim {
		delete(b.held, w.Job.Seq)
	}
}

// drop gives a work up to its lease. Held with mu.
func (b *Belt) drop(w Work, err error) {
	b.forget(w)
	if b.ctx.Err() == nil && !errors.Is(err, context.Canceled) {
		b.log.Warn("job left to its lease", "kind", w.Job.Kind, "job", w.Job.Seq, "err", err)
	}
}

// Run moves the belt until ctx ends, then waits for what is running. Works that did not start stay
// claimed until their lease ends, or until this node starts again.
func (b *Belt) Run(ctx context.Context) error {
	b.mu.Lock()
	b.ctx = ctx
	early := b.early
	b.early = nil
	for _, w := range early {
		b.take(w)
	}
	b.mu.Unlock()

	poll := time.NewTicker(b.poll)
	defer poll.Stop()
	renew := time.NewTicker(renewEvery)
	defer renew.Stop()
	b.claim(ctx)
	for {
		select {
		case <-ctx.Done():
			b.mu.Lock()
			b.stopped = true
			b.mu.Unlock()
			b.running.Wait()
			return nil
		case <-poll.C:
			b.claim(ctx)
		case <-b.wake:
			b.claim(ctx)
		case <-renew.C:
			b.renew(ctx)
		}
	}
}

// claim fills the queues from the store as long as there is both room and due work.
func (b *Belt) claim(ctx context.Context) {
	for ctx.Err() == nil {
		var kinds []string
		b.mu.Lock()
		for _, k := range b.kinds {
			if b.steps[k].waiting < claimBatch {
				kinds = append(kinds, k)
			}
		}
		b.mu.Unlock()
		if len(kinds) == 0 {
			return
		}
		jobs, err := b.jobs.ClaimJobs(ctx, kinds, claimBatch)
		if err != nil {
			if ctx.Err() == nil {
				b.log.Warn("cannot look for due jobs", "err", err)
			}
			return
		}
		works := make([]Work, len(jobs))
		for i, j := range jobs {
			works[i] = Work{Job: j}
		}
		b.Take(works...)
		if len(jobs) < claimBatch {
			return
		}
	}
}

func (b *Belt) renew(ctx context.Context) {
	b.mu.Lock()
	jobs := make([]hub.Job, 0, len(b.held))
	for _, j := range b.held {
		jobs = append(jobs, j)
	}
	b.mu.Unlock()
	if len(jobs) == 0 {
		return
	}
	if err := b.jobs.RenewJobs(ctx, jobs); err != nil && ctx.Err() == nil {
		b.log.Warn("cannot renew leases", "jobs", len(jobs), "err", err)
	}
}
