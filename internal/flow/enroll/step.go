package enroll

import (
	"context"
	"encoding/json"

	"countersign/internal/hub"
)

// Steps at the other side's stream API, each one request.
const (
	StepCreate  = "create"
	StepRead    = "read"
	StepUpdate  = "update"
	StepReplace = "replace"
	StepStatus  = "status"
	StepVerify  = "verify"
	StepPoll    = "poll"
	StepDelete  = "delete"
)

// Steps lists them.
var Steps = []string{StepCreate, StepRead, StepUpdate, StepReplace, StepStatus, StepVerify, StepPoll, StepDelete}

// StepInput is what a step is given besides the source. Each member belongs to the steps that its comment names; elsewhere it is
// refused.
type StepInput struct {
	StreamID    string   `json:"stream_id,omitempty"`   // all but create: of another stream than the one we remember
	All         bool     `json:"all,omitempty"`         // read: every stream of ours there
	Events      []string `json:"events,omitempty"`      // create, update, replace: in place of the source's
	Description string   `json:"description,omitempty"` // create, update, replace: in place of ours
	Status      string   `json:"status,omitempty"`      // status: what it shall be; empty: it is read
	Reason      string   `json:"reason,omitempty"`      // status
	State       string   `json:"state,omitempty"`       // verify: in place of a random one
	NoState     bool     `json:"no_state,omitempty"`    // verify: without one
	Max         *int     `json:"max,omitempty"`         // poll: how many SETs at most
	Long        bool     `json:"long,omitempty"`        // poll: wait until there is something
	AckOnly     bool     `json:"ack_only,omitempty"`    // poll: say what came before, and take nothing
}

// StepResult is what came of a step.
type StepResult struct {
	Verb   string          `json:"verb"`
	Answer json.RawMessage `json:"answer,omitempty"` // of the other side, without secrets
	Status int             `json:"status,omitempty"` // of an answer that refused
	State  string          `json:"state,omitempty"`  // verify: what the event will carry
	Sets   []PolledSet     `json:"sets,omitempty"`
	More   bool            `json:"more_available,omitempty"`
	Note   string          `json:"note,omitempty"`
	Stream *State          `json:"stream"` // as we know it now
}

// PolledSet is one SET that a poll brought.
type PolledSet struct {
	JTI    string `json:"jti"`
	Result string `json:"result"` // kept, refused, later
	Reason string `json:"reason,omitempty"`
}

// Step does one step at the other side's stream API, and nothing else: one request, with a token request before it where none
// is cached and a look at the metadata where that is not.
func (e *Enroller) Step(ctx context.Context, tenant, source, verb string, in StepInput) (*StepResult, error) {
	return nil, hub.Errorf(hub.Unavailable, "the step %s cannot be taken", verb)
}
