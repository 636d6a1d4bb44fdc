package receipt

// Stages of a receipt (design §5.2).
const (
	StageInterim = "interim" // some line is pending
	StageFinal   = "final"   // none is, and no change is planned
	StageAmended = "amended" // a later correction or reversal
)

// Receipt is the event object of a receipt SET (design §5.2): the whole current state of one order.
// Totals and Outcome are computed, never chosen: see Compute.
type Receipt struct {
	Number       string            `json:"receipt_no"`
	Seq          int               `json:"seq"`
	Stage        string            `json:"stage"`
	Outcome      string            `json:"outcome"`
	Order        OrderLink         `json:"order"`
	Supersedes   *Supersedes       `json:"supersedes,omitempty"`
	NextUpdateBy int64             `json:"next_update_by,omitempty"` // interim only
	Merchant     *Merchant         `json:"merchant,omitempty"`
	Register     *Register         `json:"register,omitempty"`
	Cashier      *Who              `json:"cashier,omitempty"`
	Customer     *Customer         `json:"customer,omitempty"`
	Message      map[string]string `json:"message,omitempty"` // language to text
	Lines        []Line            `json:"lines"`
	Totals       Totals            `json:"totals"`
	Attachments  []string          `json:"attachments,omitempty"` // compact JWS of downstream receipts
	Traceparent  string            `json:"traceparent,omitempty"`
}

// OrderLink ties a receipt to the exact bytes of its order.
type OrderLink struct {
	EventType  string `json:"event_type"`
	SetHash    string `json:"set_hash"`
	ReceivedAt int64  `json:"received_at"`
	ParentHash string `json:"parent_hash,omitempty"`
}

// Supersedes names the receipt issued just before.
type Supersedes struct {
	Seq  int    `json:"seq"`
	Hash string `json:"hash"`
}

// Merchant is the party that acted, as it wants to be shown.
type Merchant struct {
	Name     string `json:"name,omitempty"`
	Software string `json:"software,omitempty"`
}

// Register is the node that cut the receipt.
type Register struct {
	ID   string `json:"id,omitempty"`
	Zone string `json:"zone,omitempty"`
}

// Who is who or what released or demanded an action. Ref is a ticket number, never a staff name (design §8).
type Who struct {
	Type string `json:"type"` // admin | user | policy | system
	Ref  string `json:"ref,omitempty"`
}
