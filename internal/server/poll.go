package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash/fnv"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"countersign/internal/flow/ingest"
	"countersign/internal/hub"
	"countersign/receiver"
)

const (
	// pollLook is how often is looked at who is to be polled here. A change of resources is seen at once.
	pollLook = time.Second
	// pollParallel is how many SETs of an answer are kept at a time: they share commits.
	pollParallel = 64
	// pollHold is how long a transmitter may hold a poll.
	pollHold = 2 * time.Minute
)

// pollers polls our streams at the sources that are polled: one worker for each stream, on the one node that holds the
// lease for it (RX-97). Leases are those of the transmitter's shards: a source belongs to a shard as a stream does.
type pollers struct {
	s *Server

	mu      sync.Mutex
	running map[pollKey]*polling
	wake    chan struct{}
}

type pollKey struct{ tenant, source string }

// polling is one worker.
type polling struct {
	made [sha256.Size]byte // of what it was made from
	stop context.CancelFunc
	done chan struct{}

	mu   sync.Mutex
	last PollState
}

// PollState is how the polls of a source go, as this node sees them.
type PollState struct {
	At     hub.Micros `json:"at,omitempty"` // last answer
	SETs   int64      `json:"sets"`         // since this node polls
	Fails  int        `json:"failures,omitempty"`
	Error  string     `json:"error,omitempty"`
	Status int        `json:"status,omitempty"` // of the answer that was an error
}

func newPollers(s *Server) *pollers {
	return &pollers{s: s, running: map[pollKey]*polling{}, wake: make(chan struct{}, 1)}
}

// look has the workers compared with what is set up now.
func (p *pollers) look() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// state gives how the polls of a source go; nil: this node does not poll there.
func (p *pollers) state(tenant, source string) *PollState {
	p.mu.Lock()
	w := p.running[pollKey{tenant, source}]
	p.mu.Unlock()
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.last
	return &last
}

// Run keeps the workers until ctx ends; then each acknowledges what it kept, and ends.
func (p *pollers) Run(ctx context.Context) error {
	tick := time.NewTicker(pollLook)
	defer tick.Stop()
	for ctx.Err() == nil {
		p.settle(ctx)
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-p.wake:
		}
	}
	p.mu.Lock()
	var ending []*polling
	for _, w := range p.running {
		w.stop()
		ending = append(ending, w)
	}
	p.mu.Unlock()
	for _, w := range ending {
		<-w.done
	}
	return nil
}

// wanted is one source that is to be polled here.
type wanted struct {
	tenant *tenant
	src    *source
	made   [sha256.Size]byte
}

// settle stops what is not wanted any more and starts what is. A worker whose predecessor still ends waits for the next
// look: there are never two for one stream.
func (p *pollers) settle(ctx context.Context) {
	want := map[pollKey]wanted{}
	for _, t := range p.s.all() {
		v := t.view.Load()
		if v == nil || !v.polls() {
			continue
		}
		held, err := p.s.store.Transmitter(t.name, p.s.vault).Shards(ctx)
		if err != nil {
			if ctx.Err() == nil {
				p.s.log.WarnContext(ctx, "nothing is polled while it is not known which node may", "tenant", t.name, "err", err)
			}
			continue
		}
		for name, src := range v.sources {
			if src.polled() && held.Has(pollShard(t.name, name)) {
				want[pollKey{t.name, name}] = wanted{t, src, src.pollMade()}
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, w := range p.running {
		select {
		case <-w.done:
			delete(p.running, k)
			continue
		default:
		}
		if x, ok := want[k]; !ok || x.made != w.made {
			w.stop()
		}
	}
	for k, x := range want {
		if p.running[k] == nil && ctx.Err() == nil {
			p.running[k] = p.start(ctx, k, x)
		}
	}
}

// start runs the worker of one source.
func (p *pollers) start(ctx context.Context, k pollKey, x wanted) *polling {
	ctx, stop := context.WithCancel(ctx)
	w := &polling{made: x.made, stop: stop, done: make(chan struct{})}
	log := p.s.log.With("tenant", k.tenant, "source", k.source)
	poller := &receiver.Poller{
		Client: &receiver.Client{HTTP: p.s.poll, Credential: pollCredential{p.s, k, x.src.state.PollURL}},
		URL:    x.src.state.PollURL,
		Take: func(ctx context.Context, compact string) error {
			return p.s.takePolled(ctx, k.tenant, k.source, compact)
		},
		Parallel: pollParallel,
		Timeout:  pollHold,
		Log:      log,
		Polled: func(n int, err error) {
			w.polled(hub.At(p.s.now()), n, err)
			if err == nil && n > 0 && p.s.pass != nil {
				p.s.pass("polled.before-ack")
			}
		},
	}
	go func() {
		defer close(w.done)
		defer stop()
		log.LogAttrs(ctx, slog.LevelInfo, "the source is polled from here")
		for ctx.Err() == nil {
			if err := p.safely(ctx, poller); err != nil && ctx.Err() == nil {
				log.LogAttrs(ctx, slog.LevelError, "polling ended and begins again", slog.Any("err", err))
				select {
				case <-ctx.Done():
				case <-time.After(pollLook):
				}
			}
		}
	}()
	return w
}

// safely runs a poller; a panic is an error of this source and of nobody else.
func (p *pollers) safely(ctx context.Context, poller *receiver.Poller) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = hub.Errorf(hub.Internal, "panic: %v", r)
		}
	}()
	return poller.Run(ctx)
}

func (w *polling) polled(at hub.Micros, n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.last = PollState{At: at, SETs: w.last.SETs + int64(n)}
		return
	}
	w.last.Fails++
	w.last.Error, w.last.Status = ingest.Plain(err.Error()), pollStatus(err)
}

// pollCredential is what the source's set-up says now. It is asked with each request, so that a changed secret is used.
type pollCredential struct {
	s   *Server
	k   pollKey
	url string // that it is for: a worker may outlive for a moment what it was made from
}

func (c pollCredential) now(ctx context.Context) (receiver.Credential, error) {
	t, err := c.s.must(c.k.tenant)
	if err != nil {
		return nil, err
	}
	src := t.view.Load().sources[c.k.source]
	if src == nil || src.state == nil {
		return nil, hub.Errorf(hub.NotFound, "there is no source %s", c.k.source)
	}
	if !src.state.With(src.spec) || src.state.PollURL != c.url {
		return nil, hub.Errorf(hub.Conflict, "the source %s is polled elsewhere now", c.k.source)
	}
	return c.s.enroller.PollCredential(ctx, t.name, src.spec, src.state)
}

// Authorize puts the source's credential on a poll; one without credential goes as it is.
func (c pollCredential) Authorize(r *http.Request) error {
	cred, err := c.now(r.Context())
	if err != nil || cred == nil {
		return err
	}
	return cred.Authorize(r)
}

// Renew asks the source's credential for another one after a 401.
func (c pollCredential) Renew(r *http.Request) bool {
	cred, err := c.now(r.Context())
	return err == nil && cred != nil && cred.Renew(r)
}

// takePolled gives a polled token to the receive door of its source as it is set up now.
func (s *Server) takePolled(ctx context.Context, tenant, source, compact string) error {
	t, err := s.must(tenant)
	if err != nil {
		return err
	}
	src := t.view.Load().sources[source]
	if src == nil || src.in == nil {
		return hub.Errorf(hub.NotFound, "there is no source %s that can receive", source)
	}
	return s.door.Take(ctx, src.in, compact)
}

// polls reports whether any source is polled.
func (v *view) polls() bool {
	for _, src := range v.sources {
		if src.polled() {
			return true
		}
	}
	return false
}

// polled reports whether the hub itself polls there. With stream: none nothing goes out but what an operator asks for.
func (src *source) polled() bool {
	return src.in != nil && src.state != nil && src.state.Polled(src.spec)
}

// pollMade is a digest of what a worker is made from; another one means another worker.
func (src *source) pollMade() [sha256.Size]byte {
	return sha256.Sum256([]byte(src.state.StreamID + "\x00" + src.state.PollURL))
}

// pollShard is the key by which a source has a shard.
func pollShard(tenant, source string) int64 {
	h := fnv.New64a()
	h.Write([]byte(tenant + "/" + source))
	return int64(h.Sum64())
}

func pollStatus(err error) int {
	if a, ok := errors.AsType[*receiver.APIError](err); ok {
		return a.Status
	}
	return 0
}
