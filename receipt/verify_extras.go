package receipt

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"countersign/set"
)

// judgeOrders writes down, for each order, which seq the verdict rests on, what its latest receipt leaves to
// be wished for, and lateness (A5, A11, A17, A34, A58).
func (v *verifier) judgeOrders() {
	withdrawals := v.readWithdrawals()
	for _, o := range v.orders {
		v.judgeLateness(o)
		t := o.latest()
		if t == nil {
			text := "no receipt for this order is in the file"
			if o.silentWell(v.policy.Now) {
				text = "no exception was reported; silence is not success"
			}
			v.add(LevelShortfall, o.where, "no_receipt", "%s", text)
			continue
		}
		r := t.receipt
		v.add(LevelNote, t.where, "highest_seq", "the verdict on this order holds as of seq %d, the highest in the file; a file cannot show that a later receipt was left out", r.Seq)
		if r.Outcome != OutcomeFulfilled {
			v.add(LevelShortfall, t.where, "outcome", "the outcome is %s", r.Outcome)
		}
		for _, f := range Review(o.Order, r, t.token.Claims().IssuedAt, v.policy.Now, v.policy.Evidence) {
			f.Where = t.where + "." + f.Where
			v.findings = append(v.findings, f)
		}
		for i := range r.Lines {
			if l := &r.Lines[i]; l.Status == Skipped && l.Reason == "withdrawn" && !withdrawals[o] {
				v.add(LevelNote, fmt.Sprintf("%s.lines[%d]", t.where, i), "withdrawal_absent", "no valid withdrawal of the order is in the file") // A32
			}
		}
	}
}

// judgeLateness compares the iat of receipts with the deadlines; lateness is a flag (A11, A34).
func (v *verifier) judgeLateness(o *orderState) {
	d := o.Directive
	first, closed := v.policy.Now, v.policy.Now // what is not in the file has not come by now
	for i := len(o.accepted) - 1; i >= 0; i-- { // down to the first of each
		first = o.accepted[i].token.Claims().IssuedAt
		if o.accepted[i].receipt.Stage != StageInterim {
			closed = first
		}
	}
	if d.Receipt.When == "all" && d.InterimBy != 0 && first > d.InterimBy {
		v.add(LevelNote, o.where, "late", "no receipt was issued by interim_by")
	}
	if d.Receipt.When != "exceptions" && d.CompleteBy != 0 && closed > d.CompleteBy {
		v.add(LevelNote, o.where, "overdue", "no final receipt was issued by complete_by")
	}
}

// readWithdrawals finds the orders that a valid withdrawal in the file takes back (A32). One that is not
// valid is noted; it changes no verdict.
func (v *verifier) readWithdrawals() map[*orderState]bool {
	out := map[*orderState]bool{}
	for i, e := range v.bundle.Withdrawals {
		where := fmt.Sprintf("withdrawals[%d]", i)
		before := len(v.findings)
		u := v.readable(where, e.JWS)
		var t *set.Token
		if u != nil {
			t = v.authentic(where, u, kindWithdrawal)
		}
		for j := before; j < len(v.findings); j++ {
			v.findings[j].Level = LevelNote
		}
		if t == nil {
			continue
		}
		c := t.Claims()
		o := v.orderNamed(&c)
		if o == nil || c.Issuer != o.Issuer || len(c.Events) != 1 || c.Events[0].Type != o.Vocabulary.Withdrawn || o.Vocabulary.Withdrawn == "" {
			v.add(LevelNote, where, "withdrawal", "it withdraws no order of the file")
			continue
		}
		var hash string
		_ = json.Unmarshal(member(c.Events[0].Payload, "set_hash"), &hash) // another type reads as another hash
		if hash != o.SetHash {
			v.add(LevelNote, where, "withdrawal", "its set_hash is not that of the order")
			continue
		}
		out[o] = true
	}
	return out
}

// judgeHops flags sub-orders that go further or run longer than the order they serve (A59).
func (v *verifier) judgeHops() {
	for _, o := range v.orders {
		if o.Directive.Parent == nil {
			continue
		}
		for _, parent := range v.orders {
			if parent.SetHash != o.Directive.Parent.OrderHash {
				continue
			}
			if o.Directive.MaxHops >= parent.Directive.MaxHops {
				v.add(LevelNote, o.where, "max_hops", "max_hops is not below that of the parent order")
			}
			if by := parent.Directive.CompleteBy; by != 0 && (o.Directive.CompleteBy == 0 || o.Directive.CompleteBy > by) {
				v.add(LevelNote, o.where, "deadline", "complete_by lies after that of the parent order")
			}
		}
	}
}

// judgeEvidence compares the retained documents with their hashes (A26).
func (v *verifier) judgeEvidence() {
	referred := map[string]string{}
	for _, o := range v.orders {
		for _, t := range o.accepted {
			refer(referred, t)
		}
	}
	for _, list := range [][]*tokenState{v.nested, v.loose} {
		for _, t := range list {
			refer(referred, t)
		}
	}
	present := map[string]bool{}
	for i, doc := range v.bundle.Evidence {
		where := fmt.Sprintf("evidence[%d]", i)
		content, err := base64.RawURLEncoding.Strict().DecodeString(doc.Content)
		switch {
		case err != nil || base64.RawURLEncoding.EncodeToString(content) != doc.Content:
			v.add(LevelInvalid, where, "evidence_hash", "content is not base64url")
			continue
		case DocumentHash(content) != doc.Hash:
			v.add(LevelInvalid, where, "evidence_hash", "the document does not have this hash")
			continue
		case referred[doc.Hash] == "":
			v.add(LevelNote, where, "evidence_unused", "no line refers to this document")
		}
		present[doc.Hash] = true
	}
	for _, hash := range sortedKeys(referred) {
		if !present[hash] {
			v.add(LevelNotChecked, referred[hash], "evidence_absent", "the evidence document is not in the file")
		}
	}
}

func refer(referred map[string]string, t *tokenState) {
	for i := range t.receipt.Lines {
		if e := t.receipt.Lines[i].Evidence; e != nil && e.Hash != "" && referred[e.Hash] == "" {
			referred[e.Hash] = fmt.Sprintf("%s.lines[%d]", t.where, i)
		}
	}
}

// judgeProofs: this version has no log support (A27, B6).
func (v *verifier) judgeProofs() {
	for i := range v.bundle.Proofs {
		v.add(LevelNotChecked, fmt.Sprintf("proofs[%d]", i), "log_proof", "log proofs are not checked by this version")
	}
	if v.policy.RequireLog {
		v.add(LevelUndecided, "proofs", "log_proof", "the policy requires log proofs, which this version cannot check")
	}
}
