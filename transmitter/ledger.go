package transmitter

import (
	"context"
	"time"

	"countersign/receipt"
)

// States of an order in the ledger (receipts design §6.7).
const (
	StandingQueued       = "queued"             // kept, and not taken by the receiver yet
	StandingAcknowledged = "acknowledged"       // received, not confirmed
	StandingRejected     = "rejected"           // refused on arrival
	StandingDropped      = "dropped"            // never sent: its stream was disabled or deleted first
	StandingExpired      = "expired"            // never taken: it waited too long
	StandingWithdrawn    = "withdrawn"          // taken back, and no final receipt came
	StandingInProgress   = "in_progress"        // an interim receipt came
	StandingReceipted    = "receipted"          // a final receipt came; Outcome says what it says
	StandingUnanswered   = "closed_unreceipted" // no receipt came, and none is waited for any more; one that comes reopens it
	StandingUnsupported  = "unreceiptable"      // the stream has no receipts; never counted as done
	StandingDisputed     = "disputed"           // two stories were told; a person decides
)

// Grace is how long after complete_by a final receipt is waited for before the order counts as unanswered.
const Grace = 7 * 24 * time.Hour

// OrderStanding is where an order stands.
type OrderStanding struct {
	State   string
	Outcome string // as the latest final or amended receipt says it; empty in other states
	// Late: the first receipt that was due by interim_by is not there, or the final one came after complete_by.
	Late bool
	// Overdue: complete_by passed without the final receipt that was due.
	Overdue bool
	Why     string // a sentence
}

// Standing says where an order stands at a moment, from what was kept of it and nothing else. Silence is never success: an
// order without a receipt is at best acknowledged.
func Standing(o *SentOrder, now time.Time) OrderStanding {
	s := OrderStanding{}
	last := lastReceipt(o)
	final := last != nil && last.Stage != receipt.StageInterim
	passed := func(by int64) bool { return by > 0 && now.Unix() > by }
	switch {
	case o.Disputed != "":
		s.State, s.Why = StandingDisputed, o.Disputed
		if final {
			s.Outcome = last.Outcome
		}
		return s
	case final:
		s.State, s.Outcome = StandingReceipted, last.Outcome
		s.Late = o.CompleteBy > 0 && firstFinal(o).Accepted > At(time.Unix(o.CompleteBy, 0).Add(time.Second))
		s.Why = "a final receipt says " + last.Outcome
		if last.Stage == receipt.StageAmended {
			s.Why = "an amended receipt says " + last.Outcome
		}
		if s.Late {
			s.Why += "; it came after complete_by"
		}
		return s
	}
	switch o.State {
	case OrderRejected:
		return OrderStanding{State: StandingRejected, Why: "the receiver refused it on arrival"}
	case OrderExpired:
		return OrderStanding{State: StandingExpired, Why: "the receiver did not take it for as long as it is kept"}
	case OrderDropped:
		if o.Withdrawn != 0 {
			return OrderStanding{State: StandingWithdrawn, Why: "it was withdrawn before the receiver confirmed to have it"}
		}
		return OrderStanding{State: StandingDropped, Why: "its stream was disabled or deleted before it was delivered"}
	case OrderQueued:
		s.State, s.Why = StandingQueued, "the receiver does not have it yet"
	default:
		s.State, s.Why = StandingAcknowledged, "received, not confirmed"
		if o.ReceiptIssuer == "" {
			return OrderStanding{State: StandingUnsupported, Why: "the stream has no receipts; nothing will confirm it"}
		}
	}
	if last != nil {
		s.State, s.Why = StandingInProgress, "the receiver is at work on it"
	}
	if o.Withdrawn != 0 {
		s.State, s.Why = StandingWithdrawn, "it was withdrawn; what was started is finished, and a final receipt follows"
	}
	if o.When == "all" && last == nil && passed(o.InterimBy) {
		s.Late = true
		s.Why += "; no receipt came by interim_by"
	}
	switch {
	case !passed(o.CompleteBy):
	case o.When == "exceptions" && last == nil: // silence is not overdue, and is no success either (A34)
		s.Why = "no exception was reported by complete_by; that confirms nothing"
	default:
		s.Overdue = true
		s.Why += "; no final receipt came by complete_by"
		if s.State != StandingQueued && now.After(time.Unix(o.CompleteBy, 0).Add(Grace)) {
			s.State, s.Why = StandingUnanswered, "no final receipt came by complete_by, nor in the seven days after it"
		}
	}
	return s
}

// lastReceipt is the accepted receipt that says how the order stands: the one of highest seq.
func lastReceipt(o *SentOrder) *KeptReceipt {
	if len(o.Receipts) == 0 {
		return nil
	}
	return &o.Receipts[len(o.Receipts)-1]
}

// firstFinal is the first receipt that was not an interim one; there is one.
func firstFinal(o *SentOrder) *KeptReceipt {
	for i := range o.Receipts {
		if o.Receipts[i].Stage != receipt.StageInterim {
			return &o.Receipts[i]
		}
	}
	return nil
}

// Orders lists orders with their receipts, latest first.
func (t *Transmitter) Orders(ctx context.Context, which OrderFilter) ([]SentOrder, error) {
	return t.cfg.Store.Orders(ctx, which)
}

// OrderOf finds an order by its jti or by its content address (set_hash), or returns ErrNotFound.
func (t *Transmitter) OrderOf(ctx context.Context, ref string) (*SentOrder, error) {
	if ref == "" {
		return nil, ErrNotFound
	}
	for _, which := range []OrderFilter{{JTI: ref, N: 1}, {SetHash: ref, N: 1}} {
		found, err := t.cfg.Store.Orders(ctx, which)
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			return &found[0], nil
		}
	}
	return nil, ErrNotFound
}
