package api

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"countersign/internal/hub"
)

// callers remembers for a second who a token belongs to, so that a busy client costs no reads. What
// changes tokens or clients on this node forgets them at once; another node sees it within the second.
type callers struct {
	mu  sync.Mutex
	all map[[32]byte]known
	gen int // grows when all is forgotten, so that a look-up that began before keeps nothing
}

type known struct {
	caller *Caller
	until  time.Time
}

const (
	callerLife = time.Second
	maxCallers = 10_000
)

func (c *callers) find(ctx context.Context, st Tokens, token string, now time.Time) (*Caller, error) {
	key := sha256.Sum256([]byte(token))
	c.mu.Lock()
	k, ok := c.all[key]
	gen := c.gen
	c.mu.Unlock()
	if ok && now.Before(k.until) && (k.caller.Expires == 0 || hub.At(now) < k.caller.Expires) {
		return k.caller, nil
	}
	caller, err := Authenticate(ctx, st, "", token, now)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gen != gen {
		return caller, nil
	}
	if c.all == nil || len(c.all) >= maxCallers {
		c.all = map[[32]byte]known{}
	}
	c.all[key] = known{caller, now.Add(callerLife)}
	return caller, nil
}

func (c *callers) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = nil
	c.gen++
}
