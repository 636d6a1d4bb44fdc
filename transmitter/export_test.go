package transmitter

import "context"

// CountsOf is Counts by stream id.
func (m *Memory) CountsOf(id string) Counts {
	m.mu.Lock()
	var key int64
	for _, s := range m.streams {
		if s.ID == id {
			key = s.Key
		}
	}
	m.mu.Unlock()
	c, _ := m.Counts(context.Background(), key)
	return c
}

// Replan is what Store.Reissue is given.
func (t *Transmitter) Replan(stream int64, it *Item) (Row, error) { return t.replan(stream, it) }

// What the benchmarks look at.
var (
	ClaimsStart  = claimsStart
	AppendClaims = appendClaims
)

// Lanes says how many streams have something in memory.
func (p *Pump) Lanes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lanes)
}

// Parked says how many polls are held.
func Parked(t *Transmitter) int {
	t.parked.mu.Lock()
	defer t.parked.mu.Unlock()
	return t.parked.count
}
