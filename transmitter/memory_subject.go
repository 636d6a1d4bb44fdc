package transmitter

import (
	"context"
	"slices"
)

// PutSubject implements Store.
func (m *Memory) PutSubject(_ context.Context, e *SubjectEntry, limit int64) error {
	defer m.lock()()
	s := m.streams[e.Stream]
	if s == nil {
		return ErrNotFound
	}
	old := m.subjects[s.Key][e.ID]
	if old == nil && limit > 0 && int64(len(m.subjects[s.Key])) >= limit {
		return ErrTooMany
	}
	if old != nil {
		m.forget(old)
	}
	c := copyEntry(e)
	if m.subjects[s.Key] == nil {
		m.subjects[s.Key] = map[[16]byte]*SubjectEntry{}
	}
	m.subjects[s.Key][c.ID] = &c
	for _, key := range c.Keys {
		if !slices.Contains(m.subjectKey[key], &c) {
			m.subjectKey[key] = append(m.subjectKey[key], &c)
		}
	}
	if !s.Listed {
		m.generation++
		s.Listed, s.Generation = true, m.generation
	}
	return nil
}

// forget takes an entry out of the index.
func (m *Memory) forget(e *SubjectEntry) {
	for _, key := range e.Keys {
		left := slices.DeleteFunc(m.subjectKey[key], func(other *SubjectEntry) bool { return other == e })
		if len(left) == 0 {
			delete(m.subjectKey, key)
		} else {
			m.subjectKey[key] = left
		}
	}
}

// unlist removes the list of a stream.
func (m *Memory) unlist(stream int64) {
	for _, e := range m.subjects[stream] {
		m.forget(e)
	}
	delete(m.subjects, stream)
}

func copyEntry(e *SubjectEntry) SubjectEntry {
	c := *e
	c.Keys, c.Subject = slices.Clone(e.Keys), slices.Clone(e.Subject)
	return c
}

// Subjects implements Store.
func (m *Memory) Subjects(_ context.Context, keys [][16]byte) ([]SubjectEntry, error) {
	defer m.lock()()
	var out []SubjectEntry
	var seen map[*SubjectEntry]bool
	for _, key := range keys {
		for _, e := range m.subjectKey[key] {
			if seen[e] {
				continue
			}
			if seen == nil {
				seen = map[*SubjectEntry]bool{}
			}
			seen[e] = true
			out = append(out, copyEntry(e))
		}
	}
	return out, nil
}
