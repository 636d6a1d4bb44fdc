package act

import (
	"encoding/json"
	"fmt"

	"countersign/internal/connector"
	"countersign/internal/hub"
)

// progress is where the step sequence of an action stands. It is kept with the action, so that any worker can go on.
type progress struct {
	// Plan is the sequence, fixed when the action first ran: a changed pack does not change work under way.
	Plan []planned `json:"plan,omitempty"`
	Step int       `json:"step,omitempty"`
	// Missing are optional operations that the pack does not offer.
	Missing []hub.Operation `json:"missing,omitempty"`
	// Asked: an enable has looked for what a disable of ours left open.
	Asked bool `json:"asked,omitempty"`
	// LookedUp: a look-up answered for this account in this very action.
	LookedUp bool `json:"looked_up,omitempty"`
	// Before lists the sessions seen before the act; Seen says that the app told.
	Seen   bool     `json:"seen,omitempty"`
	Before []string `json:"before,omitempty"`
	// Targets are the sessions still to be ended one by one, in the step that does that.
	Targets []string `json:"targets,omitempty"`
	Listed  bool     `json:"listed,omitempty"` // Targets were filled
	// Phase of the current operation.
	Phase phase `json:"phase,omitempty"`
	// Sending is the attempt that was committed and has no answer yet.
	Sending *sending `json:"sending,omitempty"`
	// Accepted is when the app last accepted; the read-back then runs until the deadline.
	Accepted hub.Micros `json:"accepted,omitempty"`
	// Answered is when the act was last answered done.
	Answered hub.Micros `json:"answered,omitempty"`
	Looks    int        `json:"looks,omitempty"` // read-backs since the last request
	// Shown: the last read-back could be read, and showed that it is not done.
	Shown bool `json:"shown,omitempty"`
	// Why is the reason code that stands if time runs out now.
	Why  string `json:"why,omitempty"`
	Fail int    `json:"fails,omitempty"` // tries in a row that did not get through, for the back-off
	// Did lists the operations that ended, and what proved them.
	Did []did `json:"did,omitempty"`
	// Log is what was asked and answered, masked; the evidence document holds it.
	Log []entry `json:"log,omitempty"`
}

type phase string

const (
	toSend   phase = ""        // the operation's request is due
	toLook   phase = "look"    // answered done: read back
	delayed  phase = "delayed" // accepted: read back until the deadline
	toCheck  phase = "check"   // no answer is known: read back before anything else
	finished phase = "finished"
)

type planned struct {
	Op   hub.Operation `json:"op"`
	Each bool          `json:"each,omitempty"` // once for each listed session
}

type sending struct {
	No  int           `json:"no"`
	Op  hub.Operation `json:"op"`
	Req string        `json:"request"`
	Key string        `json:"key,omitempty"`
	At  hub.Micros    `json:"at"`
}

type did struct {
	Op      hub.Operation   `json:"op"`
	Class   connector.Class `json:"class"`
	Proven  bool            `json:"proven,omitempty"`
	Refusal bool            `json:"refusal,omitempty"`
	Left    int             `json:"left"` // -1: not known
	Was     bool            `json:"was,omitempty"`
}

// entry is one exchange with the app.
type entry struct {
	At     hub.Micros      `json:"at"`
	Op     hub.Operation   `json:"operation"`
	What   string          `json:"what"` // look_up | count | act | read_back
	Req    string          `json:"request,omitempty"`
	Status int             `json:"status,omitempty"`
	Class  connector.Class `json:"class"`
	Note   string          `json:"note,omitempty"`
	Body   string          `json:"body,omitempty"`
	Proven *bool           `json:"proven,omitempty"`
	Left   *int            `json:"left,omitempty"`
}

// logLimit bounds what an action keeps of its exchanges: the first and the latest.
const logLimit = 40

func readProgress(raw json.RawMessage) (*progress, error) {
	p := &progress{}
	if len(raw) == 0 {
		return p, nil
	}
	if err := json.Unmarshal(raw, p); err != nil {
		return nil, fmt.Errorf("act: progress: %w", err)
	}
	return p, nil
}

func (p *progress) raw() json.RawMessage {
	raw, err := json.Marshal(p)
	if err != nil { // nothing in it can fail to marshal
		return nil
	}
	return raw
}

func (p *progress) note(e entry) {
	if len(p.Log) >= logLimit {
		p.Log = append(p.Log[:logLimit/2], p.Log[logLimit/2+1:]...)
	}
	p.Log = append(p.Log, e)
}

// current gives the operation that is due.
func (p *progress) current() (planned, bool) {
	if p.Step >= len(p.Plan) {
		return planned{}, false
	}
	return p.Plan[p.Step], true
}

// plan turns an action into the operations this pack offers for it. ok is false when a needed one is missing.
func plan(name string, reach hub.Reach, offers func(hub.Operation) bool) (steps []planned, missing []hub.Operation, ok bool) {
	for _, s := range hub.Steps(name, reach) {
		switch {
		case offers(s.Op):
			steps = append(steps, planned{Op: s.Op})
		case s.OrElse != "" && s.ForEach && offers(s.OrElse) && offers(hub.OpListSessions):
			steps = append(steps, planned{Op: s.OrElse, Each: true})
		case s.OrElse != "" && !s.ForEach && offers(s.OrElse):
			steps = append(steps, planned{Op: s.OrElse})
		case s.Optional:
			missing = append(missing, s.Op)
		default:
			return nil, nil, false
		}
	}
	return steps, missing, len(steps) > 0
}
