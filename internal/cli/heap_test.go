package cli

import "testing"

// TestHeap: the collector has room under load and little without; memory goes back once, after a rest.
func TestHeap(t *testing.T) {
	h := heap{percent: gcBusy}
	const mb = 1 << 20
	var allocs uint64
	for i, step := range []struct {
		made, live uint64
		percent    int
		free       bool
	}{
		{100 * mb, 10 * mb, 0, false}, // as at the start
		{0, 10 * mb, 0, false},        // a pause
		{100 * mb, 10 * mb, 0, false}, // goes on
		{0, 10 * mb, 0, false},
		{mb / 2, 10 * mb, 0, false},
		{mb / 2, 10 * mb, gcCalm, true}, // a rest
		{mb / 2, 10 * mb, 0, false},     // goes on: given back once
		{100 * mb, 10 * mb, 0, false},   // a burst is no load
		{mb / 2, 10 * mb, 0, false},
		{mb / 2, 10 * mb, 0, false},
		{mb / 2, 10 * mb, 0, true}, // but it is given back
		{100 * mb, 10 * mb, 0, false},
		{100 * mb, 10 * mb, gcBusy, false}, // a load
		{100 * mb, 64 * mb, 125, false},    // of a large heap
		{100 * mb, 60 * mb, 0, false},      // nearly as before
		{100 * mb, 200 * mb, gcCalm, false},
		{0, 200 * mb, 0, false},
		{0, 200 * mb, 0, false},
		{0, 200 * mb, 0, false},
		{0, 200 * mb, 0, false},
		{0, 200 * mb, 0, false},
		{0, 200 * mb, 0, true}, // a longer rest for a large heap
		{100 * mb, 10 * mb, 0, false},
		{100 * mb, 10 * mb, gcBusy, false},
	} {
		allocs += step.made
		if percent, free := h.see(allocs, step.live); percent != step.percent || free != step.free {
			t.Errorf("step %d: %d, %v, want %d, %v", i, percent, free, step.percent, step.free)
		}
	}
}
