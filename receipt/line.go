package receipt

// Statuses of a line (design §5.3).
const (
	Succeeded   = "succeeded"   // the required state now holds by our act
	Unconfirmed = "unconfirmed" // accepted by an application that will never report completion
	Failed      = "failed"
	Skipped     = "skipped" // nothing was done
	Pending     = "pending"
	Reversed    = "reversed" // done, later undone
)

// Evidence levels, weakest first (design §5.4).
const (
	Assertion = "assertion"
	Counted   = "counted"
	Committed = "committed"
	Verified  = "verified"
)

// Evidence methods.
const (
	MethodAPIResponse = "api_response"
	MethodReadBack    = "read_back"
	MethodOperator    = "operator_statement"
	MethodDownstream  = "downstream_receipt"
)

// ExtraWork is the action id of lines nobody asked for; they are numbered x.1, x.2, … (A13, A30).
const ExtraWork = "x"

// Line is one line of a receipt: what became of one action at one target. Times are seconds; 0 means absent.
type Line struct {
	ID          string            `json:"line"` // action id, or action id "." n
	Action      string            `json:"action"`
	Reach       string            `json:"reach,omitempty"`
	Target      *Target           `json:"target,omitempty"`
	Quantity    int               `json:"quantity,omitempty"` // targets in this line; 0 means 1
	Status      string            `json:"status"`
	Reason      string            `json:"reason"`
	RequestedAt int64             `json:"requested_at,omitempty"`
	StartedAt   int64             `json:"started_at,omitempty"`
	CompletedAt int64             `json:"completed_at,omitempty"`
	ReversedAt  int64             `json:"reversed_at,omitempty"`
	EffectiveBy int64             `json:"effective_by,omitempty"` // until then access granted before may still work
	Attempts    *int              `json:"attempts,omitempty"`
	Counts      *Counts           `json:"counts,omitempty"`
	ReasonText  map[string]string `json:"reason_text,omitempty"` // language to text
	Evidence    *Evidence         `json:"evidence,omitempty"`
	Ref         string            `json:"ref,omitempty"`
	Downstream  *Downstream       `json:"downstream,omitempty"`
	ReversedBy  string            `json:"reversed_by,omitempty"` // content address of the order that undid it (A33)
}

// Target is what a line, or an ordered action, is about. ID is a pseudonym scoped to the stream.
type Target struct {
	App  string `json:"app"`
	Kind string `json:"kind,omitempty"`
	ID   string `json:"id,omitempty"`
}

// Counts are units inside a target. A nil member was not counted.
type Counts struct {
	Unit  string `json:"unit"`
	Found *int   `json:"found,omitempty"`
	Acted *int   `json:"acted,omitempty"`
	Left  *int   `json:"left,omitempty"`
}

// CountsOf gives counts with every member.
func CountsOf(unit string, found, acted, left int) *Counts {
	return &Counts{Unit: unit, Found: &found, Acted: &acted, Left: &left}
}

// Evidence says how well a line is proven.
type Evidence struct {
	Level      string `json:"level"`
	Hash       string `json:"hash,omitempty"` // of the retained document; see DocumentHash
	Method     string `json:"method,omitempty"`
	VerifiedAt int64  `json:"verified_at,omitempty"`
}

// Downstream names the receipt of the party that did the work for us (design §7).
type Downstream struct {
	Issuer  string `json:"iss"`
	Number  string `json:"receipt_no"`
	Seq     int    `json:"seq"`
	Stage   string `json:"stage"`
	Outcome string `json:"outcome"`
	Hash    string `json:"hash"`
}

// Totals are the sums under a receipt. Requested counts ordered actions; the rest count targets.
type Totals struct {
	Requested   int `json:"requested"`
	Lines       int `json:"lines"`
	Succeeded   int `json:"succeeded"`
	Unconfirmed int `json:"unconfirmed"`
	Failed      int `json:"failed"`
	Skipped     int `json:"skipped"`
	Pending     int `json:"pending"`
	Reversed    int `json:"reversed"`
}

// actionID is the part of a line id before the dot (A13).
func (l *Line) actionID() string {
	for i := range len(l.ID) {
		if l.ID[i] == '.' {
			return l.ID[:i]
		}
	}
	return l.ID
}

func (l *Line) quantity() int {
	if l.Quantity == 0 {
		return 1
	}
	return l.Quantity
}
