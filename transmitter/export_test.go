package transmitter

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
	c, _ := m.Counts(nil, key)
	return c
}

// What the benchmarks look at.
var (
	ClaimsStart  = claimsStart
	AppendClaims = appendClaims
)
