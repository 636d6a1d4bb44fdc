package transmitter

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"countersign/set"
)

// Keys are what a transmitter signs with and what it publishes.
type Keys struct {
	// Signers sign. The first is the default, and the first of each algorithm signs what is new on streams with that
	// algorithm. The others sign rows that were planned while they were current, and nothing else. All are published.
	Signers []*set.Signer
	// Also are more public keys to publish: the next ones before their first use, and old ones.
	Also []set.Key
}

// keyring is Keys made ready for use. It is never changed, only replaced.
type keyring struct {
	signers []*set.Signer
	byKid   map[string]*set.Signer
	jwks    []byte // the key set as it is published (TX-28)
}

func newKeyring(k Keys) (*keyring, error) {
	if len(k.Signers) == 0 {
		return nil, errors.New("transmitter: no signer")
	}
	r := &keyring{signers: slices.Clone(k.Signers), byKid: make(map[string]*set.Signer, len(k.Signers))}
	public := make([]set.Key, 0, len(k.Signers)+len(k.Also))
	for _, s := range k.Signers {
		kid := s.KeyID()
		if kid == "" || r.byKid[kid] != nil {
			return nil, fmt.Errorf("transmitter: kid %q is empty or used twice", kid) // TX-29
		}
		r.byKid[kid] = s
		public = append(public, s.Public())
	}
	also := map[string]bool{}
	for _, key := range k.Also {
		if key.ID == "" || also[key.ID] {
			return nil, fmt.Errorf("transmitter: kid %q is empty or used twice", key.ID) // TX-29
		}
		also[key.ID] = true
		if s := r.byKid[key.ID]; s != nil { // published once
			if s.Public().Thumbprint() != key.Thumbprint() {
				return nil, fmt.Errorf("transmitter: kid %q stands for two keys", key.ID)
			}
			continue
		}
		public = append(public, key)
	}
	r.jwks = set.MarshalJWKS(public)
	return r, nil
}

// signer gives the signer for new rows of an algorithm; an empty name means the default.
func (r *keyring) signer(alg string) (*set.Signer, error) {
	if alg == "" {
		return r.signers[0], nil
	}
	for _, s := range r.signers {
		if string(s.Algorithm()) == alg {
			return s, nil
		}
	}
	return nil, fmt.Errorf("transmitter: no signing key for %s", alg)
}

// keys gives the keys as they are now.
func (t *Transmitter) keys() *keyring { return t.ring.Load() }

// SetKeys replaces the keys of the running transmitter: what is planned from now on is signed by the new ones, and the
// key set is published with them. Rows keep the kid that they were planned with, so an old signer stays among
// k.Signers for as long as KeysInUse counts rows of it. A key that verifiers have not seen yet belongs into k.Also
// until their caches are older than Config.KeysMaxAge. Faulty keys are refused, and the old ones stay.
func (t *Transmitter) SetKeys(k Keys) error {
	r, err := newKeyring(k)
	if err != nil {
		return err
	}
	t.ring.Store(r)
	t.Pump.rekeyed()
	return nil
}

// KeysInUse counts the rows, waiting and set aside, by the kid they will be signed with.
func (t *Transmitter) KeysInUse(ctx context.Context) (map[string]int64, error) {
	return t.cfg.Store.KeysInUse(ctx)
}

// current gives the algorithm that a kid signs new rows of, or "".
func (r *keyring) current(kid string) set.Algorithm {
	done := map[set.Algorithm]bool{}
	for _, s := range r.signers {
		if done[s.Algorithm()] {
			continue
		}
		if s.KeyID() == kid {
			return s.Algorithm()
		}
		done[s.Algorithm()] = true
	}
	return ""
}

// Reissue is for a key that must not sign any more: it gives every row of kid, waiting and set aside, a new jti, the
// time of now and a current key, and orders a new signing input with it. What is in flight under the old one is sent
// again under the new one, however it ends. SetKeys comes first: a key that signs what is new is refused. Nothing of the
// kid is sent meanwhile. It gives how many rows it changed, also beside an error.
func (t *Transmitter) Reissue(ctx context.Context, kid string) (int, error) {
	if alg := t.keys().current(kid); alg != "" {
		return 0, fmt.Errorf("transmitter: %q is the key that signs %s; replace it before its rows are reissued", kid, alg)
	}
	if _, err := t.current(ctx); err != nil { // replan looks at the streams
		return 0, err
	}
	t.Pump.ban(kid)
	defer t.Pump.unban(kid)
	if err := t.Pump.settled(ctx); err != nil { // what was taken already was delivered
		return 0, err
	}
	total := 0
	for {
		n, err := t.cfg.Store.Reissue(ctx, kid, reissueSize, t.replan)
		total += n
		if err != nil || n == 0 {
			return total, err
		}
	}
}

const reissueSize = 256 // rows of one transaction

// ban takes the rows of a kid out of memory, and those that come after them on their streams with them: they stay in
// the store until unban.
func (p *Pump) ban(kid string) {
	of := func(e *entry) bool { return e.KeyID == kid }
	p.mu.Lock()
	defer p.mu.Unlock()
	p.banned[kid]++
	for _, l := range p.lanes {
		hit := slices.ContainsFunc(l.ring, of) || slices.ContainsFunc(l.held, of)
		for _, e := range l.flying {
			if of(e) {
				e.moot, hit = true, true
			}
		}
		if hit || l.reading {
			p.drop(l, func(e *entry) bool { return l.reach == everything || of(e) })
			l.epoch++
			l.barred = true
			p.look(l, 0)
		}
	}
}

// unban reads the streams again.
func (p *Pump) unban(kid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.banned[kid]--; p.banned[kid] <= 0 {
		delete(p.banned, kid)
	}
	if len(p.banned) > 0 {
		return
	}
	for _, l := range p.lanes {
		l.barred = false
		p.look(l, 0)
		p.retire(l)
	}
	p.freeKeyless()
	p.schedule()
	signal(p.sweeps)
}

// rekeyed tries the streams at once that stand still because a key was missing.
func (p *Pump) rekeyed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.freeKeyless()
	p.schedule()
}

func (p *Pump) freeKeyless() {
	for key := range p.keyless {
		p.settle(key, Trouble{})
		if l := p.lane(key, everything); l != nil {
			p.look(l, 0)
		}
	}
}
