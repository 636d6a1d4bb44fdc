package store

import (
	"os"

	"countersign/internal/hub"
)

// marker is the file beside an SQLite database that says two things: by its lock, that a process has the
// database open; by its content, whether the last one closed it in order.
type marker struct {
	f       *os.File
	unclean bool
}

const (
	markOpen  = "open\n"
	markClean = "clean\n"
)

func openMarker(path string) (*marker, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, hub.Errorf(hub.Unavailable, "another process has the database open: %w", err).
			WithHint("stop the other one, or use its API")
	}
	m := &marker{f: f}
	var was [8]byte
	n, _ := f.ReadAt(was[:], 0)
	m.unclean = string(was[:n]) == markOpen
	if err := m.put(markOpen); err != nil {
		f.Close()
		return nil, err
	}
	return m, nil
}

func (m *marker) put(text string) error {
	if err := m.f.Truncate(0); err != nil {
		return err
	}
	if _, err := m.f.WriteAt([]byte(text), 0); err != nil {
		return err
	}
	return m.f.Sync()
}

// close writes down that all is in order, where it is, and gives up the lock.
func (m *marker) close(clean bool) {
	if clean {
		m.put(markClean)
	}
	m.f.Close()
}
