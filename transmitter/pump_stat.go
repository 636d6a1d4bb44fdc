package transmitter

import (
	"math/bits"
	"net/http"
	"time"
)

// statRoom bounds the streams whose figures are kept. Beyond it those of some stream without work are forgotten.
const statRoom = 16384

// stat is the figures of one stream in this process.
type stat struct {
	last  LastAnswer
	times histogram
}

// statOf gives the figures of a stream, made where there are none.
func (p *Pump) statOf(key int64) *stat {
	if s := p.stats[key]; s != nil {
		return s
	}
	if len(p.stats) >= statRoom {
		for other := range p.stats {
			if p.lanes[other] == nil {
				delete(p.stats, other)
				break
			}
		}
	}
	s := new(stat)
	p.stats[key] = s
	return s
}

// seen notes an answer.
func (p *Pump) seen(l *lane, e *entry, a answer, now Micros) {
	last := &l.stat.last
	if a.class == delivered {
		if e.Event.At > 0 {
			l.stat.times.add(time.Duration(now-e.Event.At) * time.Microsecond)
		}
		if a.status != http.StatusAccepted && a.status != last.Status { // TX-170: once, not for each SET
			p.cfg.Log.Info("the receiver takes SETs with another status than 202", "stream", l.suit.stream.ID, "status", a.status)
		}
	}
	last.At, last.Status, last.Reason = now, a.status, a.reason
}

// histogram counts durations from 64 µs on in steps of a fourth of an octave. Older counts weigh less.
type histogram struct {
	counts [histSteps]uint16
	total  uint16
}

const (
	histSteps = 4 * 36 // up to about 50 days
	histFull  = 4096   // then all counts are halved
)

func (h *histogram) add(d time.Duration) {
	h.counts[stepOf(d)]++
	if h.total++; h.total >= histFull {
		h.total = 0
		for i := range h.counts {
			h.counts[i] /= 2
			h.total += h.counts[i]
		}
	}
}

// stepOf gives the step that a duration falls into.
func stepOf(d time.Duration) int {
	v := uint64(max(d.Microseconds(), 64))
	octave := bits.Len64(v) - 1 // 6 or more
	step := 4*(octave-6) + int(v>>(octave-2)&3)
	return min(step, histSteps-1)
}

// quantile gives the middle of the step in which a quantile lies; 0 where nothing was counted.
func (h *histogram) quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := max(uint32(q*float64(h.total)+0.9999), 1)
	var sum uint32
	for i, n := range h.counts {
		if sum += uint32(n); sum >= rank {
			return time.Duration((uint64(9+2*(i%4))<<(i/4))<<3) * time.Microsecond
		}
	}
	return 0
}
