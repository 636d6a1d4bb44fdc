package connector

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Packs are all the packs of a program. They are immutable.
type Packs struct{ byID map[string]*Pack }

// Load reads the embedded packs and, where dir is not empty, those of the operator's folder, which may
// add packs and never replace an embedded one.
func Load(embedded fs.FS, dir string) (*Packs, error) {
	p := &Packs{byID: map[string]*Pack{}}
	if err := p.add(embedded, "embedded packs"); err != nil {
		return nil, err
	}
	if dir != "" {
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("packs: %w", err)
		}
		if err := p.add(os.DirFS(dir), dir); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *Packs) add(from fs.FS, where string) error {
	entries, err := fs.ReadDir(from, ".")
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		file := e.Name() + "/pack.yaml"
		data, err := fs.ReadFile(from, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		at := filepath.Join(where, file)
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		pack, err := ParsePack(data)
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if pack.ID != e.Name() {
			return fmt.Errorf("%s: the pack calls itself %s and its folder %s", at, pack.ID, e.Name())
		}
		if before := p.byID[pack.ID]; before != nil {
			return fmt.Errorf("%s: the pack %s is part of the program and cannot be replaced: give yours another id", at, pack.ID)
		}
		p.byID[pack.ID] = pack
	}
	return nil
}

// Lookup finds a pack by its id.
func (p *Packs) Lookup(id string) (*Pack, bool) { k, ok := p.byID[id]; return k, ok }

// List gives all packs, by id.
func (p *Packs) List() []*Pack {
	out := make([]*Pack, 0, len(p.byID))
	for _, id := range slices.Sorted(maps.Keys(p.byID)) {
		out = append(out, p.byID[id])
	}
	return out
}
