package receipt_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"time"

	"countersign/receipt"
	"countersign/set"
)

// signer gives a fixed key, so that the examples print the same every time.
func signer(kid string, seed byte) *set.Signer {
	key := make([]byte, ed25519.SeedSize)
	key[0] = seed
	s, err := set.NewSigner(set.EdDSA, kid, ed25519.NewKeyFromSeed(key))
	if err != nil {
		panic(err)
	}
	return s
}

// order is an order about a revoked session, signed by the identity provider.
func order() string {
	demand := receipt.Directive{
		Obligation: receipt.ObligationMust,
		Actions:    []receipt.OrderedAction{{ID: "a1", Action: "revoke_sessions", Params: json.RawMessage(`{"reach":"global"}`)}},
		CompleteBy: 1789463100, Priority: "emergency", Receipt: receipt.Wanted{Evidence: receipt.Counted},
	}
	raw, err := demand.Marshal()
	if err != nil {
		panic(err)
	}
	claims := set.Claims{
		Issuer: "https://idp.example.com/ssf", Audience: []string{"https://hub.example.net"}, IssuedAt: 1789462800, ID: "ord-1",
		SubID:  json.RawMessage(`{"format":"email","email":"alice@example.com"}`),
		Events: []set.Event{{Type: "https://schemas.openid.net/secevent/caep/event-type/session-revoked"}},
		Extra:  []set.Member{{Name: receipt.Default().Directive, Value: raw}},
	}
	payload, err := claims.Marshal()
	if err != nil {
		panic(err)
	}
	compact, err := signer("t1", 1).Sign(payload)
	if err != nil {
		panic(err)
	}
	return compact
}

// parsed reads a token that is known to be genuine; a hub uses set.Verify.
func parsed(compact string) *set.Unverified {
	u, err := set.Parse(compact)
	if err != nil {
		panic(err)
	}
	return u
}

// answer issues and signs the receipt of the hub.
func answer(o *receipt.Order) string {
	r := receipt.Receipt{
		Number: "CS-7F3K9Q2M4T8X", Seq: 1, Stage: receipt.StageFinal, Order: receipt.OrderLink{ReceivedAt: 1789462801},
		Merchant: &receipt.Merchant{Name: "Acme signal hub"}, Customer: receipt.CustomerFor(o),
		Lines: []receipt.Line{{
			ID: "a1.1", Action: "revoke_sessions", Reach: receipt.ReachGlobal, Target: &receipt.Target{App: "wiki", Kind: "account", ID: "p-41f0c2"},
			Status: receipt.Succeeded, Reason: "done", StartedAt: 1789462802, CompletedAt: 1789462803,
			Counts: receipt.CountsOf("sessions", 3, 3, 0), Evidence: &receipt.Evidence{Level: receipt.Counted, Method: receipt.MethodReadBack},
			Ref: receipt.Ref(o.Issuer, o.JTI, "a1", "revoke_sessions", "wiki", "p-41f0c2"),
		}},
	}
	payload, err := receipt.Issue(o, &r, "rcp-1", 1789462805)
	if err != nil {
		panic(err)
	}
	compact, err := signer("r1", 2).Sign(payload)
	if err != nil {
		panic(err)
	}
	return compact
}

// An order is an ordinary SET with a directive; the receiver reads it once the signature is verified.
func ExampleOrderOf() {
	issuer := signer("t1", 1)
	token, err := set.Verify(context.Background(), order(), &set.Policy{
		Issuer: "https://idp.example.com/ssf", Audience: []string{"https://hub.example.net"}, Algorithms: set.Algorithms(),
		Keys: set.StaticKeys{issuer.Public()}, Now: func() time.Time { return time.Unix(1789462801, 0) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	o, err := receipt.OrderOf(token, receipt.Default())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, a := range o.Directive.Actions {
		fmt.Println(o.Directive.Obligation, a.ID, a.Action, a.Reach())
	}
	// Output: must a1 revoke_sessions global
}

// Issue links the receipt to the order and computes its totals and outcome.
func ExampleIssue() {
	o, err := receipt.OrderOf(parsed(order()), receipt.Default())
	if err != nil {
		fmt.Println(err)
		return
	}
	r := receipt.Receipt{
		Number: "CS-7F3K9Q2M4T8X", Seq: 1, Stage: receipt.StageFinal, Order: receipt.OrderLink{ReceivedAt: 1789462801},
		Lines: []receipt.Line{{ID: "a1", Action: "revoke_sessions", Reach: receipt.ReachGlobal, Status: receipt.Failed, Reason: "policy_declined"}},
	}
	if _, err := receipt.Issue(o, &r, set.NewID(), 1789462805); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Outcome, r.Totals.Requested, r.Totals.Failed)
	r.Outcome = receipt.OutcomeFulfilled
	_, err = receipt.Issue(o, &r, set.NewID(), 1789462805)
	fmt.Println(err)
	// Output:
	// refused 1 1
	// receipt: not fit to be issued: receipt: check 8: invalid_request/totals_mismatch: outcome is not what the lines give
}

// The transmitter accepts a receipt once its own checks and Check agree.
func ExampleCheck() {
	o, err := receipt.OrderOf(parsed(order()), receipt.Default())
	if err != nil {
		fmt.Println(err)
		return
	}
	t := parsed(answer(o)) // a transmitter has verified the signature first
	r, d, problem := receipt.Check(o, t, nil, 1789462806, receipt.Default())
	if problem != nil {
		fmt.Println(problem)
		return
	}
	fmt.Println(r.Outcome, d)
	_, d, _ = receipt.Check(o, t, []receipt.Known{receipt.KnownOf(t, r)}, 1789462900, receipt.Default())
	fmt.Println("again:", d)
	// Output:
	// fulfilled next
	// again: identical
}

// An evidence file speaks for itself, without the hub that wrote it.
func ExampleVerify() {
	o, err := receipt.OrderOf(parsed(order()), receipt.Default())
	if err != nil {
		fmt.Println(err)
		return
	}
	b := receipt.NewBundle()
	b.Orders = []receipt.Entry{{JWS: order()}}
	b.Receipts = []receipt.Entry{{JWS: answer(o), AcceptedAt: 1789462806}}
	b.AddKeys("https://idp.example.com/ssf", signer("t1", 1).Public())
	b.AddKeys("https://hub.example.net", signer("r1", 2).Public())
	file, err := b.Marshal()
	if err != nil {
		fmt.Println(err)
		return
	}
	report := receipt.Verify(file, nil, time.Unix(1789470000, 0))
	fmt.Print(report.Text())
	// Output:
	// VALID, FULFILLED (exit 0)
	//
	// order    session-revoked ord-1
	//          from https://idp.example.com/ssf
	//          sha-256:rEqnlYqA_aUlrugIqV96T8kloN9G5ZmXJOJXc91qIxI
	// receipt  CS-7F3K9Q2M4T8X, final
	// outcome  fulfilled, as of seq 1, the highest in the file
	// evidence counted wanted, counted reached
	//
	// note
	//   jwks: no keys are pinned: the keys were taken from the file itself [keys_from_bundle]
	//   receipts[0]: the verdict on this order holds as of seq 1, the highest in the file; a file cannot show that a later receipt was left out [highest_seq]
}

// A slip says that the signature is good only where the caller has verified it.
func ExampleSlip() {
	o, err := receipt.OrderOf(parsed(order()), receipt.Default())
	if err != nil {
		fmt.Println(err)
		return
	}
	t := parsed(answer(o))
	r, _, problem := receipt.Check(o, t, nil, 1789462806, receipt.Default())
	if problem != nil {
		fmt.Println(problem)
		return
	}
	fmt.Print(receipt.Slip(r, receipt.SlipOptions{IssuedAt: t.Claims().IssuedAt, Signed: "r1 (EdDSA)"}))
	// Output:
	// ──────────────────────────────────────────────────
	//                  ACME SIGNAL HUB
	//                               2026-09-15 09:00:05Z
	// receipt CS-7F3K9Q2M4T8X              copy 1, final
	// order   session-revoked          sha-256:rEqnlYqA…
	// ──────────────────────────────────────────────────
	// a1.1  revoke_sessions  wiki  3 of 3  done
	// ──────────────────────────────────────────────────
	// ordered 1   lines 1                         1 done
	// TOTAL                                    FULFILLED
	// ──────────────────────────────────────────────────
	// signed r1 (EdDSA)            signature not checked
}

// Ref names one action at one target; it is also the idempotency key towards the application.
func ExampleRef() {
	fmt.Println(receipt.Ref("https://idp.example.com/ssf", "v1", "d1", "revoke_sessions", "wiki", "p-41f0c2"))
	// Output: sha-256:p1kjSFB623WwSX0HpoBlZUcyu_0Al5_Asurdb1Laoug
}

// Both sides of the negotiation on a stream.
func ExampleAnswer() {
	ours := receipt.Settings{
		Endpoint: "https://idp.example.com/receipts", DeliveryMethods: []string{receipt.DeliveryPush},
		DirectiveEvents: []string{"https://schemas.openid.net/secevent/caep/event-type/session-revoked"},
		Actions:         []string{"revoke_sessions", "disable_account"}, Algorithms: []string{"EdDSA"}, ReceiptAudience: "https://idp.example.com/ssf",
	}
	asked := receipt.Settings{
		ReceiptIssuer: "https://hub.example.net", JWKSURI: "https://hub.example.net/jwks.json", Delivery: receipt.DeliveryPush,
		Capabilities: []receipt.Capability{{Action: "revoke_sessions", Evidence: receipt.Verified}},
	}
	a, err := receipt.Answer(ours, asked)
	fmt.Println(a.Status, a.Actions, err)
	// Output: active [revoke_sessions] <nil>
}
