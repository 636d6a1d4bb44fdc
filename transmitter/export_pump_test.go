package transmitter

import (
	"net/http"
	"time"
)

// Park parks a poll as the poll endpoint does.
func (t *Transmitter) Park(stream int64) (woken <-chan struct{}, leave func(), ok bool) {
	return t.wait(stream)
}

// Times is the histogram of delivery times.
type Times struct{ h histogram }

// Add counts a duration.
func (t *Times) Add(d time.Duration) { t.h.add(d) }

// Quantile gives one.
func (t *Times) Quantile(q float64) time.Duration { return t.h.quantile(q) }

// Rows says how many rows are in memory, and what the pump believes their number to be.
func (p *Pump) Rows() (are, counted int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lanes {
		are += len(l.ring) + len(l.held)
	}
	return are, p.held
}

// ReadAnswer is how an answer is taken apart.
func ReadAnswer(resp *http.Response, ours http.Header, now time.Time) (reason, advice string, retryAfter time.Duration, taken bool) {
	a := read(resp, ours, now)
	return a.reason, a.advice, a.retryAfter, a.class == delivered
}
