package receipt

import "slices"

// Disposition is what an acceptable receipt does to what was known. The zero value stands beside a Problem.
type Disposition int

// The dispositions (design §6.3).
const (
	Identical Disposition = iota + 1 // already accepted: answer as then, no effect
	Next                             // seq is the last one plus 1
	Gap                              // seq jumps ahead: accepted, the gap noted
	Late                             // seq below the last: filed as history, the state is unchanged
)

// String names the disposition.
func (d Disposition) String() string {
	return [...]string{"refused", "identical", "next", "gap", "late"}[d]
}

// Known is one receipt accepted before. Give Check all those of the order, and besides, with Elsewhere set,
// any of the same issuer for another order that has the jti or the receipt_no of the receipt at hand (A43).
type Known struct {
	Seq        int
	Hash       string // content address
	Stage      string
	ReceiptNo  string
	JTI        string
	ReceivedAt int64  // order.received_at
	Supersedes string // supersedes.hash; empty at seq 1
	Elsewhere  bool   // accepted for another order
}

// KnownOf is what to keep of an accepted receipt for later checks.
func KnownOf(t Token, r *Receipt) Known {
	c := t.Claims()
	k := Known{Seq: r.Seq, Hash: t.Address(), Stage: r.Stage, ReceiptNo: r.Number, JTI: c.ID, ReceivedAt: r.Order.ReceivedAt}
	if r.Supersedes != nil {
		k.Supersedes = r.Supersedes.Hash
	}
	return k
}

// sequence is check 7: jti, receipt_no, and the order of receipts (design §6.3, A25, A43, A47).
func sequence(r *Receipt, in Known, iat int64, known []Known) (Disposition, *Problem) {
	for _, k := range known {
		switch {
		case !k.Elsewhere && k.Hash == in.Hash:
			return Identical, nil
		case k.JTI == in.JTI:
			return 0, problem(CodeSequenceConflict, "jti was used with other content")
		case k.Elsewhere && k.ReceiptNo == in.ReceiptNo:
			return 0, problem(CodeSequenceConflict, "receipt_no belongs to another order")
		}
	}
	mine := slices.DeleteFunc(slices.Clone(known), func(k Known) bool { return k.Elsewhere })
	slices.SortFunc(mine, func(a, b Known) int { return a.Seq - b.Seq })
	if p := checkSupersedes(r); p != nil {
		return 0, p
	}
	if p := checkConstant(in, iat, mine); p != nil {
		return 0, p
	}
	return place(in, mine)
}

// checkSupersedes is A25 as far as one receipt shows it.
func checkSupersedes(r *Receipt) *Problem {
	switch {
	case r.Seq < 1:
		return nil // check 8 says so
	case r.Seq == 1 && r.Supersedes != nil:
		return problem(CodeSequenceConflict, "seq 1 supersedes nothing")
	case r.Seq == 1 && r.Stage == StageAmended:
		return problem(CodeSequenceConflict, "the first receipt cannot be amended")
	case r.Seq > 1 && r.Supersedes == nil:
		return problem(CodeSequenceConflict, "supersedes is missing")
	case r.Seq > 1 && r.Supersedes.Seq != r.Seq-1:
		return problem(CodeSequenceConflict, "supersedes.seq is not seq - 1") // also across a gap
	}
	return nil
}

// checkConstant holds what never changes between receipts of one order (A43, A47).
func checkConstant(in Known, iat int64, mine []Known) *Problem {
	for _, k := range mine {
		switch {
		case k.ReceiptNo != in.ReceiptNo:
			return problem(CodeSequenceConflict, "receipt_no changed")
		case k.ReceivedAt != in.ReceivedAt:
			return problem(CodeSequenceConflict, "order.received_at changed")
		}
	}
	if (len(mine) == 0 || in.Seq < mine[0].Seq) && in.ReceivedAt > iat+clockSlack {
		return problem(CodeSequenceConflict, "order.received_at lies after the first receipt")
	}
	return nil
}

// place finds where the receipt goes among those known, sorted by seq.
func place(in Known, mine []Known) (Disposition, *Problem) {
	disputed := func(format string, args ...any) *Problem {
		p := problem(CodeSequenceConflict, format, args...)
		p.Disputed = true
		return p
	}
	last := 0
	for _, k := range mine {
		last = max(last, k.Seq)
		switch {
		case k.Seq == in.Seq:
			return 0, disputed("another receipt with this seq was accepted")
		case k.Seq == in.Seq-1 && in.Supersedes != k.Hash:
			return 0, problem(CodeSequenceConflict, "supersedes.hash is not that of the receipt before")
		case k.Seq == in.Seq+1 && k.Supersedes != in.Hash:
			return 0, disputed("the receipt that follows supersedes other content")
		}
	}
	if p := checkStages(in, mine); p != nil {
		p.Disputed = in.Seq < last
		return 0, p
	}
	switch {
	case in.Seq < last:
		return Late, nil
	case in.Seq == last+1:
		return Next, nil
	}
	return Gap, nil
}

// checkStages: after the first final or amended all are amended, and amended never follows a known interim
// directly (design §5.2, A25, A45).
func checkStages(in Known, mine []Known) *Problem {
	all := append(slices.Clone(mine), in)
	slices.SortFunc(all, func(a, b Known) int { return a.Seq - b.Seq })
	closed := false
	for i, k := range all {
		switch {
		case closed && k.Stage != StageAmended:
			return problem(CodeSequenceConflict, "only amended may follow final")
		case k.Stage == StageAmended && i > 0 && all[i-1].Seq == k.Seq-1 && all[i-1].Stage == StageInterim:
			return problem(CodeSequenceConflict, "amended follows an interim")
		}
		closed = closed || k.Stage == StageFinal || k.Stage == StageAmended
	}
	return nil
}
