package hub

// Refusal is what a source sent and what was not taken, as its operator is shown it: without the token and without any
// credential. Many alike within one moment are one Refusal with a count.
type Refusal struct {
	ID     string `json:"id"`
	Source string `json:"source"`
	Door   string `json:"door"`             // push | poll
	Status int    `json:"status,omitempty"` // HTTP status of the answer; 0 where it was polled
	Err    string `json:"err"`              // the code that the sender was told
	Reason string `json:"reason"`           // in words
	Quirk  string `json:"quirk,omitempty"`  // the relaxation (Q-..) that would have let it pass
	Cure   string `json:"cure,omitempty"`   // what to change
	Side   string `json:"side,omitempty"`   // ours | theirs: where to change it
	JTI    string `json:"jti,omitempty"`    // of the first one, where it could be read; not verified
	Size   int    `json:"size,omitempty"`   // bytes of the first one
	Count  int64  `json:"count"`
	At     Micros `json:"at"`      // of the first
	Last   Micros `json:"last_at"` // of the last
}
