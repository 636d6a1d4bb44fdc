package transmitter

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// selection is what one poll is answered with.
type selection struct {
	sets  []polledSet // oldest first
	more  bool        // something waits beyond these
	again time.Duration
}

// polledSet is one SET of an answer.
type polledSet struct {
	item  *Item
	token string
}

func (a *selection) empty() bool { return len(a.sets) == 0 }

// keepParting drops what a stopped stream does not give.
func (a *selection) keepParting() {
	a.sets = slices.DeleteFunc(a.sets, func(p polledSet) bool { return !p.item.Parting })
	a.more = false
}

// choose reads what waits on a stream, oldest first, up to what the poll and Config.PollMax allow, and signs it. Where
// the poll may be held and everything was offered just now, it chooses nothing and says when it would.
func (s *Server) choose(ctx context.Context, st *Stream, most int, mayHold bool) (*selection, error) {
	limit := or(s.cfg.PollMax, 100)
	if most >= 0 {
		limit = min(limit, most)
	}
	items, more, err := s.read(ctx, st, limit)
	if err != nil {
		return nil, err
	}
	a := &selection{more: more}
	if limit == 0 || len(items) == 0 {
		return a, nil
	}
	if mayHold {
		if a.again = s.offers.fresh(st.Key, items, s.cfg.Now()); a.again > 0 {
			return &selection{again: a.again}, nil
		}
	}
	a.sets = s.sign(st, items)
	size := 0
	for i, p := range a.sets {
		if size += len(p.token) + len(p.item.JTI); size > pollSize && i > 0 {
			a.sets, a.more = a.sets[:i], true
			break
		}
	}
	return a, nil
}

// read gives up to n rows that may be given now, and whether there are more.
func (s *Server) read(ctx context.Context, st *Stream, n int) (items []Item, more bool, err error) {
	if st.Status != Enabled { // only the last word (TX-139)
		all, err := s.cfg.Store.Parting(ctx)
		if err != nil {
			return nil, false, err
		}
		items = slices.DeleteFunc(all, func(it Item) bool { return it.Stream != st.Key })
	} else if items, err = s.cfg.Store.Next(ctx, st.Key, 0, n+1); err != nil {
		return nil, false, err
	}
	if len(items) > n {
		return items[:n], true, nil
	}
	return items, false, nil
}

// sign makes the tokens of rows. One that cannot be signed is left out, with what comes after it about the same subject
// (TX-105); the others go on.
func (s *Server) sign(st *Stream, items []Item) []polledSet {
	tokens := make([]string, len(items))
	failed := make([]error, len(items))
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < len(items); i = int(next.Add(1)) - 1 {
			tokens[i], failed[i] = s.token(st, &items[i])
		}
	}
	var others sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(items)) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
	out := make([]polledSet, 0, len(items))
	var back map[[16]byte]bool
	for i := range items {
		it := &items[i]
		if failed[i] != nil {
			s.cfg.Log.Error("a SET cannot be signed and is held back", "stream", st.ID, "jti", it.JTI, "error", failed[i])
			if back == nil {
				back = map[[16]byte]bool{}
			}
			back[it.Event.Subject] = true
			continue
		}
		if !back[it.Event.Subject] {
			out = append(out, polledSet{it, tokens[i]})
		}
	}
	return out
}

// token gives the token of a row: the one that was given before, where it is still here.
func (s *Server) token(st *Stream, it *Item) (string, error) {
	if token := s.tokens.get(it.JTI); token != "" {
		return token, nil
	}
	token, err := s.t.signPolled(it, st)
	if err == nil {
		s.tokens.put(it.JTI, token)
	}
	return token, err
}

// tokenCache keeps tokens of SETs that were offered, so that they have the same bytes when they are offered again, also
// where the signature is not the same each time (PS256), and so that they are signed once. It has two halves; when the
// younger is full it takes the place of the older.
type tokenCache struct {
	mu         sync.Mutex
	young, old map[string]string // by jti
	size       int               // of the young
}

// tokenHalf is how many octets of tokens one half holds.
const tokenHalf = 4 << 20

func (c *tokenCache) get(jti string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if token := c.young[jti]; token != "" {
		return token
	}
	token := c.old[jti]
	if token != "" {
		delete(c.old, jti)
		c.add(jti, token)
	}
	return token
}

func (c *tokenCache) put(jti, token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.young[jti] == "" {
		c.add(jti, token)
	}
}

func (c *tokenCache) add(jti, token string) {
	if c.young == nil || c.size > tokenHalf {
		c.old, c.young, c.size = c.young, map[string]string{}, 0
	}
	c.young[jti] = token
	c.size += len(jti) + len(token)
}

func (c *tokenCache) drop(jtis []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, jti := range jtis {
		if token, ok := c.young[jti]; ok {
			c.size -= len(jti) + len(token)
			delete(c.young, jti)
		}
		delete(c.old, jti)
	}
}

// Bounds of what is remembered of offers.
const (
	offersStream = 1000             // SETs of one stream
	offersAge    = 10 * time.Minute // after which one that was not acknowledged is forgotten
	offersSweep  = time.Minute
)

// offers are the SETs that polls were answered with and that nobody has acknowledged yet, as far as this process
// remembers. What it forgets is offered a little sooner and is missing in figures; nothing else depends on it.
type offers struct {
	mu      sync.Mutex
	streams map[int64]map[string]offered // by stream key and jti
	swept   time.Time
}

// offered is one SET.
type offered struct {
	at    time.Time // when it was offered last
	first time.Time
	typ   string
	iat   int64
	order bool
}

// fresh says how long it takes until one of the rows counts as not offered just now; 0: one does.
func (o *offers) fresh(key int64, items []Item, now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := o.streams[key]
	least := again
	for i := range items {
		f, ok := seen[items[i].JTI]
		if !ok {
			return 0
		}
		left := again - now.Sub(f.at)
		if left <= 0 || left > again {
			return 0
		}
		least = min(least, left)
	}
	return least
}

// made notes an answer.
func (o *offers) made(st *Stream, a *selection, now time.Time) {
	if len(a.sets) == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.streams == nil {
		o.streams = map[int64]map[string]offered{}
	}
	if now.Sub(o.swept) >= offersSweep {
		o.swept = now
		for key, sets := range o.streams {
			for jti, f := range sets {
				if now.Sub(f.at) > offersAge {
					delete(sets, jti)
				}
			}
			if len(sets) == 0 {
				delete(o.streams, key)
			}
		}
	}
	sets := o.streams[st.Key]
	if sets == nil {
		sets = map[string]offered{}
		o.streams[st.Key] = sets
	}
	for _, p := range a.sets {
		f, ok := sets[p.item.JTI]
		switch {
		case ok:
			f.at = now
		case len(sets) >= offersStream:
			continue
		default:
			f = offered{at: now, first: now, typ: p.item.Event.Type, iat: p.item.IssuedAt, order: p.item.Input != ""}
		}
		sets[p.item.JTI] = f
	}
}

// settled forgets what was acknowledged or refused, and tells Config.Delivered of it.
func (o *offers) settled(s *Server, st *Stream, q *pollRequest, now time.Time) {
	s.tokens.drop(q.acks)
	told := make([]Try, 0, 8)
	o.mu.Lock()
	sets := o.streams[st.Key]
	tell := func(jti, reason string) {
		f, ok := sets[jti]
		if !ok {
			return
		}
		delete(sets, jti)
		told = append(told, Try{StreamID: st.ID, Receiver: st.Receiver, Type: f.typ, JTI: jti, IssuedAt: f.iat, Order: f.order,
			Status: 200, Reason: reason, Dead: reason != "", Took: now.Sub(f.first)})
	}
	for _, jti := range q.acks {
		tell(jti, "")
	}
	for _, r := range q.refused {
		reason := r.Err
		if r.Description != "" {
			reason += ": " + r.Description
		}
		tell(r.JTI, reason)
	}
	if sets != nil && len(sets) == 0 {
		delete(o.streams, st.Key)
	}
	o.mu.Unlock()
	if s.cfg.Delivered != nil {
		for _, t := range told {
			s.cfg.Delivered(t)
		}
	}
}
