package receipt

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"countersign/internal/req"
	"countersign/set"
)

const (
	hr  = "https://hr.example.com"
	crm = "https://crm.example.org"
)

// unchecked signs a receipt that Issue would not.
func unchecked(t *testing.T, s *set.Signer, iss, aud, txn string, sub json.RawMessage, r *Receipt) string {
	t.Helper()
	event, err := marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	c := set.Claims{Issuer: iss, Audience: []string{aud}, IssuedAt: 1789462807, ID: set.NewID(), TXN: txn, SubID: sub,
		Events: []set.Event{{Type: Default().Event, Payload: event}}}
	payload, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, s, payload)
}

// nestedChain makes a receipt of crm that carries others, depth in all, each for an order that is not shown.
func nestedChain(t *testing.T, depth int, parent string) (string, *Receipt) {
	t.Helper()
	own := DocumentHash(fmt.Appendf(nil, "order %d", depth))
	r := &Receipt{Number: fmt.Sprintf("CRM-%06d", depth), Seq: 1, Stage: StageFinal, Outcome: OutcomeFulfilled,
		Order: OrderLink{EventType: riscPrefix + "account-disabled", SetHash: own, ReceivedAt: 1789462803, ParentHash: parent},
		Lines: []Line{{ID: "a1", Action: "disable_account", Status: Succeeded, Reason: "done"}}}
	if depth > 1 {
		compact, inner := nestedChain(t, depth-1, own)
		r.Attachments = []string{compact}
		r.Lines[0].Downstream = downstreamOf(t, compact, inner)
	}
	r.Totals = sum(r.Lines)
	r.Totals.Requested = 1
	sub := json.RawMessage(fmt.Sprintf(`{"format":"jwt_id","iss":"%s","jti":"sub-%d"}`, hub, depth))
	return unchecked(t, testSigner(t, "c1"), crm, hub, "", sub, r), r
}

func downstreamOf(t *testing.T, compact string, r *Receipt) *Downstream {
	t.Helper()
	return &Downstream{Issuer: crm, Number: r.Number, Seq: r.Seq, Stage: r.Stage, Outcome: r.Outcome, Hash: parse(t, compact).Address()}
}

// chainBundle is E5 with the receipt of the CRM attached, as deep as asked.
func chainBundle(t *testing.T, depth int) (*Bundle, *Order, *Receipt) {
	t.Helper()
	b := NewBundle()
	b.Orders = []Entry{{JWS: sign(t, testSigner(t, "t1"), example(t, "e5-order"))}}
	o := exampleOrder(t, "e5-order")
	r := body(t, exampleReceipt(t, "e5-receipt"))
	compact, inner := nestedChain(t, depth, o.SetHash)
	r.Attachments = []string{compact}
	r.Lines[1].Downstream = downstreamOf(t, compact, inner)
	b.AddKeys(hr, testSigner(t, "t1").Public())
	b.AddKeys(hub, otherSigner(t, "r1").Public())
	b.AddKeys(crm, testSigner(t, "c1").Public())
	b.Receipts = []Entry{{JWS: unchecked(t, otherSigner(t, "r1"), hub, hr, o.TXN, o.Subject(), r)}}
	return b, o, r
}

func TestAttachmentDepth(t *testing.T) {
	req.Covers(t, "A21", "A22", "AR-7", "B6")
	for depth := 1; depth <= 5; depth++ {
		b, o, r := chainBundle(t, depth)
		_, err := Issue(o, r, "j", 1789462807)
		report := verifyBundle(t, b, "")
		if depth <= maxAttachmentDepth {
			if err != nil || report.Exit != ExitFulfilled {
				t.Errorf("depth %d: %v, %s", depth, err, report.Text())
			}
			if got := codes(report, LevelNotChecked); len(got) != depth {
				t.Errorf("depth %d: not checked: %v", depth, got)
			}
			continue
		}
		var p *Problem
		if !errors.As(err, &p) || p.Err != "invalid_request" {
			t.Errorf("depth %d issued: %v", depth, err)
		}
		if report.Exit != ExitInvalid {
			t.Errorf("depth %d: %s", depth, report.Text())
		}
	}
}

func TestVerifyChains(t *testing.T) {
	subOrder := func(t *testing.T, b *Bundle) {
		t.Helper()
		b.Orders = append(b.Orders, Entry{JWS: sign(t, otherSigner(t, "t1"), example(t, "e5-suborder"))})
		b.AddKeys(hub, otherSigner(t, "r1").Public(), otherSigner(t, "t1").Public())
	}
	down := func(t *testing.T) string { return sign(t, testSigner(t, "c1"), example(t, "e5-downstream")) }
	for _, c := range []struct {
		name   string
		rules  []string
		change func(t *testing.T, b *Bundle, o *Order, r *Receipt)
		exit   int
		level  string
		code   string
	}{
		{"key of the nested issuer missing", []string{"A22"}, func(_ *testing.T, b *Bundle, _ *Order, _ *Receipt) { delete(b.JWKS, crm) }, 4, LevelUndecided, "key_missing"},
		{"nested signature bad", []string{"A22"}, func(t *testing.T, b *Bundle, _ *Order, _ *Receipt) {
			b.AddKeys(crm, otherSigner(t, "c1").Public())
		}, 1, LevelInvalid, CodeBadSignature},
		{"nested sums wrong", []string{"A22"}, func(t *testing.T, b *Bundle, o *Order, r *Receipt) {
			_, inner := nestedChain(t, 1, o.SetHash)
			inner.Totals.Skipped = 1
			compact := unchecked(t, testSigner(t, "c1"), crm, hub, "", json.RawMessage(`{"format":"jwt_id","iss":"https://hub.example.net","jti":"sub-1"}`), inner)
			r.Attachments, r.Lines[1].Downstream = []string{compact}, downstreamOf(t, compact, inner)
		}, 1, LevelInvalid, CodeTotalsMismatch},
		{"attachment no line names", []string{"A23"}, func(_ *testing.T, _ *Bundle, _ *Order, r *Receipt) { r.Lines[1].Downstream = nil }, 1, LevelInvalid, CodeOrderMismatch},
		{"digest only, absent", []string{"A23"}, func(_ *testing.T, _ *Bundle, _ *Order, r *Receipt) { r.Attachments = nil }, 0, LevelNote, "downstream_absent"},
		{"sub-order with its own receipt in the file", []string{"A22", "A59"}, func(t *testing.T, b *Bundle, _ *Order, r *Receipt) {
			subOrder(t, b)
			b.Receipts = append(b.Receipts, Entry{JWS: down(t)})
			r.Attachments = nil
			r.Lines[1].Downstream = body(t, exampleReceipt(t, "e5-receipt")).Lines[1].Downstream
			r.Lines[1].Downstream.Hash = parse(t, down(t)).Address()
		}, 0, LevelNote, "highest_seq"},
		{"sub-order answered by an attachment", []string{"A5"}, func(t *testing.T, b *Bundle, _ *Order, r *Receipt) {
			subOrder(t, b)
			r.Attachments = []string{down(t)}
			r.Lines[1].Downstream = body(t, exampleReceipt(t, "e5-receipt")).Lines[1].Downstream
			r.Lines[1].Downstream.Hash = parse(t, down(t)).Address()
		}, 0, LevelNote, "highest_seq"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, o, r := chainBundle(t, 1)
			c.change(t, b, o, r)
			b.Receipts[0] = Entry{JWS: unchecked(t, otherSigner(t, "r1"), hub, hr, o.TXN, o.Subject(), r)}
			report := verifyBundle(t, b, "")
			if report.Exit != c.exit || !slices.Contains(codes(report, c.level), c.code) {
				t.Errorf("want exit %d and %s %s\n%s", c.exit, c.level, c.code, report.Text())
			}
			req.Covers(t, c.rules...)
		})
	}
}

// orderBundle signs an order of the identity provider and one receipt for it.
func orderBundle(t *testing.T, eventType string, d Directive, r *Receipt, v Vocabulary) (*Bundle, *Order) {
	t.Helper()
	raw, err := d.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	c := set.Claims{Issuer: idp, Audience: []string{hub}, IssuedAt: 1789462800, ID: "ord-x", SubID: json.RawMessage(`{"format":"opaque","id":"1"}`)}
	if v.Location == AtEvent {
		c.Events = []set.Event{{Type: eventType, Payload: json.RawMessage(`{"` + v.Directive + `":` + string(raw) + `}`)}}
	} else {
		c.Events = []set.Event{{Type: eventType}}
		c.Extra = []set.Member{{Name: v.Directive, Value: raw}}
	}
	payload, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b := NewBundle()
	b.Orders = []Entry{{JWS: sign(t, testSigner(t, "t1"), payload)}}
	b.AddKeys(idp, testSigner(t, "t1").Public())
	b.AddKeys(hub, otherSigner(t, "r1").Public())
	o, err := OrderOf(parse(t, b.Orders[0].JWS), v)
	if err != nil {
		t.Fatal(err)
	}
	if r != nil {
		r.Number, r.Seq, r.Stage, r.Order.ReceivedAt = "CS-TEST", 1, StageFinal, 1789462801
		payload, err := Issue(o, r, "rcp-x", 1789462805)
		if err != nil {
			t.Fatal(err)
		}
		b.Receipts = []Entry{{JWS: sign(t, otherSigner(t, "r1"), payload)}}
	}
	return b, o
}

func TestVerifyAttachWanted(t *testing.T) {
	req.Covers(t, "A23", "B6")
	b, _ := orderBundle(t, caepPrefix+"session-revoked", Directive{Obligation: ObligationMust, Receipt: Wanted{Chain: "attach"}},
		&Receipt{Lines: []Line{{ID: "d1", Action: "revoke_sessions", Status: Succeeded, Reason: "done",
			Downstream: &Downstream{Issuer: crm, Number: "CRM-1", Seq: 1, Stage: StageFinal, Outcome: OutcomeFulfilled, Hash: DocumentHash(nil)}}}}, Default())
	if r := verifyBundle(t, b, ""); r.Exit != ExitOther || !slices.Contains(codes(r, LevelShortfall), "downstream_absent") {
		t.Error(r.Text())
	}
}

func TestVerifyVocabularies(t *testing.T) {
	req.Covers(t, "A56", "AR-2")
	v := Vocabulary{Settings: "https://v.example/s", Directive: "https://v.example/directive", Event: "https://v.example/receipt", Withdrawn: "https://v.example/w", Location: AtEvent}
	b, _ := orderBundle(t, caepPrefix+"session-revoked", Directive{Obligation: ObligationMust},
		&Receipt{Lines: []Line{{ID: "d1", Action: "revoke_sessions", Status: Succeeded, Reason: "done"}}}, v)
	if r := verifyBundle(t, b, ""); r.Exit != ExitInvalid {
		t.Errorf("an unknown vocabulary: %s", r.Text())
	}
	known := `{"vocabularies":[{"directive":"` + v.Directive + `","event":"` + v.Event + `","withdrawn":"` + v.Withdrawn + `","directive_location":"event"}]}`
	if r := verifyBundle(t, b, known); r.Exit != ExitFulfilled {
		t.Errorf("a known vocabulary: %s", r.Text())
	}
	if r := verifyBundle(t, b, strings.Replace(known, `"event"}`, `"claim"}`, 1)); r.Exit != ExitInvalid {
		t.Errorf("the directive in the wrong place: %s", r.Text())
	}
	// Receipt of the default vocabulary for an order of the other one.
	o, err := OrderOf(parse(t, b.Orders[0].JWS), v)
	if err != nil {
		t.Fatal(err)
	}
	r := &Receipt{Number: "CS-TEST", Seq: 1, Stage: StageFinal, Order: OrderLink{ReceivedAt: 1789462801}, Lines: []Line{{ID: "d1", Action: "revoke_sessions", Status: Succeeded, Reason: "done"}}}
	o.Vocabulary = Default()
	payload, err := Issue(o, r, "rcp-y", 1789462805)
	if err != nil {
		t.Fatal(err)
	}
	b.Receipts = []Entry{{JWS: sign(t, otherSigner(t, "r1"), payload)}}
	if r := verifyBundle(t, b, known); r.Exit != ExitInvalid {
		t.Errorf("two vocabularies on one order: %s", r.Text())
	}
}

func TestVerifyWithdrawal(t *testing.T) {
	req.Covers(t, "A32", "AR-6.6")
	b, o := orderBundle(t, caepPrefix+"session-revoked", Directive{Obligation: ObligationMust},
		&Receipt{Lines: []Line{{ID: "d1", Action: "revoke_sessions", Status: Skipped, Reason: "withdrawn"}}}, Default())
	if r := verifyBundle(t, b, ""); r.Exit != ExitOther || !slices.Contains(codes(r, LevelNote), "withdrawal_absent") {
		t.Errorf("without the withdrawal: %s", r.Text())
	}
	c := set.Claims{Issuer: idp, Audience: []string{hub}, IssuedAt: 1789462802, ID: "w-1", SubID: o.Subject(),
		Events: []set.Event{{Type: Default().Withdrawn, Payload: json.RawMessage(`{"set_hash":"` + o.SetHash + `"}`)}}}
	payload, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b.Withdrawals = []Entry{{JWS: sign(t, testSigner(t, "t1"), payload)}}
	r := verifyBundle(t, b, "")
	if r.Exit != ExitOther || slices.Contains(codes(r, LevelNote), "withdrawal_absent") || r.Orders[0].Outcome != OutcomeWithdrawn {
		t.Errorf("with it: %s", r.Text())
	}
	b.Withdrawals = []Entry{{JWS: sign(t, otherSigner(t, "t1"), payload)}}
	if r := verifyBundle(t, b, ""); r.Exit != ExitOther || !slices.Contains(codes(r, LevelNote), "withdrawal_absent") {
		t.Errorf("with a forged one: %s", r.Text())
	}
}

func TestVerifyExceptions(t *testing.T) {
	req.Covers(t, "A34")
	d := Directive{Obligation: ObligationReport, CompleteBy: 1789463000, Receipt: Wanted{When: "exceptions"}}
	b, _ := orderBundle(t, caepPrefix+"session-revoked", d, nil, Default())
	r := verifyBundle(t, b, "")
	if r.Exit != ExitOther || r.Orders[0].Outcome != "no exception reported" || slices.Contains(codes(r, LevelNote), "overdue") {
		t.Error(r.Text())
	}
	if r := verifyBundle(t, b, `{"now":1789462900}`); r.Exit != ExitOther || r.Orders[0].Outcome != "no receipt" {
		t.Errorf("before complete_by: %s", r.Text())
	}
	d.Receipt.When, d.Obligation = "", ObligationMust
	b, _ = orderBundle(t, caepPrefix+"session-revoked", d, nil, Default())
	if r := verifyBundle(t, b, ""); !slices.Contains(codes(r, LevelNote), "overdue") {
		t.Errorf("overdue: %s", r.Text())
	}
}

func TestVerifyHops(t *testing.T) {
	req.Covers(t, "A59")
	b, o, _ := chainBundle(t, 1)
	d := Directive{Obligation: ObligationMust, MaxHops: 1, CompleteBy: o.Directive.CompleteBy + 1, Parent: &Parent{OrderHash: o.SetHash}}
	sub, _ := orderBundle(t, caepPrefix+"session-revoked", d, nil, Default())
	b.Orders = append(b.Orders, sub.Orders...)
	b.JWKS[idp] = sub.JWKS[idp]
	r := verifyBundle(t, b, "")
	if got := codes(r, LevelNote); !slices.Contains(got, "max_hops") || !slices.Contains(got, "deadline") || len(codes(r, LevelInvalid)) > 0 {
		t.Error(r.Text())
	}
}
