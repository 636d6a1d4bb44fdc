package hub

import "encoding/json"

// Signal is one normalised event, with the original token kept as evidence.
type Signal struct {
	Seq       int64           `json:"-"` // the store's own key; 0 before it is kept
	ID        string          `json:"id"`
	Tenant    string          `json:"tenant"`
	Source    string          `json:"source"` // name of the source; for the API "client:NAME"
	Door      string          `json:"door"`   // push | api
	Issuer    string          `json:"iss,omitempty"`
	JTI       string          `json:"jti"`
	IssuedAt  int64           `json:"iat,omitempty"`
	TXN       string          `json:"txn,omitempty"`
	EventType string          `json:"event_type"`
	SubID     json.RawMessage `json:"sub_id"`
	Event     json.RawMessage `json:"event"`
	SetHash   string          `json:"set_hash,omitempty"` // content address; empty at the API door
	Token     string          `json:"-"`                  // compact JWS as received; empty at the API door
	Received  Micros          `json:"received_at"`
	State     SignalState     `json:"state"`
	Reason    string          `json:"reason,omitempty"` // why it waits, in words
	// IdentityName and Misses are what correlation found, and each way that did not answer.
	IdentityName string   `json:"identity,omitempty"`
	Misses       []string `json:"misses,omitempty"`
	// Order is set where the signal carries a directive on a stream where receipts were negotiated,
	// or an order given at the API door.
	Order *Order `json:"order,omitempty"`
}

// PassedOn reports whether the signal was given to us only to be transmitted: nobody is looked up for it here, and
// nothing is decided.
func (s *Signal) PassedOn() bool {
	return s.Door == "api" && s.State == SignalDone && s.IdentityName == ""
}

// Order is the receiving side's record of a directive.
type Order struct {
	Directive json.RawMessage `json:"directive"` // as received
	ReceiptNo string          `json:"receipt_no"`
	Refused   string          `json:"refused,omitempty"` // reason code when the whole order is refused by receipt (invalid_directive)
	// What the sender's stream negotiated, fixed when the order was kept, so that the answer does not depend on later changes.
	ReceiptIssuer   string `json:"receipt_issuer"`
	ReceiptAudience string `json:"receipt_audience"`
	Endpoint        string `json:"endpoint"`
	CompleteBy      int64  `json:"complete_by,omitempty"`
	NotAfter        int64  `json:"not_after,omitempty"`
	Withdrawn       Micros `json:"withdrawn_at,omitempty"` // when its sender took it back; 0: it stands
	// Where the answer stands.
	LastSeq  int    `json:"last_seq"`
	LastHash string `json:"last_hash,omitempty"`
	Stage    string `json:"stage,omitempty"`
	Outcome  string `json:"outcome,omitempty"`
}

// Kept is what keeping a signal gave.
type Kept struct {
	ID     string // of the signal: the new one, or the one that was there
	Seq    int64
	Status KeptStatus
}

// KeptStatus says what a second look at (tenant, source, jti) found.
type KeptStatus int

// A repeat is answered like the first. A clash is the same jti with other content: refused, kept as evidence, alarmed.
const (
	KeptNew KeptStatus = iota
	KeptRepeat
	KeptClash
)

// Decision is what the policies gave for one signal, with reasons.
type Decision struct {
	ID       string          `json:"id"`
	SignalID string          `json:"signal"`
	At       Micros          `json:"at"`
	Inputs   json.RawMessage `json:"inputs"` // the CEL inputs as evaluated
	Findings []Finding       `json:"findings"`
	Planned  []string        `json:"planned"` // ids of the actions
}

// Finding explains one policy, one rule or one ordered action.
type Finding struct {
	Policy  string `json:"policy,omitempty"`
	Version int64  `json:"version,omitempty"`
	Rule    int    `json:"rule,omitempty"` // 1-based; 0 speaks of the whole policy
	Line    string `json:"line,omitempty"` // id of an ordered action
	Result  string `json:"result"`         // applies | skipped | denied | limited | monitor | error | refused
	Reason  string `json:"reason"`
}

// Action is one unit of work on one target, and one line of a receipt.
type Action struct {
	Seq          int64           `json:"-"`
	ID           string          `json:"id"`
	Tenant       string          `json:"tenant"`
	SignalID     string          `json:"signal"`
	SignalSeq    int64           `json:"-"`
	Name         string          `json:"action"`
	App          string          `json:"app,omitempty"` // empty: the hub itself, or nothing was matched
	Identity     string          `json:"identity,omitempty"`
	Account      string          `json:"account,omitempty"`       // empty until looked up
	Email        string          `json:"-"`                       // what to look up when Account is empty; several are joined by a space
	Session      string          `json:"session,omitempty"`       // reach session: the id in the app's own name space
	Reach        Reach           `json:"reach,omitempty"`         // the reach that is acted on: the widest accepted
	OrderReach   Reach           `json:"ordered_reach,omitempty"` // printed on an ordered line
	Fallback     Reach           `json:"fallback,omitempty"`
	Line         string          `json:"line,omitempty"` // action id of the order, or "x"; numbered when printed
	Ordered      bool            `json:"ordered"`
	Policy       string          `json:"policy,omitempty"`
	State        State           `json:"state"`
	Reason       string          `json:"reason,omitempty"` // receipt reason code
	ReasonText   string          `json:"reason_text,omitempty"`
	Hidden       bool            `json:"hidden,omitempty"` // no line of its own: the app knows nobody, and another line stands for the order
	Attempts     int             `json:"attempts"`
	Counted      bool            `json:"counted,omitempty"` // Found, Acted and Left say something
	Found        int             `json:"found,omitempty"`
	Acted        int             `json:"acted,omitempty"`
	Left         int             `json:"left,omitempty"`
	Unit         string          `json:"unit,omitempty"` // sessions | tokens | accounts
	Level        Level           `json:"level,omitempty"`
	Method       string          `json:"method,omitempty"` // api_response | read_back | operator_statement
	Key          string          `json:"idempotency_key,omitempty"`
	Requested    Micros          `json:"requested_at"`
	Started      Micros          `json:"started_at,omitempty"`
	Completed    Micros          `json:"completed_at,omitempty"`
	VerifiedAt   Micros          `json:"verified_at,omitempty"`
	EffectiveBy  Micros          `json:"effective_by,omitempty"`
	Deadline     Micros          `json:"deadline,omitempty"` // tries end here
	NotAfter     Micros          `json:"not_after,omitempty"`
	Evidence     json.RawMessage `json:"evidence,omitempty"` // retained document: what was asked and answered, secrets masked; 128 random bits inside
	EvidenceHash string          `json:"evidence_hash,omitempty"`
	Progress     json.RawMessage `json:"progress,omitempty"` // where the step sequence stands, for the worker that goes on
	Tries        []Attempt       `json:"tries,omitempty"`    // filled by reads of one action only
}

// Attempt is one acting request. It is committed before it is sent.
type Attempt struct {
	Seq       int64     `json:"-"`
	ActionSeq int64     `json:"-"`
	No        int       `json:"no"` // 1, 2, … within the action
	Op        Operation `json:"operation"`
	Request   string    `json:"request"` // method and path, secrets masked
	Key       string    `json:"key,omitempty"`
	Sent      Micros    `json:"sent_at"`
	Answered  Micros    `json:"answered_at,omitempty"` // 0: no answer is known
	Status    int       `json:"status,omitempty"`
	Class     string    `json:"class,omitempty"` // done | already_done | accepted | refused | retry | unknown
	Note      string    `json:"note,omitempty"`
}

// Receipt is one cut receipt: the fixed signing input, and where its delivery stands.
type Receipt struct {
	Seq       int64           `json:"-"`
	ID        string          `json:"id"`
	Tenant    string          `json:"tenant"`
	SignalID  string          `json:"signal"`
	SignalSeq int64           `json:"-"`
	Source    string          `json:"source"`
	ReceiptNo string          `json:"receipt_no"`
	No        int             `json:"seq"`
	Stage     string          `json:"stage"`
	Outcome   string          `json:"outcome"`
	JTI       string          `json:"jti"`
	KID       string          `json:"kid"`
	Input     string          `json:"-"`        // JWS signing input, fixed for every try
	Hash      string          `json:"set_hash"` // its content address
	Body      json.RawMessage `json:"body"`     // the receipt event object
	Chain     string          `json:"chain"`    // hash over the previous chain value of the tenant and Hash
	Endpoint  string          `json:"-"`
	State     string          `json:"state"` // kept | queued | accepted | dead; kept: not owed to anybody
	Reason    string          `json:"reason,omitempty"`
	Tries     int             `json:"tries"`
	Cut       Micros          `json:"cut_at"`
	Accepted  Micros          `json:"accepted_at,omitempty"`
	Token     string          `json:"token,omitempty"` // compact JWS as first sent; empty before
}

// Job is one piece of work that must happen, claimed under a lease.
type Job struct {
	Seq   int64
	Kind  string // process | act | cut | send | enroll
	Ref   int64  // seq of the signal (process, cut), action (act) or receipt (send)
	Key   string // unique per kind where set, so that a second enqueue is no second job
	Due   Micros
	Tries int
	Claim string // who holds it; a stale holder's writes are refused
	Until Micros
}
