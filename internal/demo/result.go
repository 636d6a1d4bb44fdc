package demo

// Result is what demo --once --json prints. Ok is true only if everything in it is as promised.
type Result struct {
	OK        bool            `json:"ok"`
	ElapsedMS int64           `json:"elapsed_ms"` // of the scene, from the first sign-in to the verified evidence
	Engine    string          `json:"engine"`     // sqlite | postgres
	Sessions  []SessionResult `json:"sessions"`
	Tokens    []TokenResult   `json:"tokens"`
	Signal    SignalResult    `json:"signal"`
	Receipt   ReceiptResult   `json:"receipt"`
	Evidence  string          `json:"evidence"` // path of the evidence file
	Verify    VerifyResult    `json:"verify"`
	Problems  []string        `json:"problems,omitempty"`

	slip string
}

// SessionResult is one browser at one app: the status of its page before and after.
type SessionResult struct {
	Person  string `json:"person"`
	App     string `json:"app"`
	Session string `json:"session"` // a label such as "browser 1", never a cookie
	Before  int    `json:"before"`
	After   int    `json:"after"`
}

// TokenResult is a self-contained access token that nothing can end before its exp.
type TokenResult struct {
	Person          string `json:"person"`
	App             string `json:"app"`
	StillValidUntil int64  `json:"still_valid_until"` // NumericDate
}

// SignalResult is the signal as the hub kept it.
type SignalResult struct {
	ID        string `json:"id"`
	EventType string `json:"event_type"`
	SetHash   string `json:"set_hash"`
}

// ReceiptResult is the receipt as the identity provider accepted it.
type ReceiptResult struct {
	ReceiptNo        string `json:"receipt_no"`
	Outcome          string `json:"outcome"`
	Lines            int    `json:"lines"`
	AcceptedBySender bool   `json:"accepted_by_sender"`
}

// VerifyResult is the exit status of receipt verify on the evidence file.
type VerifyResult struct {
	Exit int `json:"exit"`
}
