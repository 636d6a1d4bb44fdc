package connector

import (
	"io/fs"
	"time"

	"countersign/internal/hub"
)

// Pack is one compiled connector pack. It is immutable and safe for concurrent use.
type Pack struct {
	ID    string
	Title string
	// Checked says when and how the pack was last compared with the product: run, recorded or documented.
	Checked Checked
	// Embedded reports that the pack is part of the program and not of the operator's folder.
	Embedded bool
}

// Checked is when and how a pack was last compared with the product.
type Checked struct {
	Date string `json:"date"`
	How  string `json:"how"`
}

// Offers reports whether the pack has the operation.
func (p *Pack) Offers(op hub.Operation) bool { panic("soon") }

// Operations lists what the pack offers, in the order of the vocabulary.
func (p *Pack) Operations() []hub.Operation { panic("soon") }

// ReadBack gives the operation's read-back; false where the pack has none.
func (p *Pack) ReadBack(op hub.Operation) (ReadBack, bool) { panic("soon") }

// Repeat says what a second identical request does.
func (p *Pack) Repeat(op hub.Operation) Repeat { panic("soon") }

// Residue is how long access granted before can live on after the sessions have ended; 0: none known.
func (p *Pack) Residue() time.Duration { panic("soon") }

// Settings and Secrets describe the fields of an app that uses the pack.
func (p *Pack) Settings() []Field { panic("soon") }

// Secrets describes the secrets of an app that uses the pack.
func (p *Pack) Secrets() []Field { panic("soon") }

// Field is one setting or secret.
type Field struct {
	Name     string `json:"name"`
	Type     string `json:"type,omitempty"` // url | text; empty for secrets
	Title    string `json:"title"`
	Optional bool   `json:"optional,omitempty"`
}

// CheckApp says what is wrong with an app's settings and secret names for this pack; nil when nothing is.
func (p *Pack) CheckApp(app *hub.App) error { panic("soon") }

// Packs are all the packs of a program.
type Packs struct{ byID map[string]*Pack }

// Load reads the embedded packs and, where dir is not empty, those of the operator's folder, which may
// add packs and never replace an embedded one.
func Load(embedded fs.FS, dir string) (*Packs, error) { panic("soon") }

// Lookup finds a pack by its id.
func (p *Packs) Lookup(id string) (*Pack, bool) { k, ok := p.byID[id]; return k, ok }

// List gives all packs, by id.
func (p *Packs) List() []*Pack { panic("soon") }

// Check reads one pack folder as `pack check` does: the pack itself, its README and its paired tests.
// Errors carry file, line and column.
func Check(dir string) error { panic("soon") }
