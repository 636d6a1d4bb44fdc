package enroll

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"countersign/internal/hub"
	"countersign/set"
	"countersign/stream"
)

// States of our stream at a source.
const (
	None     = "none" // stream: none: somebody else makes it, or nobody
	Pending  = "pending"
	Made     = "made"
	Failed   = "failed" // the last try did not work; Next says when it is tried again
	Deleting = "deleting"
	Gone     = "gone"
)

// Who made a stream. Only what we made of our own accord is deleted of our own accord.
const (
	Created = "created" // also where nothing is said: by this hub, because of stream: create
	Adopted = "adopted" // it was there before
	ByHand  = "by-hand" // by a step of an operator
)

// What became of receipts on the stream.
const (
	ReceiptsActive   = "active"
	ReceiptsDeclined = "declined"
	ReceiptsLegacy   = "legacy" // the other side knows no receipts; carried on as plain SSF (receipts design §3.3)
	ReceiptsOff      = "off"    // we did not ask: nothing may be ordered, or receipts are switched off
)

// State is what we know of our stream at one source, kept with the source and shown by `source show`.
type State struct {
	ReceiveID string     `json:"receive_id"` // random; the last part of our receive address
	Status    string     `json:"status"`
	Error     string     `json:"error,omitempty"` // of the last try
	Tries     int        `json:"tries,omitempty"`
	Next      hub.Micros `json:"next_try_at,omitempty"`
	Changed   hub.Micros `json:"changed_at,omitempty"`

	StreamID        string   `json:"stream_id,omitempty"`
	Origin          string   `json:"origin,omitempty"`
	Audience        []string `json:"audience,omitempty"`
	JWKSURI         string   `json:"jwks_uri,omitempty"`
	KeysOf          string   `json:"keys_of,omitempty"` // the issuer whose metadata named JWKSURI
	Requested       []string `json:"events_requested,omitempty"`
	Events          []string `json:"events_delivered,omitempty"`
	Critical        []string `json:"critical_subject_members,omitempty"`  // of the metadata (RX-11)
	MinVerification int64    `json:"min_verification_interval,omitempty"` // seconds
	Inactivity      int64    `json:"inactivity_timeout,omitempty"`        // seconds
	MetadataFrom    string   `json:"metadata_from,omitempty"`             // where the metadata was found

	// PollURL is the address to poll, and PollAuth the sealed value of the Authorization field for it where the transmitter gave
	// one with the stream (Enroller.PollCredential opens it).
	PollURL  string `json:"poll_url,omitempty"`
	PollAuth []byte `json:"poll_auth,omitempty"`

	Receipts        string   `json:"receipts,omitempty"`
	ReceiptsReason  string   `json:"receipts_reason,omitempty"` // why they are declined
	ReceiptIssuer   string   `json:"receipt_issuer,omitempty"`
	ReceiptAudience string   `json:"receipt_audience,omitempty"`
	Endpoint        string   `json:"receipt_endpoint,omitempty"`
	Algorithms      []string `json:"receipt_algs,omitempty"` // what the other side takes
	Actions         []string `json:"actions,omitempty"`      // what it may order, as agreed

	// Want is a digest of what the stream was last made from; another one means that it has to be updated.
	Want string `json:"want,omitempty"`
	// Tried is that digest of the last try.
	Tried string `json:"tried,omitempty"`
	// Making is set before a stream is asked for and cleared when we know its id, so that one whose creation was answered to
	// nobody is found again: it is none of Before, the streams that were there.
	Making bool     `json:"making,omitempty"`
	Before []string `json:"before,omitempty"`
	// How the stream was made, so that it can be deleted after the source is.
	Issuer      string    `json:"issuer,omitempty"`
	MetadataURL string    `json:"metadata_url,omitempty"`
	Auth        *hub.Auth `json:"auth,omitempty"`
	Profile     string    `json:"profile,omitempty"`
	Relax       []string  `json:"relax,omitempty"`

	// Consent says that a refresh token may be kept, which goes when the source has gone.
	Consent bool `json:"consent,omitempty"`

	// What is to be acknowledged with the next step `poll`.
	Acks    []string                    `json:"acks,omitempty"`
	Refused map[string]stream.WireError `json:"refused,omitempty"` // by jti

	Live

	look hub.Micros // the next look that a try wants
}

// Live is what the other side tells us of the stream while it is there. It is written by whoever hears it, at any time, also
// while a try to change the stream is under way.
type Live struct {
	There       string     `json:"stream_status,omitempty"` // enabled, paused, disabled; empty: it has not been said
	ThereReason string     `json:"stream_status_reason,omitempty"`
	ThereAt     hub.Micros `json:"stream_status_at,omitempty"`

	// Pending are the verification events that we asked for lately; one that came stays a while, since it may be sent again.
	Pending  []Asked    `json:"verify_pending,omitempty"`
	Asked    hub.Micros `json:"verify_asked_at,omitempty"` // last time
	Verified hub.Micros `json:"verified_at,omitempty"`     // last time that one of ours came
	ByItself hub.Micros `json:"verified_by_itself_at,omitempty"`
	// Unable says why we do not ask: the transmitter has no endpoint for it, or refuses.
	Unable   string     `json:"verify_unable,omitempty"`
	UnableAt hub.Micros `json:"verify_unable_at,omitempty"`
	// NextLook is when the liveness of the source is looked at again.
	NextLook hub.Micros `json:"next_look_at,omitempty"`
	// Held says that an operator paused the stream there: silence is no alarm then.
	Held bool `json:"held,omitempty"`
	// Alarm says that the source has gone silent, since AlarmAt.
	Alarm   string     `json:"alarm,omitempty"`
	AlarmAt hub.Micros `json:"alarm_at,omitempty"`
}

// Asked is one verification event that we asked for.
type Asked struct {
	State string     `json:"state"`
	At    hub.Micros `json:"at"`
	Came  hub.Micros `json:"came_at,omitempty"`
}

// Polled reports whether the hub itself polls for the source: somebody has to keep a stream there for it, and with
// stream: none nothing goes out but what an operator asks for.
func (s *State) Polled(src *hub.Source) bool {
	return src.Delivery == "poll" && src.Stream != None && s.PollURL != "" && s.StreamID != "" && s.With(src)
}

// With reports whether the stream is at the issuer that the source has now. One at the issuer before is there until it is
// deleted: nothing is taken from it, and what shows us to the new one is not shown there.
func (s *State) With(src *hub.Source) bool { return s.Issuer == src.Issuer }

// Keys is the address of the source's keys as its metadata named it; empty where it is not known, or was named by the issuer
// that the source had before.
func (s *State) Keys(src *hub.Source) string {
	if cmp.Or(s.KeysOf, s.Issuer) != src.Issuer {
		return ""
	}
	return s.JWKSURI
}

// Shown is the state without what only this package needs, for people and callers.
func (s *State) Shown() State {
	out := *s
	out.Profile, out.Relax, out.KeysOf = "", nil, ""
	out.Auth, out.Want, out.Tried, out.PollAuth, out.Before = nil, "", "", nil, nil
	out.Pending = nil
	for _, p := range s.Pending { // a state that is known could be sent by somebody else
		out.Pending = append(out.Pending, Asked{At: p.At, Came: p.Came})
	}
	return out
}

// Rows is what enroll needs of the store for the state; nil raw: none is stored.
type Rows interface {
	SourceStream(ctx context.Context, tenant, source string) (json.RawMessage, error)
	// SourceStreams gives all of a tenant's by source, also those of sources that were deleted.
	SourceStreams(ctx context.Context, tenant string) (map[string]json.RawMessage, error)
	// SwapSourceStream puts now where was is stored (nil: nothing), and reports whether it did.
	SwapSourceStream(ctx context.Context, tenant, source string, was, now json.RawMessage) (bool, error)
}

// Read gives the state of a source; nil where there is none.
func Read(ctx context.Context, rows Rows, tenant, source string) (*State, error) {
	s, _, err := read(ctx, rows, tenant, source)
	return s, err
}

func read(ctx context.Context, rows Rows, tenant, source string) (*State, json.RawMessage, error) {
	raw, err := rows.SourceStream(ctx, tenant, source)
	if err != nil || len(raw) == 0 {
		return nil, nil, err
	}
	s, err := parse(raw)
	return s, raw, err
}

func parse(raw json.RawMessage) (*State, error) {
	s := new(State)
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, err
	}
	return s, nil
}

// change reads the state, lets do alter it and stores it, again where somebody else wrote meanwhile. do gets nil where there
// is no state; the state that it returns is stored, and nil leaves things as they are.
func (e *Enroller) change(ctx context.Context, tenant, source string, do func(*State) *State) (*State, error) {
	for try := range 20 {
		was, raw, err := read(ctx, e.Store, tenant, source)
		if err != nil {
			return nil, err
		}
		now := do(was)
		if now == nil {
			return was, nil
		}
		next, err := json.Marshal(now)
		if err != nil {
			return nil, err
		}
		if string(next) == string(raw) {
			return now, nil
		}
		done, err := e.Store.SwapSourceStream(ctx, tenant, source, raw, next)
		if err != nil || done {
			return now, err
		}
		select { // somebody was faster
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(try) * time.Millisecond):
		}
	}
	return nil, hub.Errorf(hub.Unavailable, "the state of the stream at %s is written too often", source)
}

// keep stores what a try made of the state, with what was heard meanwhile.
func (e *Enroller) keep(ctx context.Context, tenant, source string, s *State) error {
	s.Changed = hub.At(e.Now())
	stored, err := e.change(ctx, tenant, source, func(was *State) *State {
		now := *s
		if was != nil && was.StreamID == s.StreamID {
			now.Live = was.Live
		} else if was != nil && was.StreamID == "" { // an event may come before the answer that names its stream
			now.Live = was.Live
		} else {
			now.Live = Live{}
		}
		if s.look != 0 {
			now.NextLook = s.look
		}
		now.Consent = now.Consent || was != nil && was.Consent // it may have been given meanwhile
		return &now
	})
	if err != nil {
		return fmt.Errorf("enroll: keeping the state: %w", err)
	}
	*s = *stored
	return nil
}

// fresh is the state of a source nobody has looked at.
func fresh(src *hub.Source) *State {
	s := &State{ReceiveID: set.NewID(), Status: Pending}
	if src.Stream == None {
		s.Status, s.Audience = None, src.Audience
	}
	return s
}
