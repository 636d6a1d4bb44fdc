package cli

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How the collector is set. The hub lives on few megabytes and makes many short-lived ones: at Go's 100 percent a fifth of
// its CPU under load would be the collector's. What a larger share saves is spent where it is not needed, so it is only that
// large while there is work, and while what lives is small.
const (
	gcBusy   = 600      // percent, under load, of a small heap
	gcCalm   = 100      // percent, without load
	gcRoom   = 80 << 20 // octets between two collections that are enough, whatever lives
	gcTick   = time.Second
	gcAsleep = 1 << 20  // octets in a tick that are no load
	gcRest   = 3        // ticks of little that are a rest
	gcWake   = 2        // ticks of more that are a load
	gcDear   = 64 << 20 // octets that live, for each of which a rest is a tick longer
)

// tend sets the collector to what the hub does, until ctx ends. Memory that a load left behind goes back to the system once
// the hub is calm. The variable GOGC takes its place.
func tend(ctx context.Context) {
	h := heap{percent: gcBusy}
	debug.SetGCPercent(h.percent)
	tick := time.NewTicker(gcTick)
	defer tick.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(sample)
		percent, free := h.see(sample[0].Value.Uint64(), sample[1].Value.Uint64())
		if percent != 0 {
			debug.SetGCPercent(percent)
		}
		if free {
			debug.FreeOSMemory()
		}
	}
}

// heap remembers how it was.
type heap struct {
	percent int
	allocs  uint64
	calm    bool
	quiet   int  // ticks in a row of little
	loud    int  // ticks in a row of more
	dirty   bool // more was allocated since memory was given back
}

// see takes what was allocated since the start and what lives, and says how the collector is to be set from now on (0: as
// it is) and whether memory is to be given back. A pause is no rest, and one burst no load. Giving back is a collection, which
// is the dearer the more lives: then it takes a longer rest.
func (h *heap) see(allocs, live uint64) (percent int, free bool) {
	if allocs-h.allocs < gcAsleep {
		h.quiet, h.loud = h.quiet+1, 0
	} else {
		h.quiet, h.loud, h.dirty = 0, h.loud+1, true
	}
	h.allocs = allocs
	if h.quiet >= gcRest {
		h.calm = true
	} else if h.loud >= gcWake {
		h.calm = false
	}
	if h.dirty && h.quiet >= gcRest+int(live/gcDear) {
		h.dirty, free = false, true
	}
	want := gcCalm
	if !h.calm {
		want = int(min(gcBusy, max(gcCalm, gcRoom*100/max(live, 1))))
	}
	// Each setting stops the world for a moment: not for a little.
	if d := want - h.percent; d == 0 || want != gcCalm && want != gcBusy && d*d < 50*50 {
		return 0, free
	}
	h.percent = want
	return want, free
}
