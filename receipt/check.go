package receipt

// Disposition is what an acceptable receipt does to what was known.
type Disposition int

const (
	Identical Disposition = iota + 1 // already accepted: 202, no effect
	Next                             // seq is the last one plus 1
	Gap                              // seq jumps ahead: accepted, the gap noted
	Late                             // seq below the last: filed as history, the state is unchanged
)

// Known is one receipt accepted before. Give Check all those of the order, and besides (Elsewhere set) any
// of the same issuer that has the jti or the receipt_no of the receipt at hand.
type Known struct {
	Seq        int
	Hash       string // content address
	Stage      string
	ReceiptNo  string
	JTI        string
	ReceivedAt int64  // order.received_at
	Supersedes string // supersedes.hash, empty at seq 1
	Elsewhere  bool   // accepted for another order
}

func Check(o *Order, t Token, known []Known, now int64, v Vocabulary) (*Receipt, Disposition, *Problem) {
	panic("receipt")
}

func CheckForm(t Token, v Vocabulary, o *Order, others ...Vocabulary) *Problem { panic("receipt") }

func KnownOf(t Token, r *Receipt) Known { panic("receipt") }
