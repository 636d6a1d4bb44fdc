package receipt

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/req"
	"countersign/set"
)

// chains lists the worked examples of design §12: an order and its receipts by seq.
var chains = []struct {
	name, order string
	receipts    []string
}{
	{"E1", "e1-order", []string{"e1-receipt"}},
	{"E2", "e2-order", []string{"e2-receipt"}},
	{"E3", "e3-order", []string{"e3-receipt"}},
	{"E4", "e4-order", []string{"e4-interim", "e4-final"}},
	{"E5", "e5-order", []string{"e5-receipt"}},
	{"E5 downstream", "e5-suborder", []string{"e5-downstream"}},
}

func TestExamplesRecompute(t *testing.T) {
	req.Covers(t, "AR-12", "AR-5.4", "AR-5.7", "AR-6.2", "AR-6.3", "A40")
	for _, c := range chains {
		t.Run(c.name, func(t *testing.T) {
			o := exampleOrder(t, c.order)
			var known []Known
			for _, name := range c.receipts {
				u := exampleReceipt(t, name)
				r, d, p := Check(o, u, known, u.Claims().IssuedAt, Default())
				if p != nil {
					t.Fatalf("%s: %v", name, p)
				}
				want := Next
				if name == "e3-receipt" { // its seq 1 is not shown
					want = Gap
				}
				if d != want {
					t.Errorf("%s: disposition %v, want %v", name, d, want)
				}
				totals, outcome := Compute(o.Directive, r.Lines)
				if totals != r.Totals || outcome != r.Outcome {
					t.Errorf("%s: recomputed %+v %s, printed %+v %s", name, totals, outcome, r.Totals, r.Outcome)
				}
				known = append(known, KnownOf(u, r))
			}
		})
	}
}

func TestExampleHashes(t *testing.T) {
	req.Covers(t, "AR-12", "AR-5.3", "AR-7", "A19", "A20")
	o := exampleOrder(t, "e1-order")
	salt, err := o.Directive.Salt()
	if err != nil {
		t.Fatal(err)
	}
	r := body(t, exampleReceipt(t, "e1-receipt"))
	hash, err := CustomerHash(salt, o.SubID)
	if err != nil || hash != r.Customer.Hash {
		t.Errorf("customer hash %s, %v; printed %s", hash, err, r.Customer.Hash)
	}
	l := r.Lines[0]
	if got := Ref(o.Issuer, o.JTI, "a1", l.Action, l.Target.App, l.Target.ID); got != l.Ref {
		t.Errorf("ref %s, printed %s", got, l.Ref)
	}
	interim := exampleReceipt(t, "e4-interim")
	if got := body(t, exampleReceipt(t, "e4-final")).Supersedes.Hash; got != interim.Address() {
		t.Errorf("supersedes %s, interim has %s", got, interim.Address())
	}
	up := exampleOrder(t, "e5-order")
	if got := exampleOrder(t, "e5-suborder").Directive.Parent.OrderHash; got != up.SetHash {
		t.Errorf("parent.order_hash %s, order has %s", got, up.SetHash)
	}
	down := exampleReceipt(t, "e5-downstream")
	if got := body(t, exampleReceipt(t, "e5-receipt")).Lines[1].Downstream.Hash; got != down.Address() {
		t.Errorf("downstream.hash %s, receipt has %s", got, down.Address())
	}
	if got := body(t, down).Order.ParentHash; got != up.SetHash {
		t.Errorf("parent_hash %s, order has %s", got, up.SetHash)
	}
}

// A later reversal of E3 recomputes to partial (B4).
func TestExampleReversal(t *testing.T) {
	req.Covers(t, "B4", "AR-5.7")
	o := exampleOrder(t, "e3-order")
	r := body(t, exampleReceipt(t, "e3-receipt"))
	r.Lines[0].Status, r.Lines[0].Reason, r.Lines[0].ReversedAt = Reversed, "reversed_by_admin", 1789470000
	totals, outcome := Compute(o.Directive, r.Lines)
	want := Totals{Requested: 3, Lines: 5, Succeeded: 1, Failed: 3, Reversed: 1}
	if diff := cmp.Diff(want, totals); diff != "" || outcome != OutcomePartial {
		t.Errorf("outcome %s, totals (-want +got):\n%s", outcome, diff)
	}
}

const vectorOrder = "eyJhbGciOiJFZERTQSIsInR5cCI6InNlY2V2ZW50K2p3dCIsImtpZCI6InQxIn0.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLmNvbS9zc2YiLCJhdWQiOiJodHRwczovL2h1Yi5leGFtcGxlLm5ldCIsImlhdCI6MTc4OTQ2MjgwMCwianRpIjoidjEiLCJldmVudHMiOnsiaHR0cHM6Ly9zY2hlbWFzLm9wZW5pZC5uZXQvc2VjZXZlbnQvY2FlcC9ldmVudC10eXBlL3Nlc3Npb24tcmV2b2tlZCI6e319LCJodHRwczovL25zLmNvdW50ZXJzaWduLmV4YW1wbGUvYXIvMS9kaXJlY3RpdmUiOnsib2JsaWdhdGlvbiI6Im11c3QiLCJjb21wbGV0ZV9ieSI6MTc4OTQ2MzEwMH19.1jwRz0xEejnIA-kcisReDat3zv9StNd95hZ5xtU1_BCEIiQsbbG__-gNK1TMjHJWN6WOis0Lws_vtqmV8NdAAg"

// The test vector of design §13.
func TestVector(t *testing.T) {
	req.Covers(t, "AR-13", "AR-5.4", "AR-5.3", "A46")
	s := testSigner(t, "t1")
	u := parse(t, vectorOrder)
	if got := sign(t, s, u.Payload()); got != vectorOrder {
		t.Errorf("signed again: %s", got)
	}
	if want := "sha-256:808CxjwlsCAydsVS7UBTOpvR8juK3PNt0SMckw2IPqA"; u.Address() != want {
		t.Errorf("set_hash %s, want %s", u.Address(), want)
	}
	if _, err := set.Verify(t.Context(), vectorOrder, &set.Policy{Issuer: "https://idp.example.com/ssf", SkipAudience: true,
		AllowNoSubject: true, Algorithms: set.Algorithms(), Keys: set.StaticKeys{s.Public()}, ExactType: true}); err != nil {
		t.Errorf("verify: %v", err)
	}
	salt := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	hash, err := CustomerHash(salt, []byte(`{"format":"iss_sub","iss":"https://idp.example.com/","sub":"99beb27c"}`))
	if want := "hmac-sha-256:XWoWfA2qaCdBn7YB1Qd65timeLrsLNXQvUWtoodQsqU"; err != nil || hash != want {
		t.Errorf("customer hash %s, %v", hash, err)
	}
	if got := Ref("https://idp.example.com/ssf", "v1", "d1", "revoke_sessions", "wiki", "p-41f0c2"); got != "sha-256:p1kjSFB623WwSX0HpoBlZUcyu_0Al5_Asurdb1Laoug" {
		t.Errorf("ref %s", got)
	}
	// It shows hashing and signing only: an order needs a sub_id.
	if _, err := OrderOf(u, Default()); err == nil {
		t.Error("an order without sub_id was read as one")
	}
}

// Issue gives the same bytes for the same receipt, and Check takes what Issue gives.
func TestIssueRoundTrip(t *testing.T) {
	req.Covers(t, "AR-5.1", "AR-5.2", "A57")
	for _, c := range chains {
		o := exampleOrder(t, c.order)
		for _, name := range c.receipts {
			u := exampleReceipt(t, name)
			r := body(t, u)
			claims := u.Claims()
			first, err := Issue(o, r, claims.ID, claims.IssuedAt)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			second, err := Issue(o, r, claims.ID, claims.IssuedAt)
			if err != nil || !bytes.Equal(first, second) {
				t.Errorf("%s: second issue differs, %v", name, err)
			}
			again := parse(t, sign(t, testSigner(t, "r1"), first))
			if !sameJSON(again.Payload(), example(t, name)) {
				t.Errorf("%s: issued %s", name, first)
			}
			if _, _, p := Check(o, again, nil, claims.IssuedAt, Default()); p != nil && r.Seq == 1 {
				t.Errorf("%s: %v", name, p)
			}
		}
	}
}
