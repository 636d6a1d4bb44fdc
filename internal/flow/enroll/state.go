package enroll

import (
	"context"
	"encoding/json"

	"countersign/internal/hub"
	"countersign/set"
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

	StreamID string   `json:"stream_id,omitempty"`
	Audience []string `json:"audience,omitempty"`
	JWKSURI  string   `json:"jwks_uri,omitempty"`
	Events   []string `json:"events_delivered,omitempty"`

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
	// How the stream was made, so that it can be deleted after the source is.
	Issuer      string    `json:"issuer,omitempty"`
	MetadataURL string    `json:"metadata_url,omitempty"`
	Auth        *hub.Auth `json:"auth,omitempty"`
}

// Rows is what enroll needs of the store for the state; nil raw: none is stored.
type Rows interface {
	SourceStream(ctx context.Context, tenant, source string) (json.RawMessage, error)
	PutSourceStream(ctx context.Context, tenant, source string, state json.RawMessage) error
}

// Read gives the state of a source; nil where there is none.
func Read(ctx context.Context, rows Rows, tenant, source string) (*State, error) {
	raw, err := rows.SourceStream(ctx, tenant, source)
	if err != nil || len(raw) == 0 {
		return nil, err
	}
	s := new(State)
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, err
	}
	return s, nil
}

func write(ctx context.Context, rows Rows, tenant, source string, s *State) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return rows.PutSourceStream(ctx, tenant, source, raw)
}

// fresh is the state of a source nobody has looked at.
func fresh(src *hub.Source) *State {
	s := &State{ReceiveID: set.NewID(), Status: Pending}
	if src.Stream != "create" {
		s.Status, s.Audience = None, src.Audience
	}
	return s
}
