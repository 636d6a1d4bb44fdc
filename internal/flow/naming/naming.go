package naming

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"sync"
	"time"

	"countersign/internal/hub"
	"countersign/subject"
)

// Store is what naming reads. All names are within one tenant.
type Store interface {
	// FindIdentityByEmail gives the names of the identities with that address; the address is canonical.
	FindIdentityByEmail(ctx context.Context, tenant, email string) ([]string, error)
	// FindIdentityByAccount gives the names of the identities with that account id at that place.
	FindIdentityByAccount(ctx context.Context, tenant, place, id string) ([]string, error)
	// Identity gives one identity by name; hub.NotFound where there is none.
	Identity(ctx context.Context, tenant, name string) (*hub.Identity, error)
}

// Config is what a Namer is made of. Tenant and Store are required.
type Config struct {
	Tenant  string
	Store   Store
	Sources []*hub.Source // whose issuers and ways to correlate count
	Now     func() time.Time
}

// Namer names the people of one tenant to its receivers, as its resources are now. It is safe for concurrent use.
type Namer struct {
	Config
	issuers map[string]string // of a place, where it is a source
	speaks  map[string][]string

	mu    sync.Mutex
	known map[[16]byte]found // so that one event with many streams, and a person of many events, is looked up once
	older map[[16]byte]found // what was known before known was full
	rules map[string]*hub.SubjectRule
}

// found is a look-up that was made.
type found struct {
	person *Person
	until  time.Time
}

const (
	// memory is how long a look-up is good for. A change of the tenant's resources, on this node or another, makes a new
	// Namer, so this only bounds what was missed.
	memory   = 30 * time.Second
	maxKnown = 10_000 // twice
	maxRules = 1024
)

// New makes a Namer.
func New(c Config) *Namer {
	if c.Now == nil {
		c.Now = time.Now
	}
	n := &Namer{Config: c, issuers: map[string]string{}, speaks: map[string][]string{}, known: map[[16]byte]found{}, rules: map[string]*hub.SubjectRule{}}
	for _, s := range c.Sources {
		n.issuers[s.Name] = s.Issuer
		ways := s.Correlate
		if len(ways) == 0 {
			ways = []hub.Correlate{{Format: "iss_sub"}}
		}
		for _, w := range ways {
			// Only what names the user: a device, a session or a tenant is no person's name anywhere.
			if w.Format != "iss_sub" || w.Part != "" && w.Part != subject.PartUser || w.As != "" && w.As != "account_id" || len(w.Is) > 0 {
				continue
			}
			place, of := w.At, w.Iss
			if place == "" {
				place = s.Name
			}
			if len(of) == 0 {
				of = []string{s.Issuer}
			}
			for _, iss := range of {
				n.speaks[iss] = append(n.speaks[iss], place)
			}
		}
	}
	return n
}

// Person is whom an event is about.
type Person struct {
	// Identity is who it is; nil where nobody is known, and Why says so. An address that nobody declared is an identity
	// with that address and nothing else.
	Identity *hub.Identity
	Why      string
}

type personKey struct{}

// With hands on who the event is about, where that was found out already: by the correlation of the source that it came from.
func With(ctx context.Context, p *Person) context.Context {
	return context.WithValue(ctx, personKey{}, p)
}

// Name gives the identifier that a stream with the rule is told in place of sub, or the reason for which it is not told of
// this event. Its error is the store's. The rule is a hub.SubjectRule as JSON.
func (n *Namer) Name(ctx context.Context, rule json.RawMessage, sub subject.Identifier) (named subject.Identifier, skip string, err error) {
	r, err := n.rule(rule)
	if err != nil {
		return subject.Identifier{}, "the stream's rule for naming people cannot be read", nil
	}
	p, _ := ctx.Value(personKey{}).(*Person)
	if p == nil {
		if p, err = n.who(ctx, sub); err != nil {
			return subject.Identifier{}, "", err
		}
	}
	if p.Identity == nil {
		return subject.Identifier{}, p.Why, nil
	}
	named, why := n.as(r.Format, r.AccountAt, p.Identity, sub)
	if why == "" {
		return named, "", nil
	}
	if r.Otherwise == "" {
		return subject.Identifier{}, why, nil
	}
	named, also := n.as(r.Otherwise, r.AccountAt, p.Identity, sub)
	if also == why || also == "" {
		return named, also, nil
	}
	return named, why + ", and " + also, nil
}

// as makes the identifier of one format, or says why there is none.
func (n *Namer) as(format, place string, id *hub.Identity, sub subject.Identifier) (subject.Identifier, string) {
	none := subject.Identifier{}
	switch format {
	case "email":
		return n.email(id, sub)
	case "complex":
		var user subject.Identifier
		why := ""
		if place == "" {
			user, why = n.email(id, sub)
		} else {
			user, why = n.as("iss_sub", place, id, sub)
		}
		if why != "" {
			return none, why
		}
		return subject.Complex(map[string]subject.Identifier{subject.PartUser: user}), ""
	}
	account, why := n.account(id, place, sub)
	if why != "" {
		return none, why
	}
	var made subject.Identifier
	switch format {
	case "iss_sub":
		iss := n.issuers[place]
		if iss == "" {
			return none, "there is no source " + place + " whose issuer could be told"
		}
		made = subject.IssSub(iss, account)
	case "opaque":
		made = subject.Opaque(account)
	case "scim":
		made = subject.SCIM("/Users/"+url.PathEscape(account), "")
	default:
		return none, "the format " + format + " is not known"
	}
	if made.IsZero() {
		return none, "the account at " + place + " makes no valid identifier"
	}
	return made, ""
}

// email gives the address that the event used where it is one of the person's, else their first.
func (n *Namer) email(id *hub.Identity, sub subject.Identifier) (subject.Identifier, string) {
	if len(id.Emails) == 0 {
		return subject.Identifier{}, "the person has no e-mail address"
	}
	address := id.Emails[0]
	if used, ok := sub.Email(); ok {
		for _, e := range id.Emails {
			if subject.CanonicalEmail(e) == used {
				address = e
			}
		}
	}
	made := subject.Email(address)
	if made.IsZero() {
		return made, "the person's e-mail address makes no valid identifier"
	}
	return made, ""
}

// account gives the person's account id at a place: the only one, or of several the one that the event itself names
// there. Another one is never taken for it.
func (n *Namer) account(id *hub.Identity, place string, sub subject.Identifier) (account, why string) {
	var all []string
	for _, a := range id.Accounts {
		if a.At == place {
			all = append(all, a.ID)
		}
	}
	switch len(all) {
	case 0:
		return "", "the person has no account at " + place
	case 1:
		return all[0], ""
	}
	if iss, name, ok := sub.IssSub(); ok && iss == n.issuers[place] {
		for _, a := range all {
			if a == name {
				return a, ""
			}
		}
	}
	return "", fmt.Sprintf("the person has %d accounts at %s, and none is taken for the right one", len(all), place)
}

// rule reads a rule once.
func (n *Namer) rule(raw json.RawMessage) (*hub.SubjectRule, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.rules[string(raw)]; r != nil {
		return r, nil
	}
	r := new(hub.SubjectRule)
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, err
	}
	if len(n.rules) >= maxRules {
		clear(n.rules)
	}
	n.rules[string(raw)] = r
	return r, nil
}
