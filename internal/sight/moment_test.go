package sight

import (
	"context"
	"testing"

	"countersign/transmitter"
)

// momentBox has n lines of one moment, each of an event of its own, but for some that ended twice.
type momentBox struct {
	Outbox
	n int
}

func (b momentBox) Deliveries(_ context.Context, f transmitter.DeliveryFilter) ([]transmitter.Delivery, error) {
	var out []transmitter.Delivery
	for i := b.n; i > 0 && len(out) < f.N; i-- {
		d := transmitter.Delivery{Event: int64(i/2 + 1), Outcome: transmitter.Skipped, At: 7}
		if f.From == nil || d.Place().Compare(*f.From) >= 0 {
			out = append(out, d)
		}
	}
	return out, nil
}

type noStreams struct{ Streams }

func (noStreams) Overview(context.Context) ([]transmitter.StreamView, error) { return nil, nil }

// However many lines one moment has, the list leads through all of them.
func TestManyLinesOfOneMoment(t *testing.T) {
	for _, size := range []int{1, 199, 200} {
		lines := 6000
		if size == 1 {
			lines = 50
		}
		seen, cursor := 0, ""
		for {
			l, err := Search{Outcome: transmitter.Skipped}.Find(t.Context(), noStreams{}, momentBox{n: lines}, cursor, size)
			if err != nil {
				t.Fatalf("after %d lines, cursor %s: %v", seen, cursor, err)
			}
			seen += len(l.Items)
			if cursor = l.Next; cursor == "" {
				break
			}
		}
		if seen != lines {
			t.Errorf("pages of %d: %d lines of %d", size, seen, lines)
		}
	}
}
