package ssftest

import (
	"errors"
	"sync"
	"testing"

	"countersign/transmitter"
)

func jtis(t testing.TB, s transmitter.Store, which transmitter.OrderFilter) []string {
	t.Helper()
	found, err := s.Orders(t.Context(), which)
	must(t, err)
	out := []string{}
	for _, o := range found {
		out = append(out, o.JTI)
	}
	return out
}

// answer has a receipt accepted for an order.
func answer(t testing.TB, s transmitter.Store, st *transmitter.Stream, jti, stage string, seq int) {
	t.Helper()
	r := kept("receipt-"+jti+"-"+stage, "no-"+jti, seq)
	r.Stage = stage
	_, err := s.AcceptReceipt(t.Context(), orderKey(st, jti), r, func(*transmitter.SentOrder, transmitter.Elsewhere) transmitter.Verdict {
		return transmitter.Accept
	})
	must(t, err)
}

func suiteOrders(t *testing.T, s transmitter.Store) {
	st, other := mustCreate(t, s, "r1", "s1"), mustCreate(t, s, "r2", "s2")
	one, two, three, four := order(st, "o1"), order(st, "o2"), order(other, "o3"), order(st, "o4")
	two.Order.TXN, two.Order.CompleteBy = "txn-2", 0
	four.Order.CompleteBy = 1_700_000_601
	enqueue(t, s, 1, one)
	b := enqueue(t, s, 2, two)
	enqueue(t, s, 3, three)
	enqueue(t, s, 4, four)
	enqueue(t, s, 5, row(st, 5)) // no order
	must(t, s.Done(t.Context(), []transmitter.Outcome{{Stream: st.Key, Seq: b.Rows[0].Seq, JTI: "o2", Status: 202, At: 5}}))
	answer(t, s, st, "o1", "interim", 1)
	answer(t, s, st, "o2", "final", 1)
	answer(t, s, other, "o3", "amended", 1)
	for _, test := range []struct {
		which transmitter.OrderFilter
		want  []string
	}{
		{transmitter.OrderFilter{}, []string{"o4", "o3", "o2", "o1"}},
		{transmitter.OrderFilter{N: 2}, []string{"o4", "o3"}},
		{transmitter.OrderFilter{JTI: "o1"}, []string{"o1"}},
		{transmitter.OrderFilter{SetHash: two.Order.SetHash}, []string{"o2"}},
		{transmitter.OrderFilter{TXN: "txn-2"}, []string{"o2"}},
		{transmitter.OrderFilter{Receiver: "r2"}, []string{"o3"}},
		{transmitter.OrderFilter{Stream: "s1"}, []string{"o4", "o2", "o1"}},
		{transmitter.OrderFilter{State: transmitter.OrderDelivered}, []string{"o2"}},
		{transmitter.OrderFilter{Unanswered: true}, []string{"o4", "o1"}},
		{transmitter.OrderFilter{DueBefore: 1_700_000_601}, []string{"o3", "o1"}},
		{transmitter.OrderFilter{DueBefore: 1_700_000_601, Unanswered: true, Stream: "s1"}, []string{"o1"}},
		{transmitter.OrderFilter{JTI: "unknown"}, []string{}},
	} {
		got := jtis(t, s, test.which)
		if len(got) != len(test.want) {
			t.Fatalf("%+v: %v, want %v", test.which, got, test.want)
		}
		same(t, got, test.want)
	}
	// Page by page, with the receipts.
	page, err := s.Orders(t.Context(), transmitter.OrderFilter{N: 3})
	must(t, err)
	same(t, page[2].Receipts, getOrder(t, s, st, "o2").Receipts)
	same(t, &page[2], getOrder(t, s, st, "o2"))
	same(t, jtis(t, s, transmitter.OrderFilter{N: 3, Before: page[2].Key}), []string{"o1"})
	same(t, jtis(t, s, transmitter.OrderFilter{Before: getOrder(t, s, st, "o1").Key}), []string{})
}

func suiteWithdraw(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	enqueue(t, s, 1, order(st, "waits"))
	b := enqueue(t, s, 2, order(st, "arrived"))
	c := enqueue(t, s, 3, order(st, "refused"))
	enqueue(t, s, 4, order(st, "answered"))
	must(t, s.Done(t.Context(), []transmitter.Outcome{{Stream: st.Key, Seq: b.Rows[0].Seq, JTI: "arrived", Status: 202, At: 5}}))
	kill(t, s, c.Rows[0], "no", 6)
	answer(t, s, st, "answered", "final", 1)
	answer(t, s, st, "arrived", "interim", 1)
	for jti, state := range map[string]string{
		"waits": transmitter.OrderDropped, "arrived": transmitter.OrderDelivered, "refused": transmitter.OrderRejected,
	} {
		o, err := s.WithdrawOrder(t.Context(), orderKey(st, jti), 77, "a mistake")
		must(t, err)
		same(t, o, getOrder(t, s, st, jti))
		if o.State != state || o.Withdrawn != 77 || o.WithdrawnWhy != "a mistake" {
			t.Fatalf("%s is %+v", jti, o)
		}
		_, err = s.WithdrawOrder(t.Context(), orderKey(st, jti), 78, "again")
		wantErr(t, err, transmitter.ErrConflict)
		same(t, getOrder(t, s, st, jti).WithdrawnWhy, "a mistake")
	}
	same(t, len(getOrder(t, s, st, "arrived").Receipts), 1)
	_, err := s.WithdrawOrder(t.Context(), orderKey(st, "answered"), 77, "too late")
	wantErr(t, err, transmitter.ErrConflict)
	same(t, getOrder(t, s, st, "answered").Withdrawn, transmitter.Micros(0))
	_, err = s.WithdrawOrder(t.Context(), transmitter.OrderKey{Receiver: "r2", ReceiptIssuer: st.ReceiptIssuer, JTI: "waits"}, 77, "")
	wantErr(t, err, transmitter.ErrNotFound)
	items := next(t, s, st.Key, 0, 10)
	if len(items) != 1 || items[0].JTI != "answered" {
		t.Fatalf("waiting: %+v", items)
	}
	same(t, counts(t, s, st.Key), transmitter.Counts{Waiting: 1, Delivered: 1, Dead: 1})
}

// A withdrawn order is dropped or delivered, and gone from what waits; it is not left in between.
func suiteWithdrawRace(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	const n = 20
	for i := range n {
		jti := "o" + name(i)
		out := enqueue(t, s, i, order(st, jti))
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Done(t.Context(), []transmitter.Outcome{{Stream: st.Key, Seq: out.Rows[0].Seq, JTI: jti, Status: 202, At: 5}}); err != nil {
				t.Error(err)
			}
		})
		won := make([]bool, 2)
		for w := range won {
			wg.Go(func() {
				_, err := s.WithdrawOrder(t.Context(), orderKey(st, jti), 6, "")
				if won[w] = err == nil; err != nil && !errors.Is(err, transmitter.ErrConflict) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		o := getOrder(t, s, st, jti)
		if won[0] == won[1] || o.Withdrawn != 6 || o.State != transmitter.OrderDelivered && o.State != transmitter.OrderDropped {
			t.Fatalf("withdrawn by %v: %+v", won, o)
		}
	}
	same(t, len(next(t, s, st.Key, 0, n)), 0)
}
