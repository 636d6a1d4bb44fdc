package transmitter

import (
	"context"
	"errors"
	"time"
)

// StreamView is one stream as an operator wants to see it.
type StreamView struct {
	Stream   Stream // without its credential
	Counts   Counts
	Last     LastAnswer
	Next     Micros        // when it is tried again, where it is in back-off
	P50, P99 time.Duration // from planned to accepted, over the latest deliveries of this process; 0: none yet
	InFlight int
	Parked   int  // polls that are held
	Here     bool // this process delivers it
	// Warnings say in plain sentences what keeps the stream from delivering, and what to do.
	Warnings []string
}

// LastAnswer is the latest answer of a receiver that this process got.
type LastAnswer struct {
	At     Micros // 0: none yet
	Status int    // 0: there was no answer
	Reason string // empty: it took the SET
}

// View gives one stream by its stream_id, or ErrNotFound.
func (t *Transmitter) View(ctx context.Context, id string) (*StreamView, error) {
	return nil, errors.ErrUnsupported
}

// Overview gives every stream, oldest first.
func (t *Transmitter) Overview(ctx context.Context) ([]StreamView, error) {
	return nil, errors.ErrUnsupported
}

// Redrive puts dead letters back among what waits, each in its old place, and gives how many.
func (t *Transmitter) Redrive(ctx context.Context, which DeadFilter) (int, error) {
	return 0, errors.ErrUnsupported
}
