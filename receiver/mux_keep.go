package receiver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"countersign/receipt"
	"countersign/set"
	"countersign/stream"
	"countersign/subject"
)

// clockSkew is how far iat of an order may lie ahead (receipts A10).
const clockSkew = 120 * time.Second

// policy says which tokens are accepted; the keys are found once.
func (m *Mux) policy(ctx context.Context) (*set.Policy, error) {
	keys, err := m.keySet(ctx)
	if err != nil {
		return nil, err
	}
	return &set.Policy{Issuer: m.cfg.Issuer, Audience: m.cfg.Audience, Algorithms: m.cfg.Algorithms, Keys: keys, Now: m.cfg.Now}, nil
}

func (m *Mux) keySet(ctx context.Context) (set.KeySet, error) {
	m.mu.Lock()
	keys := m.keys
	m.mu.Unlock()
	if keys != nil {
		return keys, nil
	}
	md, _, err := m.client.DiscoverAny(ctx, m.cfg.Issuer, m.cfg.MetadataURL, true)
	if err != nil {
		return nil, err
	}
	if md.JWKSURI == "" {
		return nil, fmt.Errorf("%w: metadata names no jwks_uri", ErrAnswer)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys == nil {
		m.keys = set.NewRemoteKeys(md.JWKSURI, m.client.client(), m.cfg.Now)
		if m.critical == nil {
			m.critical = md.CriticalSubjectMembers
		}
	}
	return m.keys, nil
}

// way is what a Mux writes into Item.State: the event as it was understood when it was kept, and what became of it.
type way struct {
	Type    string          `json:"type"`
	SubID   json.RawMessage `json:"sub_id,omitempty"`
	Payload json.RawMessage `json:"payload"`

	Since time.Time      `json:"since,omitzero"`  // of the first call of a function
	Tries map[string]int `json:"tries,omitempty"` // calls of it, by action
	Tried int            `json:"tried,omitempty"` // failures in a row, for the back-off
	// Of an order.
	Withdrawn int64          `json:"withdrawn,omitempty"` // when it was taken back, in seconds
	Lines     []receipt.Line `json:"lines,omitempty"`     // by action
	Number    string         `json:"receipt_no,omitempty"`
	Seq       int            `json:"seq,omitempty"`
	Hash      string         `json:"hash,omitempty"` // content address of the receipt of that number
	Receipt   string         `json:"receipt,omitempty"`
	Final     bool           `json:"final,omitempty"` // Receipt is the last one
	Sends     int            `json:"sends,omitempty"`
	Cut       time.Time      `json:"cut,omitzero"`
}

// keep makes a SET durable, or says why it is none of ours.
func (m *Mux) keep(ctx context.Context, d *Delivery) error {
	claims := d.Token.Claims()
	if members := m.discards(d.Subject); len(members) > 0 { // RX-66
		m.cfg.Log.WarnContext(ctx, "a signal was discarded: its subject has a critical member that nothing here interprets", "type", d.Event.Type, "jti", claims.ID, "members", members)
		return nil
	}
	if err := m.readable(d); err != nil {
		return err
	}
	if _, ok := d.Payload.(interface{ VerificationState() string }); ok && m.acts[d.Event.Type] == nil {
		return nil // Verification saw it
	}
	payload, err := json.Marshal(d.Payload)
	if err != nil {
		return err
	}
	now := m.cfg.Now()
	w := way{Type: d.Event.Type, SubID: d.Subject.Raw(), Payload: payload}
	state, err := json.Marshal(w)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(d.Token.Compact()))
	key := itemKey(claims.Issuer, claims.ID)
	var taken bool
	if r := m.cfg.Receipts; r.agreed() && d.Event.Type == r.vocabulary().Withdrawn {
		jti, _, _ := withdrawal(d.Subject, d.Event.Payload, m.cfg.Issuer) // readable has looked
		key, taken = withdrawalKey(claims.Issuer, jti), true
	}
	err = m.cfg.Inbox.Keep(ctx, Item{
		Key: key, Hash: base64.RawURLEncoding.EncodeToString(sum[:]), Token: d.Token.Compact(), Received: now, Due: now, State: state,
	})
	switch {
	case err == nil:
		m.wakeUp()
	case taken && errors.Is(err, ErrClash): // it was taken back before, by another token
		return nil
	}
	return err
}

func (m *Mux) wakeUp() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// itemKey names a SET by its issuer and jti.
func itemKey(issuer, jti string) string {
	sum := sha256.Sum256([]byte(issuer + "\x00" + jti))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// discards lists the members of a subject for which the signal is discarded.
func (m *Mux) discards(sub subject.Identifier) []string {
	m.mu.Lock()
	critical := m.critical
	m.mu.Unlock()
	var out []string
	for _, name := range critical {
		if _, has := sub.Part(name); has && !slices.Contains(m.cfg.Interprets, name) {
			out = append(out, name)
		}
	}
	return out
}

// readable refuses an order or a withdrawal that cannot be read (receipts A35).
func (m *Mux) readable(d *Delivery) error {
	r := m.cfg.Receipts
	if !r.agreed() {
		return nil
	}
	claims := d.Token.Claims()
	if d.Event.Type == r.vocabulary().Withdrawn {
		if _, _, err := withdrawal(d.Subject, d.Event.Payload, m.cfg.Issuer); err != nil {
			return &Refusal{Description: err.Error()}
		}
		return nil
	}
	_, err := receipt.OrderOf(d.Token, r.vocabulary())
	malformed, bad := errors.AsType[*receipt.Malformed](err)
	switch {
	case errors.Is(err, receipt.ErrNoDirective):
		return nil
	case bad:
		return &Refusal{Description: "directive: " + malformed.Text}
	case err != nil:
		return &Refusal{Description: "the directive cannot be read"}
	case d.Token.Header().Type != "secevent+jwt": // receipts A9
		return &Refusal{Description: "typ of a SET with a directive must be exactly secevent+jwt"}
	case claims.IssuedAt > m.cfg.Now().Add(clockSkew).Unix():
		return &Refusal{Description: "iat of a SET with a directive lies more than 120 s ahead"}
	}
	return nil
}

// withdrawal reads which order is taken back (receipts design §6.6).
func withdrawal(sub subject.Identifier, payload json.RawMessage, issuer string) (jti, hash string, err error) {
	var in struct {
		SetHash string `json:"set_hash"`
	}
	switch err := json.Unmarshal(payload, &in); {
	case err != nil || in.SetHash == "":
		return "", "", errors.New("a withdrawal names the set_hash of its order")
	case sub.Format() != subject.FormatJWTID || sub.Get("iss") != issuer:
		return "", "", errors.New("sub_id of a withdrawal is the jwt_id of an order of yours")
	}
	return sub.Get("jti"), in.SetHash, nil
}

func (m *Mux) report(ctx context.Context, status int, code string, reason error) {
	m.cfg.Log.WarnContext(ctx, "a signal was not taken", "status", status, "err", code, "reason", reason.Error())
}

// The states of verification events that we asked for (RX-43).
const (
	maxStates = 16
	stateLife = 10 * time.Minute
)

type expected struct {
	state string
	until time.Time
	seen  bool
	came  chan struct{} // closed when it came
}

// Verify asks the transmitter for a verification event with a fresh state and waits until it has come back, or ctx ends.
// It asks once; ask no more often than the stream's min_verification_interval. The states are remembered in memory: after a
// restart one that was under way is refused.
func (m *Mux) Verify(ctx context.Context, c *Client, md *stream.Metadata, streamID string) error {
	e := &expected{state: random(), until: m.cfg.Now().Add(stateLife), came: make(chan struct{})}
	m.mu.Lock()
	m.states = append(m.states, e) // before asking: the event may come before the answer (RX-39)
	if len(m.states) > maxStates {
		m.states = slices.Delete(m.states, 0, len(m.states)-maxStates)
	}
	m.mu.Unlock()
	if err := c.Verify(ctx, md, streamID, e.state); err != nil {
		return err
	}
	select {
	case <-e.came:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("receiver: the verification event has not come: %w", ctx.Err())
	}
}

// Verified is when the last verification event came, asked for or not; zero: none has come.
func (m *Mux) Verified() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.verified
}

// verification checks a state (RX-40 to RX-42). One that came is known until its time is over, since the sender may repeat it.
func (m *Mux) verification(_ context.Context, state string, hasState bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.cfg.Now()
	if !hasState {
		m.verified = now
		return nil
	}
	m.states = slices.DeleteFunc(m.states, func(e *expected) bool { return !now.Before(e.until) })
	for _, e := range m.states {
		if subtle.ConstantTimeCompare([]byte(e.state), []byte(state)) == 1 {
			if !e.seen {
				e.seen = true
				close(e.came)
			}
			m.verified = now
			return nil
		}
	}
	return ErrState
}
