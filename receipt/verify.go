package receipt

import (
	"fmt"
	"time"

	"countersign/set"
)

// Verify gives the verdict on an evidence file (design §9.1, A5). policy is the policy file, nil for none
// (A2); now is the moment of verification where the policy does not name one. It reads nothing but its
// arguments. Exit 3 comes only from a bad policy: that a file cannot be read is the caller's finding.
func Verify(bundle, policy []byte, now time.Time) Report {
	p, err := parsePolicy(policy, now)
	if err != nil {
		return failed(ExitUsage, "policy", "usage", err)
	}
	b, err := ParseBundle(bundle)
	if err != nil {
		return failed(ExitInvalid, "bundle", CodeMalformed, err)
	}
	v := &verifier{policy: p, bundle: b, vocabularies: append([]Vocabulary{Default()}, p.Vocabularies...), keys: map[string]*issuerKeys{}} // A56
	v.readKeys()
	v.readOrders()
	v.readReceipts()
	v.judgeReceipts()
	v.judgeNested()
	v.judgeDownstream()
	v.judgeOrders()
	v.judgeHops()
	v.judgeEvidence()
	v.judgeProofs()
	return v.report()
}

// failed is a report without a look inside.
func failed(exit int, where, code string, err error) Report {
	return Report{Exit: exit, Verdict: verdict(exit), Orders: []OrderReport{},
		Findings: []Finding{{Level: LevelInvalid, Where: where, Code: code, Text: err.Error()}}}
}

// verifier carries one verification from step to step.
type verifier struct {
	policy       *policy
	bundle       *Bundle
	vocabularies []Vocabulary
	keys         map[string]*issuerKeys // by issuer
	orders       []*orderState          // in order of first appearance
	loose        []*tokenState          // receipts in receipts[] whose order is absent
	nested       []*tokenState          // attached receipts, at any depth
	findings     []Finding
}

// orderState is one order of the file and what answers it.
type orderState struct {
	*Order
	where      string
	acceptedAt int64
	candidates []Vocabulary // those under which the SET is an order; usually one
	answered   bool         // something in receipts[] answers it, valid or not
	receipts   []*tokenState
	accepted   []*tokenState // valid ones by rising seq
}

// tokenState is one receipt of the file, its signature good.
type tokenState struct {
	where      string
	token      *set.Token
	acceptedAt int64 // of the entry that carries it; 0: none
	receipt    *Receipt
	order      *orderState // nil: absent
	carrier    *tokenState // nil: top level
}

func (v *verifier) add(level, where, code, format string, args ...any) {
	v.findings = append(v.findings, Finding{Level: level, Where: where, Code: code, Text: fmt.Sprintf(format, args...)})
}

// problem writes a refused check down as invalid, under its receipt_error (A54).
func (v *verifier) problem(where string, p *Problem) {
	code := p.ReceiptError
	if code == "" {
		code = p.Err
	}
	v.add(LevelInvalid, where, code, "check %d: %s", p.Check, p.Text)
}

// at is "now" for check 4 of a token (A10).
func (v *verifier) at(acceptedAt int64) int64 {
	if acceptedAt != 0 {
		return acceptedAt
	}
	return v.policy.Now
}

// report adds the verdict up (A5): the first that applies of 1, 4, 2, 0.
func (v *verifier) report() Report {
	r := Report{Orders: []OrderReport{}, Findings: v.findings}
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	has := map[string]bool{}
	for _, f := range v.findings {
		has[f.Level] = true
	}
	fulfilled := len(v.orders) > 0
	for _, o := range v.orders {
		row := o.row(v.policy)
		fulfilled = fulfilled && row.Outcome == OutcomeFulfilled
		r.Orders = append(r.Orders, row)
	}
	switch {
	case has[LevelInvalid]:
		r.Exit = ExitInvalid
	case has[LevelUndecided], len(v.orders) == 0:
		r.Exit = ExitUndecidable
	case has[LevelShortfall], !fulfilled:
		r.Exit = ExitOther
	default:
		r.Exit = ExitFulfilled
	}
	r.Verdict = verdict(r.Exit)
	return r
}

// latest is the accepted receipt with the highest seq, nil when there is none.
func (o *orderState) latest() *tokenState {
	if len(o.accepted) == 0 {
		return nil
	}
	return o.accepted[len(o.accepted)-1]
}

// row is the line of an order in the report, as of the highest seq in the file (A58).
func (o *orderState) row(p *policy) OrderReport {
	row := OrderReport{Issuer: o.Issuer, JTI: o.JTI, SetHash: o.SetHash, EventType: o.EventType, Outcome: "no receipt",
		Evidence: EvidenceReport{Wanted: wanted(o.Directive, p.Evidence)}}
	if o.silentWell(p.Now) {
		row.Outcome = "no exception reported" // A34
	}
	if t := o.latest(); t != nil {
		row.Outcome, row.Stage, row.Seq, row.ReceiptNo = t.receipt.Outcome, t.receipt.Stage, t.receipt.Seq, t.receipt.Number
		row.Evidence.Reached = reachedOf(o.Directive, t.receipt)
	}
	return row
}

// silentWell: the order wanted a receipt for exceptions only, and its time is over (A34).
func (o *orderState) silentWell(now int64) bool {
	d := o.Directive
	return d.Receipt.When == "exceptions" && d.CompleteBy != 0 && now > d.CompleteBy && len(o.accepted) == 0
}
