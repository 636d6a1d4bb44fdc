package ssftest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"countersign/set"
	"countersign/transmitter"
)

func suiteOrder(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	out := enqueue(t, s, 1, order(st, "o1"))
	key := transmitter.OrderKey{Receiver: "r1", ReceiptIssuer: st.ReceiptIssuer, JTI: "o1"}
	o, err := s.Order(t.Context(), key)
	must(t, err)
	if o.Key <= 0 {
		t.Fatalf("the order has key %d", o.Key)
	}
	o.Receipts, o.Key, out.Rows[0].Order.Key = nil, 0, 0
	same(t, o, out.Rows[0].Order)
	for name, k := range map[string]transmitter.OrderKey{
		"another receiver": {Receiver: "r2", ReceiptIssuer: key.ReceiptIssuer, JTI: "o1"},
		"another issuer":   {Receiver: "r1", ReceiptIssuer: "https://evil.example", JTI: "o1"},
		"another jti":      {Receiver: "r1", ReceiptIssuer: key.ReceiptIssuer, JTI: "o2"},
	} {
		_, err := s.Order(t.Context(), k)
		if !errors.Is(err, transmitter.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		_, err = s.AcceptReceipt(t.Context(), k, kept("j", "n", 1), func(*transmitter.SentOrder, transmitter.Elsewhere) transmitter.Verdict {
			t.Errorf("%s: decide was called", name)
			return transmitter.Accept
		})
		if !errors.Is(err, transmitter.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func kept(jti, number string, seq int) *transmitter.KeptReceipt {
	k := &transmitter.KeptReceipt{JTI: jti, Issuer: "https://receiver.example", Number: number, Seq: seq, Stage: "interim", Outcome: "pending",
		Hash: set.Address("h." + jti), IssuedAt: 1_700_000_100, ReceivedAt: 1_700_000_050, Compact: "h." + jti + ".s", Accepted: 1_700_000_100_000_000}
	if seq > 1 {
		k.Supersedes = set.Address("h.before")
		k.Gap = true
	}
	return k
}

func suiteReceipt(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	enqueue(t, s, 1, order(st, "o1"))
	enqueue(t, s, 2, order(st, "o2"))
	key := transmitter.OrderKey{Receiver: "r1", ReceiptIssuer: st.ReceiptIssuer, JTI: "o1"}
	give := func(k transmitter.OrderKey, r *transmitter.KeptReceipt, v transmitter.Verdict, want transmitter.Elsewhere, before int) {
		t.Helper()
		got, err := s.AcceptReceipt(t.Context(), k, r, func(o *transmitter.SentOrder, e transmitter.Elsewhere) transmitter.Verdict {
			same(t, e, want)
			same(t, len(o.Receipts), before)
			same(t, o.JTI, k.JTI)
			return v
		})
		must(t, err)
		same(t, got, v)
	}
	one, three, two := kept("j1", "CS-1", 1), kept("j3", "CS-1", 3), kept("j2", "CS-1", 2)
	give(key, one, transmitter.KeepNothing, transmitter.Elsewhere{}, 0)
	give(key, one, transmitter.Accept, transmitter.Elsewhere{}, 0)
	give(key, one, transmitter.Accept, transmitter.Elsewhere{JTIHash: one.Hash, NumberOrder: "o1"}, 1) // kept once all the same
	give(key, three, transmitter.Accept, transmitter.Elsewhere{NumberOrder: "o1"}, 1)
	two.Late = true
	give(key, two, transmitter.Accept, transmitter.Elsewhere{NumberOrder: "o1"}, 2)
	o, err := s.Order(t.Context(), key)
	must(t, err)
	same(t, o.Receipts, []transmitter.KeptReceipt{*one, *two, *three})
	// What is known of one order is known at the other.
	key.JTI = "o2"
	give(key, one, transmitter.KeepNothing, transmitter.Elsewhere{JTIHash: one.Hash, NumberOrder: "o1"}, 0)
	// Receipts outlive the stream.
	must(t, s.DeleteStream(t.Context(), "r1", "s1"))
	key.JTI = "o1"
	give(key, kept("j4", "CS-1", 4), transmitter.Accept, transmitter.Elsewhere{NumberOrder: "o1"}, 3)
}

func suiteReceiptRace(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	enqueue(t, s, 1, order(st, "o1"))
	key := transmitter.OrderKey{Receiver: "r1", ReceiptIssuer: st.ReceiptIssuer, JTI: "o1"}
	const n = 16
	var wg sync.WaitGroup
	accepted := make([]bool, n)
	for i := range n { // all of seq 1, each with other content: one may win
		wg.Go(func() {
			v, err := s.AcceptReceipt(t.Context(), key, kept(fmt.Sprintf("j%d", i), "CS-1", 1), func(o *transmitter.SentOrder, _ transmitter.Elsewhere) transmitter.Verdict {
				if len(o.Receipts) > 0 {
					return transmitter.KeepNothing
				}
				return transmitter.Accept
			})
			if err != nil {
				t.Error(err)
			}
			accepted[i] = v == transmitter.Accept
		})
	}
	wg.Wait()
	o, err := s.Order(t.Context(), key)
	must(t, err)
	won := 0
	for _, a := range accepted {
		if a {
			won++
		}
	}
	if won != 1 || len(o.Receipts) != 1 {
		t.Fatalf("%d were accepted, %d kept", won, len(o.Receipts))
	}
}

func suiteDispute(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	enqueue(t, s, 1, order(st, "o1"))
	key := transmitter.OrderKey{Receiver: "r1", ReceiptIssuer: st.ReceiptIssuer, JTI: "o1"}
	verdict := func(r *transmitter.KeptReceipt, v transmitter.Verdict) {
		t.Helper()
		got, err := s.AcceptReceipt(t.Context(), key, r, func(*transmitter.SentOrder, transmitter.Elsewhere) transmitter.Verdict { return v })
		must(t, err)
		same(t, got, v)
	}
	first := kept("j1", "CS-1", 1)
	verdict(first, transmitter.Accept)
	verdict(kept("j1b", "CS-1", 1), transmitter.Dispute)
	verdict(kept("j1b", "CS-1", 1), transmitter.Dispute)
	o, err := s.Order(t.Context(), key)
	must(t, err)
	if o.Disputed == "" || len(o.Receipts) != 1 || o.Receipts[0].Hash != first.Hash {
		t.Fatalf("disputed %q with %d accepted", o.Disputed, len(o.Receipts))
	}
}
