package sight

import (
	"context"
	"errors"
	"slices"

	"countersign/internal/hub"
	"countersign/transmitter"
)

// ReasonCount is how many dead letters have a reason.
type ReasonCount struct {
	Reason string     `json:"reason"`
	Count  int        `json:"count"`
	Latest hub.Micros `json:"latest_at"`
}

// Bounds of what a stream's story shows.
const (
	storyRecent = 20
	storyDead   = 500
)

// StoryOf adds to a stream what happened on it lately.
func StoryOf(ctx context.Context, v *transmitter.StreamView, box Outbox, now hub.Micros) (*StreamStory, error) {
	s := &StreamStory{StreamInfo: InfoOf(v, now), DeadBy: []ReasonCount{}, Recent: []Delivery{}, Skips: []Delivery{}}
	if s.Delivery.Method == "push" {
		full, err := box.Stream(ctx, v.Stream.Receiver, v.Stream.ID) // the view has no credential
		if err != nil && !errors.Is(err, transmitter.ErrNotFound) {
			return nil, err
		}
		s.Delivery.Authorization = err == nil && full.Authorization != ""
	}
	names := map[string]*transmitter.Stream{v.Stream.ID: &v.Stream}
	if v.Counts.Dead > 0 {
		dead, err := box.Dead(ctx, v.Stream.Key, storyDead)
		if err != nil {
			return nil, err
		}
		for _, l := range dead {
			i := slices.IndexFunc(s.DeadBy, func(c ReasonCount) bool { return c.Reason == l.Reason })
			if i < 0 {
				i = len(s.DeadBy)
				s.DeadBy = append(s.DeadBy, ReasonCount{Reason: l.Reason, Latest: hub.Micros(l.At)})
			}
			s.DeadBy[i].Count++
		}
		slices.SortStableFunc(s.DeadBy, func(a, b ReasonCount) int { return b.Count - a.Count })
	}
	for outcome, into := range map[string]*[]Delivery{"": &s.Recent, transmitter.Skipped: &s.Skips} {
		all, err := box.Deliveries(ctx, transmitter.DeliveryFilter{Stream: v.Stream.Key, Outcome: outcome, N: storyRecent})
		if err != nil {
			return nil, err
		}
		for i := range all {
			*into = append(*into, ended(&all[i], names))
		}
	}
	return s, nil
}
