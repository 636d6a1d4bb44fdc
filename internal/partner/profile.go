package partner

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"countersign/internal/yaml"
	"countersign/partners"
	"countersign/receiver"
)

// Generic is the profile of a source that names none: strict, any peer that keeps to the specifications.
const Generic = "generic"

// How sure we are of what a profile says.
const (
	Run        = "run"        // we ran the product and looked
	Recorded   = "recorded"   // others recorded what it sends, and their records are tests here
	Documented = "documented" // its makers or others say so
)

// Sides that a cure is on.
const (
	Theirs = "theirs"
	Ours   = "ours"
)

// Places of the subject in a token.
const (
	Top    = "sub_id" // where SSF 1.0 has it
	Nested = "nested" // inside the event, as the drafts had it
	Both   = "both"
	Either = "either" // by version, by setting, or by whoever wrote the rule
)

// ErrProfile is wrapped by every error about a profile.
var ErrProfile = errors.New("partner: profile cannot be used")

// Profile is what is known of one partner product.
type Profile struct {
	Name      string `json:"name"`
	Title     string `json:"title"`
	Transmits bool   `json:"transmits,omitempty"` // we receive from it
	Receives  bool   `json:"receives,omitempty"`  // we send to it

	// QuirkIDs are the switches of receiver.Quirks that a source of this profile has on. Notes are further quirks of the
	// list that concern it and are no switch.
	QuirkIDs []string `json:"quirks,omitempty"`
	Notes    []string `json:"notes,omitempty"`

	Delivery []string `json:"delivery,omitempty"` // push, poll; the first is the one to choose
	Stream   string   `json:"stream,omitempty"`   // create, adopt or none: the stream of a source of this profile
	Auth     []string `json:"auth,omitempty"`     // methods of a source's auth; the first is the one to choose
	Scope    string   `json:"scope,omitempty"`    // of an access token; empty: the usual ones

	Issuer      string `json:"issuer,omitempty"`       // what its issuer looks like
	MetadataURL string `json:"metadata_url,omitempty"` // what the address of its metadata looks like, where it does not follow from the issuer
	Audience    string `json:"audience,omitempty"`     // what aud looks like

	Events   []string `json:"events,omitempty"`   // types that it sends, by their short names or URIs
	Takes    []string `json:"takes,omitempty"`    // types that it takes
	Silences []string `json:"silences,omitempty"` // what happens there and is not told

	Subjects  string   `json:"subjects,omitempty"`  // Top, Nested, Both or Either
	Formats   []string `json:"formats,omitempty"`   // of the person
	Places    []string `json:"places,omitempty"`    // whose ids it uses: source (its own), or what they are in words
	Wildcards bool     `json:"wildcards,omitempty"` // the session id ALL means every session

	Paused   string `json:"paused,omitempty"`   // what happens to events of a paused stream: held or lost
	Disabled string `json:"disabled,omitempty"` // and of a disabled one
	Entity   bool   `json:"entity,omitempty"`   // initiating_entity is not to be relied on
	Every    string `json:"every,omitempty"`    // how long it may sit on an event before it sends it, as a Go duration
	Retries  string `json:"retries,omitempty"`  // for how long it tries again, in words

	// Cures say what to change when something is refused: by an error code of RFC 8935, by a quirk, or by a word of the
	// doctor's, such as "401" or "invalid_scope".
	Cures []Remedy `json:"cures,omitempty"`

	Sure    string   `json:"sure"`              // Run, Recorded or Documented
	Checked string   `json:"checked"`           // when, as a date
	Version string   `json:"version,omitempty"` // of the product, where it has one
	Links   []string `json:"links,omitempty"`

	// Guide are the hand-written steps (Markdown), without a title.
	Guide string `json:"-"`

	quirks receiver.Quirks
}

// Remedy is what to do about one thing that goes wrong with a partner.
type Remedy struct {
	On   string `json:"on"` // what was seen: "invalid_audience", "Q-43", "401", "invalid_scope", …
	Text string `json:"text"`
	Side string `json:"side"` // Theirs or Ours
}

// Quirks are the switches of a source of this profile.
func (p *Profile) Quirks() receiver.Quirks {
	if p == nil {
		return receiver.Quirks{}
	}
	return p.quirks
}

// QuirksWith are those and the ones that the source relaxes besides.
func (p *Profile) QuirksWith(relax []string) (receiver.Quirks, error) {
	q := p.Quirks()
	for _, id := range relax {
		if err := q.Set(id); err != nil {
			return q, err
		}
	}
	return q, nil
}

// Names lists the profiles.
func Names() []string {
	var names []string
	for _, p := range All() {
		names = append(names, p.Name)
	}
	return names
}

// All gives every profile, generic first and then by name. They are shared: do not change them.
func All() []*Profile { return read() }

// Find gives a profile by its name; the empty name is Generic.
func Find(name string) (*Profile, bool) {
	if name == "" {
		name = Generic
	}
	for _, p := range All() {
		if p.Name == name {
			return p, true
		}
	}
	return nil, false
}

// Nearest is the profile whose name is most like a word that names none; empty: none is like it.
func Nearest(word string) string { return yaml.Nearest(word, Names()) }

var read = sync.OnceValue(func() []*Profile {
	all, err := Load(partners.Files)
	if err != nil {
		panic(err) // they are part of the program, and a test reads them
	}
	return all
})

// Load reads the profiles of a folder: each folder in it is one.
func Load(files fs.FS) ([]*Profile, error) {
	dirs, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProfile, err)
	}
	var all []*Profile
	for _, d := range dirs {
		if !d.IsDir() {
			continue
		}
		p, err := one(files, d.Name())
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrProfile, d.Name(), err)
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *Profile) int {
		if (a.Name == Generic) != (b.Name == Generic) {
			if a.Name == Generic {
				return -1
			}
			return 1
		}
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return all, nil
}

func one(files fs.FS, name string) (*Profile, error) {
	data, err := fs.ReadFile(files, path.Join(name, "profile.yaml"))
	if err != nil {
		return nil, err
	}
	p := new(Profile)
	if err := yaml.Decode(data, p); err != nil {
		return nil, err
	}
	if p.Name != name {
		return nil, fmt.Errorf("its name is %q, as its folder is not", p.Name)
	}
	guide, err := fs.ReadFile(files, path.Join(name, "guide.md"))
	if err != nil {
		return nil, err
	}
	p.Guide = string(guide)
	return p, p.check()
}
