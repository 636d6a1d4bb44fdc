package sight

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"countersign/internal/hub"
	"countersign/transmitter"
)

// lines is a history whose lines share moments, over two streams of which one has rows that wait.
type lines struct {
	items []transmitter.Item
	all   []transmitter.Delivery
	asked int
}

func (l *lines) Overview(context.Context) ([]transmitter.StreamView, error) {
	return []transmitter.StreamView{{Stream: transmitter.Stream{Key: 2, ID: "two"}}, {Stream: transmitter.Stream{Key: 1, ID: "one"}, Counts: transmitter.Counts{Waiting: int64(len(l.items))}}}, nil
}
func (l *lines) View(context.Context, string) (*transmitter.StreamView, error) {
	return nil, transmitter.ErrNotFound
}
func (l *lines) Orders(_ context.Context, f transmitter.OrderFilter) ([]transmitter.SentOrder, error) {
	l.asked++
	var out []transmitter.SentOrder
	for k := int64(100_000); k > 0 && len(out) < f.N; k-- {
		if f.Before == 0 || k < f.Before {
			out = append(out, transmitter.SentOrder{Key: k, State: transmitter.OrderDelivered, ReceiptIssuer: "x"})
		}
	}
	return out, nil
}
func (l *lines) OrderOf(context.Context, string) (*transmitter.SentOrder, error) {
	return nil, transmitter.ErrNotFound
}
func (l *lines) Stream(context.Context, string, string) (*transmitter.Stream, error) {
	return nil, transmitter.ErrNotFound
}
func (l *lines) Next(_ context.Context, stream, after int64, n int) ([]transmitter.Item, error) {
	var out []transmitter.Item
	for _, it := range l.items {
		if stream == 1 && it.Seq > after && len(out) < n {
			out = append(out, it)
		}
	}
	return out, nil
}
func (l *lines) Dead(context.Context, int64, int) ([]transmitter.DeadLetter, error) { return nil, nil }
func (l *lines) Deliveries(_ context.Context, f transmitter.DeliveryFilter) ([]transmitter.Delivery, error) {
	var out []transmitter.Delivery
	for _, d := range l.all {
		if (f.Before == 0 || d.At < f.Before) && (f.From == nil || d.Place().Compare(*f.From) >= 0) && len(out) < f.N {
			out = append(out, d)
		}
	}
	return out, nil
}

func fill(waiting, done, each int) *lines {
	l := &lines{}
	for i := range waiting {
		l.items = append(l.items, transmitter.Item{Stream: 1, Seq: int64(i + 1), JTI: "w" + strings.Repeat("x", i)})
	}
	for i := range done {
		l.all = append(l.all, transmitter.Delivery{Stream: 2, StreamID: "two", JTI: "d" + strings.Repeat("x", i), Outcome: transmitter.Delivered, At: transmitter.Micros(1_000 - i/each)})
	}
	return l
}

// Page after page gives every line once and in order, however many share one moment.
func TestPagesGiveEveryLineOnce(t *testing.T) {
	for _, each := range []int{1, 3, 50} {
		l := fill(7, 20, each)
		var want []string
		for i := range l.items {
			want = append(want, l.items[i].JTI)
		}
		for i := range l.all {
			want = append(want, l.all[i].JTI)
		}
		for n := 1; n < 30; n++ {
			var got []string
			cursor := ""
			for range 40 {
				p, err := Search{}.Find(t.Context(), l, l, cursor, n)
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range p.Items {
					got = append(got, d.JTI)
				}
				if len(p.Items) > n {
					t.Fatalf("%d lines on a page of %d", len(p.Items), n)
				}
				if cursor = p.Next; cursor == "" {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d of one moment, pages of %d: %v", each, n, got)
			}
		}
	}
}

// What a filter seldom finds costs a bounded look, and the answer says where to go on.
func TestLooksAreBounded(t *testing.T) {
	l := fill(0, 0, 1)
	for i := range scanned + 300 {
		l.items = append(l.items, transmitter.Item{Stream: 1, Seq: int64(i + 1), JTI: "no"})
	}
	l.items[scanned+100].JTI = "yes"
	p, err := Search{Outcome: Waiting, JTI: "yes"}.Find(t.Context(), l, l, "", 10)
	if err != nil || len(p.Items) != 0 || p.Next == "" {
		t.Fatalf("%+v %v", p, err)
	}
	if p, err = (Search{Outcome: Waiting, JTI: "yes"}).Find(t.Context(), l, l, p.Next, 10); err != nil || len(p.Items) != 1 || p.Next != "" {
		t.Errorf("%+v %v", p, err)
	}
	found, more, err := OrderSearch{State: transmitter.StandingDisputed}.Find(t.Context(), l, 10, hub.Micros(1e6).Time())
	if err != nil || len(found) != 0 || more != 100_000-scanned+1 || l.asked > scanned/200+1 {
		t.Errorf("%d found, more from %d, %d questions, %v", len(found), more, l.asked, err)
	}
}

// FuzzCursor: a cursor from outside is refused, or leads into the list; it is never a crash.
func FuzzCursor(f *testing.F) {
	for _, s := range []string{"", "w_1_2", "h_999_1", "h_0_0", "w_-1_0", "h_99999999999999999999_1", "x_1_1", "h_1_1_1", "h_1_2_3_4", "h_0_0_0_0", "h_1_1_1_5001", "w__", "h_1000_5000", "\x00"} {
		f.Add(s, "")
	}
	f.Add("w_1_1", Waiting)
	f.Add("h_1_1_1_1", transmitter.DeadLettered)
	l := fill(3, 9, 2)
	f.Fuzz(func(t *testing.T, cursor, outcome string) {
		p, err := Search{Outcome: outcome}.Find(t.Context(), l, l, cursor, 5)
		var he *hub.Error
		if err != nil && (!errors.As(err, &he) || he.Code != hub.Invalid || he.Hint == "") {
			t.Errorf("%q: %v", cursor, err)
		}
		if len(p.Items) > 5 || err != nil && len(p.Items) > 0 {
			t.Errorf("%q: %d lines", cursor, len(p.Items))
		}
	})
}

// FuzzMask: nothing of a query, of a password or of a fragment is shown.
func FuzzMask(f *testing.F) {
	for _, s := range []string{"https://h.example/a?b=sEcReT", "https://u:sEcReT@h.example/", "https://h.example/#sEcReT", "https://h.example/%3FsEcReT", "//h?sEcReT", "sEcReT", "https:sEcReT?x", "https://[::1]:1/?sEcReT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Mask(s)
		if i := strings.Index(got, "?"); i >= 0 && got[i:] != "?…" || strings.Contains(got, "#") || strings.Contains(got, "@") && !strings.Contains(got[strings.Index(got, "://")+3:], "/") {
			t.Errorf("%q is shown as %q", s, got)
		}
	})
}
