package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"countersign/transmitter"
)

// Transmitter is one tenant's view of a Store that keeps what a transmitter needs. It is safe for concurrent use.
type Transmitter struct {
	s      *Store
	tenant string
	seal   Sealer
}

var _ transmitter.Store = (*Transmitter)(nil)

// sealedFor is the purpose under which the secrets of streams are sealed.
const sealedFor = "stream"

// Transmitter gives the view of one tenant that implements transmitter.Store. The streams' secrets are
// sealed with seal; without one, streams that have a secret are refused.
func (s *Store) Transmitter(tenant string, seal Sealer) *Transmitter {
	return &Transmitter{s: s, tenant: tenant, seal: seal}
}

func (v *Transmitter) read(ctx context.Context, f func(*tx) error) error {
	if err := needTenant(v.tenant); err != nil {
		return err
	}
	return v.s.read(ctx, f)
}

func (v *Transmitter) write(ctx context.Context, point string, f func(*tx) error) error {
	if err := needTenant(v.tenant); err != nil {
		return err
	}
	return v.s.write(ctx, point, f)
}

// streamDoc holds the members of a stream that no query asks for. Receipts has a column of its own: its bytes count.
type streamDoc struct {
	Audience        []string `json:"aud,omitempty"`
	Requested       []string `json:"req"`
	Delivered       []string `json:"del"`
	Description     string   `json:"description,omitempty"`
	Method          string   `json:"method,omitempty"`
	Endpoint        string   `json:"endpoint,omitempty"`
	Algorithm       string   `json:"alg,omitempty"`
	Reason          string   `json:"reason,omitempty"`
	ReceiptIssuer   string   `json:"receipt_issuer,omitempty"`
	Window          int      `json:"window,omitempty"`
	Created         int64    `json:"created,omitempty"`
	Updated         int64    `json:"updated,omitempty"`
	NothingReceipts bool     `json:"no_receipts,omitempty"`
	Name            string   `json:"name,omitempty"`
	Set             string   `json:"set,omitempty"`
	DefaultSubjects string   `json:"default_subjects,omitempty"`
	Naming          string   `json:"naming,omitempty"` // as text: its bytes stay
	MinVerification int64    `json:"min_verification,omitempty"`
	Shape           string   `json:"shape,omitempty"`
	Format          string   `json:"format,omitempty"`
}

const streamColumns = `seq, id, receiver, status, doc, receipts, auth, generation, fails, next_at, since, fault, trouble, active, inactivity, listed`

func (v *Transmitter) encode(st *transmitter.Stream) (doc string, auth []byte, err error) {
	b, err := json.Marshal(streamDoc{st.Audience, st.Requested, st.Delivered, st.Description, st.Method, st.Endpoint, st.Algorithm, st.Reason,
		st.ReceiptIssuer, st.Window, int64(st.Created), int64(st.Updated), st.Receipts == nil,
		st.Name, st.Set, st.DefaultSubjects, string(st.Naming), st.MinVerification, st.Shape, st.Format})
	if err != nil {
		return "", nil, err
	}
	if st.Authorization != "" {
		if v.seal == nil {
			return "", nil, errors.New("store: a stream with a secret needs a sealer")
		}
		auth = v.seal.Seal(sealedFor, st.ID, []byte(st.Authorization))
	}
	return string(b), auth, nil
}

func (v *Transmitter) decode(scan scanFunc) (*transmitter.Stream, error) {
	st := &transmitter.Stream{}
	var doc, receipts string
	var auth []byte
	var next, since, active int64
	if err := scan(&st.Key, &st.ID, &st.Receiver, &st.Status, &doc, &receipts, &auth, &st.Generation, &st.Trouble.Fails, &next, &since, &st.Trouble.Open, &st.Trouble.Reason,
		&active, &st.InactivityTimeout, &st.Listed); err != nil {
		return nil, err
	}
	st.Active = transmitter.Micros(active)
	st.Trouble.Next, st.Trouble.Since = transmitter.Micros(next), transmitter.Micros(since)
	var d streamDoc
	if err := json.Unmarshal([]byte(doc), &d); err != nil {
		return nil, fmt.Errorf("store: stream %s: %w", st.ID, err)
	}
	st.Audience, st.Requested, st.Delivered, st.Description = d.Audience, d.Requested, d.Delivered, d.Description
	st.Method, st.Endpoint, st.Algorithm, st.Reason = d.Method, d.Endpoint, d.Algorithm, d.Reason
	st.ReceiptIssuer, st.Window = d.ReceiptIssuer, d.Window
	st.Created, st.Updated = transmitter.Micros(d.Created), transmitter.Micros(d.Updated)
	st.Name, st.Set, st.DefaultSubjects, st.MinVerification, st.Shape, st.Format = d.Name, d.Set, d.DefaultSubjects, d.MinVerification, d.Shape, d.Format
	if d.Naming != "" {
		st.Naming = json.RawMessage(d.Naming)
	}
	if !d.NothingReceipts {
		st.Receipts = json.RawMessage(receipts)
	}
	if len(auth) > 0 {
		if v.seal == nil {
			return nil, errors.New("store: a stream with a secret needs a sealer")
		}
		plain, err := v.seal.Open(sealedFor, st.ID, auth)
		if err != nil {
			return nil, fmt.Errorf("store: the secret of stream %s: %w", st.ID, err)
		}
		st.Authorization = string(plain)
	}
	return st, nil
}

// bump raises a generation of the tenant and gives the new value. The row is locked until the commit.
func bump(t *tx, tenant, kind string) (int64, error) {
	var g int64
	_, err := t.one(`INSERT INTO generation (tenant, kind, value) VALUES ($1, $2, 1)
		ON CONFLICT (tenant, kind) DO UPDATE SET value = generation.value + 1 RETURNING value`, []any{tenant, kind}, &g)
	return g, err
}

// CreateStream implements transmitter.Store.
func (v *Transmitter) CreateStream(ctx context.Context, st *transmitter.Stream, limit int) error {
	if err := needTenant(v.tenant); err != nil {
		return err
	}
	doc, auth, err := v.encode(st)
	if err != nil {
		return err
	}
	key, err := v.s.seqs.take(ctx, 1)
	if err != nil {
		return err
	}
	var gen int64
	err = v.write(ctx, pointNone, func(t *tx) error {
		var err error
		// The generation row is locked first: calls that race for one receiver come one after the other.
		if gen, err = bump(t, v.tenant, "stream"); err != nil {
			return err
		}
		if limit > 0 {
			var n int
			if _, err := t.one(`SELECT count(*) FROM stream WHERE tenant = $1 AND receiver = $2`, []any{v.tenant, st.Receiver}, &n); err != nil {
				return err
			}
			if n >= limit {
				return transmitter.ErrConflict
			}
		}
		_, err = t.exec(`INSERT INTO stream (seq, tenant, id, receiver, status, doc, receipts, auth, generation, fails, next_at, since, fault, trouble, delivered, active, inactivity, listed)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, $15, $16, $17)`,
			key, v.tenant, st.ID, st.Receiver, st.Status, doc, string(st.Receipts), auth, gen,
			st.Trouble.Fails, int64(st.Trouble.Next), int64(st.Trouble.Since), st.Trouble.Open, st.Trouble.Reason,
			int64(st.Active), st.InactivityTimeout, st.Listed)
		if unique(err) {
			err = fmt.Errorf("%w: stream id %s is taken", transmitter.ErrConflict, st.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	st.Key, st.Generation = key, gen
	return nil
}

// Stream implements transmitter.Store.
func (v *Transmitter) Stream(ctx context.Context, receiver, id string) (*transmitter.Stream, error) {
	var st *transmitter.Stream
	err := v.read(ctx, func(t *tx) (err error) {
		st, err = v.stream(t, receiver, id, "")
		return err
	})
	return st, err
}

func (v *Transmitter) stream(t *tx, receiver, id, lock string) (*transmitter.Stream, error) {
	var st *transmitter.Stream
	err := t.each(func(scan scanFunc) (err error) {
		st, err = v.decode(scan)
		return err
	}, `SELECT `+streamColumns+` FROM stream WHERE tenant = $1 AND receiver = $2 AND id = $3`+lock, v.tenant, receiver, id)
	if err == nil && st == nil {
		err = transmitter.ErrNotFound
	}
	return st, err
}

// Streams implements transmitter.Store.
func (v *Transmitter) Streams(ctx context.Context, receiver string) ([]transmitter.Stream, error) {
	var all []transmitter.Stream
	err := v.read(ctx, func(t *tx) error {
		all = nil
		return t.each(func(scan scanFunc) error {
			st, err := v.decode(scan)
			if err == nil {
				all = append(all, *st)
			}
			return err
		}, `SELECT `+streamColumns+` FROM stream WHERE tenant = $1 AND receiver = $2 ORDER BY seq`, v.tenant, receiver)
	})
	return all, err
}

// AllStreams implements transmitter.Store.
func (v *Transmitter) AllStreams(ctx context.Context) ([]transmitter.Stream, int64, error) {
	var all []transmitter.Stream
	var gen int64
	for {
		err := v.read(ctx, func(t *tx) error {
			var err error
			if gen, err = v.generation(t); err != nil {
				return err
			}
			all = nil
			return t.each(func(scan scanFunc) error {
				st, err := v.decode(scan)
				if err == nil {
					all = append(all, *st)
				}
				return err
			}, `SELECT `+streamColumns+` FROM stream WHERE tenant = $1 ORDER BY seq`, v.tenant)
		})
		if err != nil {
			return nil, 0, err
		}
		// The streams are those of gen only if nothing changed between the two statements.
		after, err := v.Generation(ctx)
		if err != nil || after == gen {
			return all, gen, err
		}
	}
}

// StreamsSince implements transmitter.StreamsSince.
func (v *Transmitter) StreamsSince(ctx context.Context, generation int64) (changed []transmitter.Stream, all int, now int64, err error) {
	for {
		err := v.read(ctx, func(t *tx) error {
			var err error
			if now, err = v.generation(t); err != nil {
				return err
			}
			if _, err = t.one(`SELECT count(*) FROM stream WHERE tenant = $1`, []any{v.tenant}, &all); err != nil {
				return err
			}
			changed = nil
			return t.each(func(scan scanFunc) error {
				st, err := v.decode(scan)
				if err == nil {
					changed = append(changed, *st)
				}
				return err
			}, `SELECT `+streamColumns+` FROM stream WHERE tenant = $1 AND generation > $2 ORDER BY seq`, v.tenant, generation)
		})
		if err != nil {
			return nil, 0, 0, err
		}
		// As in AllStreams.
		after, err := v.Generation(ctx)
		if err != nil || after == now {
			return changed, all, now, err
		}
	}
}

// Generation implements transmitter.Store.
func (v *Transmitter) Generation(ctx context.Context) (int64, error) {
	var g int64
	err := v.read(ctx, func(t *tx) (err error) {
		g, err = v.generation(t)
		return err
	})
	return g, err
}

func (v *Transmitter) generation(t *tx) (int64, error) {
	var g int64
	_, err := t.one(`SELECT value FROM generation WHERE tenant = $1 AND kind = 'stream'`, []any{v.tenant}, &g)
	return g, err
}
