package transmitter_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"countersign/internal/req"
	"countersign/receipt"
	"countersign/transmitter"
)

// Where an order stands, by everything that can be known of it (receipts design §6.7).
func TestStanding(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) transmitter.Micros { return transmitter.At(begin.Add(d)) }
	got := func(seq int, stage, outcome string, accepted time.Duration) transmitter.KeptReceipt {
		return transmitter.KeptReceipt{Seq: seq, Stage: stage, Outcome: outcome, Accepted: at(accepted)}
	}
	order := func(state string, edit ...func(*transmitter.SentOrder)) *transmitter.SentOrder {
		o := &transmitter.SentOrder{State: state, ReceiptIssuer: "https://a.example", When: "all", IssuedAt: begin.Unix(),
			InterimBy: begin.Add(time.Minute).Unix(), CompleteBy: begin.Add(time.Hour).Unix()}
		for _, f := range edit {
			f(o)
		}
		return o
	}
	with := func(rs ...transmitter.KeptReceipt) func(*transmitter.SentOrder) {
		return func(o *transmitter.SentOrder) { o.Receipts = rs }
	}
	when := func(w string) func(*transmitter.SentOrder) { return func(o *transmitter.SentOrder) { o.When = w } }
	withdrawn := func(o *transmitter.SentOrder) { o.Withdrawn = at(time.Second) }
	disputed := func(o *transmitter.SentOrder) { o.Disputed = "two stories" }
	interim, final := got(1, receipt.StageInterim, "pending", time.Second), got(2, receipt.StageFinal, "fulfilled", 2*time.Minute)
	grace := time.Hour + transmitter.Grace
	tests := []struct {
		name          string
		order         *transmitter.SentOrder
		after         time.Duration
		state         string
		outcome       string
		late, overdue bool
		why           string
	}{
		{"queued", order(transmitter.OrderQueued), 0, "queued", "", false, false, "does not have it"},
		{"delivered", order(transmitter.OrderDelivered), 0, "acknowledged", "", false, false, "not confirmed"},
		{"at the second", order(transmitter.OrderDelivered), time.Minute, "acknowledged", "", false, false, ""},
		{"late", order(transmitter.OrderDelivered), time.Minute + time.Second, "acknowledged", "", true, false, "interim_by"},
		{"not late where no interim is wanted", order(transmitter.OrderDelivered, when("final")), 2 * time.Minute, "acknowledged", "", false, false, ""},
		{"not late once it answered", order(transmitter.OrderDelivered, with(interim)), 2 * time.Minute, "in_progress", "", false, false, "at work"},
		{"overdue", order(transmitter.OrderDelivered, with(interim)), time.Hour + time.Second, "in_progress", "", false, true, "complete_by"},
		{"late and overdue", order(transmitter.OrderQueued), time.Hour + time.Second, "queued", "", true, true, ""},
		{"closed", order(transmitter.OrderDelivered), grace + time.Second, "closed_unreceipted", "", true, true, "seven days"},
		{"not yet closed", order(transmitter.OrderDelivered), grace, "acknowledged", "", true, true, ""},
		{"never sent, never closed", order(transmitter.OrderQueued), grace + time.Hour, "queued", "", true, true, ""},
		{"reopened", order(transmitter.OrderDelivered, with(got(1, receipt.StageFinal, "partial", grace+time.Hour))), grace + 2*time.Hour, "receipted", "partial", true, false, "after complete_by"},
		{"fulfilled", order(transmitter.OrderDelivered, with(interim, final)), time.Hour, "receipted", "fulfilled", false, false, "fulfilled"},
		{"in time to the second", order(transmitter.OrderDelivered, with(got(1, receipt.StageFinal, "fulfilled", time.Hour+900*time.Millisecond))), 2 * time.Hour, "receipted", "fulfilled", false, false, ""},
		{"amended", order(transmitter.OrderDelivered, with(interim, final, got(3, receipt.StageAmended, "partial", 2*time.Hour))), 3 * time.Hour, "receipted", "partial", false, false, "amended"},
		{"receipted although the answer was lost", order(transmitter.OrderRejected, with(final)), 0, "receipted", "fulfilled", false, false, ""},
		{"rejected", order(transmitter.OrderRejected), grace + time.Hour, "rejected", "", false, false, "refused"},
		{"expired", order(transmitter.OrderExpired), 0, "expired", "", false, false, ""},
		{"dropped", order(transmitter.OrderDropped), 0, "dropped", "", false, false, "disabled or deleted"},
		{"withdrawn in time", order(transmitter.OrderDropped, withdrawn), 0, "withdrawn", "", false, false, "before"},
		{"withdrawn later", order(transmitter.OrderDelivered, withdrawn, with(interim)), 0, "withdrawn", "", false, false, "final receipt follows"},
		{"withdrawn and answered", order(transmitter.OrderDelivered, withdrawn, with(got(1, receipt.StageFinal, "withdrawn", time.Minute))), 0, "receipted", "withdrawn", false, false, ""},
		{"silence is no exception", order(transmitter.OrderDelivered, when("exceptions")), 2 * time.Hour, "acknowledged", "", false, false, "confirms nothing"},
		{"silence stays no success", order(transmitter.OrderDelivered, when("exceptions")), grace + time.Hour, "acknowledged", "", false, false, "confirms nothing"},
		{"no deadlines", order(transmitter.OrderDelivered, func(o *transmitter.SentOrder) { o.InterimBy, o.CompleteBy = 0, 0 }), grace, "acknowledged", "", false, false, ""},
		{"no receipts on the stream", order(transmitter.OrderDelivered, func(o *transmitter.SentOrder) { o.ReceiptIssuer = "" }), 0, "unreceiptable", "", false, false, ""},
		{"disputed", order(transmitter.OrderDelivered, disputed, with(final)), 0, "disputed", "fulfilled", false, false, "two stories"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := transmitter.Standing(test.order, begin.Add(test.after))
			if s.State != test.state || s.Outcome != test.outcome || s.Late != test.late || s.Overdue != test.overdue {
				t.Errorf("stands as %+v", s)
			}
			if s.Why == "" || !strings.Contains(s.Why, test.why) {
				t.Errorf("why: %q, want something about %q", s.Why, test.why)
			}
		})
	}
	req.Covers(t, "AR-§6.7")
}

func TestOrdersAreFound(t *testing.T) {
	x := newTill(t)
	all, err := x.Orders(t.Context(), transmitter.OrderFilter{})
	if err != nil || len(all) != 2 || all[0].When != "all" || all[0].CompleteBy != 4102444800 {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, ref := range []string{x.order.JTI, x.order.SetHash} {
		o, err := x.OrderOf(t.Context(), ref)
		if err != nil || o.JTI != x.order.JTI || o.SetHash != x.order.SetHash {
			t.Errorf("%s: %+v, %v", ref, o, err)
		}
	}
	for _, ref := range []string{"", "unknown"} {
		if _, err := x.OrderOf(t.Context(), ref); !errors.Is(err, transmitter.ErrNotFound) {
			t.Errorf("%q: %v", ref, err)
		}
	}
}
