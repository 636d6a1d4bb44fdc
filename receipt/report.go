package receipt

// Exit codes of Verify (A5).
const (
	ExitFulfilled   = 0 // every order has a valid, fulfilled receipt without shortfall
	ExitInvalid     = 1
	ExitOther       = 2 // valid, another outcome or a shortfall
	ExitUsage       = 3
	ExitUndecidable = 4 // a key or an order is missing
)

// Levels of a Finding (A54).
const (
	LevelInvalid    = "invalid"
	LevelUndecided  = "undecided"
	LevelShortfall  = "shortfall"
	LevelNote       = "note"
	LevelNotChecked = "not checked"
)

// Report is the verdict on an evidence file; its JSON is that of A54.
type Report struct {
	Exit     int           `json:"exit"`
	Verdict  string        `json:"verdict"`
	Orders   []OrderReport `json:"orders"`
	Findings []Finding     `json:"findings"`
}

// OrderReport is where one order stands, as of the highest seq in the file (A58).
type OrderReport struct {
	Issuer    string         `json:"iss"`
	JTI       string         `json:"jti"`
	SetHash   string         `json:"set_hash"`
	EventType string         `json:"event_type"`
	Outcome   string         `json:"outcome"`
	Stage     string         `json:"stage"`
	Seq       int            `json:"seq"`
	ReceiptNo string         `json:"receipt_no"`
	Evidence  EvidenceReport `json:"evidence"`
}

// EvidenceReport compares the wanted level with the lowest one reached on what was done.
type EvidenceReport struct {
	Wanted  string `json:"wanted"`
	Reached string `json:"reached"`
}

// Finding is one thing noticed.
type Finding struct {
	Level string `json:"level"`
	Where string `json:"where"`
	Code  string `json:"code"`
	Text  string `json:"text"`
}

// Text is the report for a person.
func (r Report) Text() string { panic("receipt") }
