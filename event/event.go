package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"countersign/internal/strictjson"
)

// ErrInvalid is wrapped by every error about a payload. A receiver answers it with invalid_request.
var ErrInvalid = errors.New("event: payload breaks the definition of its type")

// Payload is the content of one event, decoded. Validate reports the first rule of the type that the
// payload breaks; payloads that come from Registry.Decode have passed it.
type Payload interface {
	Validate() error
}

// Strict is a payload of which more is taken than may be sent. ValidateSent reports the first rule that an event of ours
// would break; it passed Validate.
type Strict interface {
	Payload
	ValidateSent() error
}

// Type is one row of a vocabulary.
type Type struct {
	URI         string         // the event type, an opaque and case-sensitive string
	Name        string         // vocabulary and last part of the URI, such as "caep/session-revoked"
	Title       string         // for people
	Clause      string         // where it is defined
	Deprecated  bool           // may be received, is not to be sent
	StreamLevel bool           // about the stream itself and not about a subject (SSF 1.0 §8.1.4, §8.1.5)
	New         func() Payload // an empty payload to decode into; nil: payloads are Raw
	Members     []string       // the members the type defines
	Open        bool           // senders use further members; a rule may name members that Members lacks
	Identifying []Identifying  // of Members, those that name somebody or something; see Identifies
	Subjects    []string       // formats that the subject of an event that is sent has to have; nil: any
}

// Registry finds event types. It is read-only once made and may be used by many goroutines.
// A nil registry knows no types.
type Registry struct {
	byURI  map[string]Type
	byName map[string]string
	types  []Type
}

// NewRegistry joins vocabularies. Two rows with one URI or one name are a mistake in the program, and panic.
func NewRegistry(vocabularies ...[]Type) *Registry {
	r := &Registry{byURI: map[string]Type{}, byName: map[string]string{}}
	for _, vocabulary := range vocabularies {
		for _, t := range vocabulary {
			if _, twice := r.byURI[t.URI]; twice || t.URI == "" {
				panic(fmt.Sprintf("event: type %q is registered twice or has no URI", t.URI))
			}
			if _, twice := r.byName[t.Name]; twice || t.Name == "" {
				panic(fmt.Sprintf("event: name %q is registered twice or empty", t.Name))
			}
			r.byURI[t.URI] = t
			r.byName[t.Name] = t.URI
			r.types = append(r.types, t)
		}
	}
	slices.SortFunc(r.types, func(a, b Type) int { return strings.Compare(a.Name, b.Name) })
	return r
}

// Lookup finds a type by its URI, compared byte for byte.
func (r *Registry) Lookup(uri string) (Type, bool) {
	if r == nil {
		return Type{}, false
	}
	t, ok := r.byURI[uri]
	return t, ok
}

// Resolve finds a type by its URI or by its name.
func (r *Registry) Resolve(nameOrURI string) (Type, bool) {
	if r == nil {
		return Type{}, false
	}
	if uri, ok := r.byName[nameOrURI]; ok {
		nameOrURI = uri
	}
	return r.Lookup(nameOrURI)
}

// Types lists all rows in the order of their names.
func (r *Registry) Types() []Type {
	if r == nil {
		return nil
	}
	return slices.Clone(r.types)
}

// Decode reads and validates the payload of an event of type uri. Errors wrap ErrInvalid and name the
// member at fault; they never quote the payload.
func (r *Registry) Decode(uri string, payload json.RawMessage) (Payload, error) {
	t, _ := r.Lookup(uri)
	if t.New == nil {
		return decodeRaw(payload)
	}
	p := t.New()
	if err := decodeInto(p, payload); err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	return p, nil
}

func decodeInto(p Payload, payload json.RawMessage) error {
	if d, ok := p.(Described); ok {
		return Unmarshal(payload, d)
	}
	if err := strictjson.Unmarshal(payload, p); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// Raw is the payload of a type without members of its own, or of a type nobody registered. It is
// written back as it came.
type Raw struct {
	members []Extra
	raw     json.RawMessage
}

func decodeRaw(payload json.RawMessage) (*Raw, error) {
	members, err := strictjson.Object(payload)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	r := &Raw{raw: slices.Clone(payload)}
	for _, m := range members {
		r.members = append(r.members, Extra(m))
	}
	return r, nil
}

// Validate finds nothing: a Raw is an object with any members.
func (r *Raw) Validate() error { return nil }

// Member gives a member as it was written, nil when it is absent.
func (r *Raw) Member(name string) json.RawMessage { return find(r.members, name) }

// MarshalJSON gives the object as it came; the zero Raw is the empty object.
func (r *Raw) MarshalJSON() ([]byte, error) {
	if r == nil || len(r.raw) == 0 {
		return []byte("{}"), nil
	}
	return slices.Clone(r.raw), nil
}

// UnmarshalJSON keeps any object.
func (r *Raw) UnmarshalJSON(data []byte) error {
	got, err := decodeRaw(data)
	if err != nil {
		return err
	}
	*r = *got
	return nil
}
