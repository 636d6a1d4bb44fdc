package correlate

import (
	"context"
	"fmt"
	"slices"

	"countersign/internal/hub"
	"countersign/subject"
)

// Store is what correlation reads. All names are within one tenant.
type Store interface {
	// FindIdentityByEmail gives the names of the identities with that address; the address is canonical.
	FindIdentityByEmail(ctx context.Context, tenant, email string) ([]string, error)
	// FindIdentityByAccount gives the names of the identities with that account id at that place.
	FindIdentityByAccount(ctx context.Context, tenant, place, id string) ([]string, error)
	// FindIdentityByPhone gives the names of the identities with that number, written as + and digits.
	FindIdentityByPhone(ctx context.Context, tenant, number string) ([]string, error)
	// FindIdentityByDevice gives the names of the identities whose device has that id at that place.
	FindIdentityByDevice(ctx context.Context, tenant, place, id string) ([]string, error)
	// Identity gives one identity by name; hub.NotFound where there is none.
	Identity(ctx context.Context, tenant, name string) (*hub.Identity, error)
}

// Input is one signal and what is known about its place.
type Input struct {
	Signal *hub.Signal
	Source *hub.Source
	// LooksUp reports that at least one app finds its accounts by e-mail, so that an address nobody
	// declared can still be somebody's.
	LooksUp bool
	// Wildcards reports that the partner profile of the source writes the session ALL for every session, as Keycloak does.
	Wildcards bool
}

// Result is whom a signal is about.
type Result struct {
	// Identity is who it is; nil when unresolved. An address nobody declared is an implicit identity:
	// its name is the address, and its only e-mail.
	Identity *hub.Identity
	Implicit bool
	// Session is the session id that the subject names, and SessionAt the place in whose name space it stands.
	Session   string
	SessionAt string
	// Misses are the ways that did not answer, in the order in which they were tried. They hold no subject.
	Misses []string
	// Reason says why nobody was found; empty when somebody was.
	Reason string
	// Code is the reason code of a receipt that says so: no_such_subject, ambiguous_subject where several people
	// fit, or not_authorized where the source has no authority over the subject, so that the answer does not tell
	// whether it exists (receipts design §8). Empty when somebody was found.
	Code string
}

// usual is the order of a source that does not say one (hub.Source.Correlate).
var usual = []hub.Correlate{{Format: subject.FormatIssSub, As: asAccount}, {Format: subject.FormatEmail}}

// Correlate finds out whom the signal is about. Its error is the store's; an unknown person is no error
// but a Result with a Reason.
func Correlate(ctx context.Context, st Store, in Input) (*Result, error) {
	c := &search{ctx: ctx, st: st, in: in, res: &Result{}, first: map[string]string{}}
	id, err := subject.Parse(in.Signal.SubID)
	if err != nil {
		return c.unresolved("the subject cannot be read"), nil
	}
	c.session(id)
	if tooMany(id) {
		return c.unresolved(fmt.Sprintf("the subject has more than %d names", maxNames)), nil
	}
	ways, bounds := split(in.Source.Correlate)
	if why := c.outside(id, bounds); why != "" {
		c.res.Code = "not_authorized"
		return c.unresolved(why), nil
	}
	user, named := id.User()
	if named {
		if err := c.member(subject.PartUser, user, ways); err != nil {
			return nil, err
		}
	}
	tried := named
	for _, name := range others(ways) {
		part, ok := id.Part(name)
		switch {
		case !ok:
			c.miss("%s: the subject has no such member", name)
		case named && len(c.found) == 0:
			// All members are of one principal: whoever has the device is not the user named beside it. SSF 1.0 §3.3.1
			c.miss("%s: not asked, since the subject names a user whom nobody fits", name)
		default:
			tried = true
			if err := c.member(name, part, ways); err != nil {
				return nil, err
			}
		}
	}
	switch {
	case !tried:
		return c.unresolved(nobody(id)), nil
	case c.several > 1:
		c.res.Code = "ambiguous_subject"
		return c.unresolved(fmt.Sprintf("ambiguous: %d identities fit the subject, and none is taken for the right one", c.several)), nil
	case len(c.found) > 0:
		c.res.Identity = c.found[0]
		return c.res, nil
	}
	// Only when every declared way missed: an address that apps can look up is somebody, declared or not.
	if in.LooksUp && len(c.addresses) == 1 {
		email := c.addresses[0]
		c.res.Identity, c.res.Implicit = &hub.Identity{Name: email, Emails: []string{email}}, true
		return c.res, nil
	}
	if in.LooksUp && len(c.addresses) > 1 {
		c.miss("email: several addresses, none of them declared, and none is taken for the right one")
	}
	if c.foreign && !c.looked {
		c.res.Code = "not_authorized"
	}
	return c.unresolved("nobody known fits the subject"), nil
}

// maxNames is how many names one member of a subject may have: each costs look-ups, and nobody has more. To look at some of
// them only would hide that the others are somebody else's.
const maxNames = 100

func tooMany(id subject.Identifier) bool {
	if len(spellings(id)) > maxNames {
		return true
	}
	return slices.ContainsFunc(id.Parts(), func(name string) bool {
		part, _ := id.Part(name)
		return len(spellings(part)) > maxNames
	})
}

// split takes the ways that find somebody from those that only say which subjects are ours (hub.Correlate.Is).
func split(all []hub.Correlate) (ways, bounds []hub.Correlate) {
	for _, w := range all {
		if len(w.Is) > 0 {
			bounds = append(bounds, w)
		} else {
			ways = append(ways, w)
		}
	}
	if len(ways) == 0 {
		ways = usual
	}
	return ways, bounds
}

// outside says why a subject is not ours: a member that is bounded has none of the values that are written. A subject
// without the member is within. All members are of one principal, so that a tenant that is not ours makes the user one
// that is not ours either. SSF 1.0 §3.3.1
func (c *search) outside(id subject.Identifier, bounds []hub.Correlate) string {
	for n, first := range bounds {
		name := partOf(first)
		part, ok := id.Part(name)
		if !ok || slices.ContainsFunc(bounds[:n], func(w hub.Correlate) bool { return partOf(w) == name }) {
			continue
		}
		within := slices.ContainsFunc(bounds[n:], func(w hub.Correlate) bool {
			return partOf(w) == name && slices.ContainsFunc(spellings(part), func(id subject.Identifier) bool {
				if w.Format != id.Format() {
					return false
				}
				value, why := c.value(w, id)
				return why == "" && slices.Contains(w.Is, value)
			})
		})
		if !within {
			return "the subject is of a " + name + " that is not ours"
		}
	}
	return ""
}

// nobody says why a subject that names nobody leads nowhere. Members of a group, of a tenant, or of whatever else stands for
// many are not acted on without a rule that says whom it means.
func nobody(id subject.Identifier) string {
	for _, name := range []string{subject.PartGroup, subject.PartTenant, subject.PartOrgUnit, subject.PartApplication, subject.PartDevice, subject.PartSession} {
		if _, ok := id.Part(name); ok {
			return "the subject names a " + name + " and no person, and no rule of the source says whom that means"
		}
	}
	return "the subject names no person: it has no user member"
}

// others lists the members besides the user that the ways speak of, each once.
func others(ways []hub.Correlate) (names []string) {
	for _, w := range ways {
		if p := partOf(w); p != subject.PartUser && !slices.Contains(names, p) {
			names = append(names, p)
		}
	}
	return names
}

func partOf(w hub.Correlate) string {
	if w.Part == "" {
		return subject.PartUser
	}
	return w.Part
}

type search struct {
	ctx context.Context
	st  Store
	in  Input
	res *Result
	// found are the identities that answered, each once; several is how many people fit where more than one does.
	found   []*hub.Identity
	several int
	first   map[string]string // by identity the way that found it
	// addresses are the user's e-mail addresses that a way looked for, each once, as they were given.
	addresses []string
	// foreign: the subject's issuer is another than those the source may speak for. looked: a way led to a look-up.
	foreign, looked bool
}

func (c *search) miss(format string, args ...any) {
	c.res.Misses = append(c.res.Misses, fmt.Sprintf(format, args...))
}

func (c *search) unresolved(reason string) *Result {
	c.res.Reason = reason
	if c.res.Code == "" {
		c.res.Code = "no_such_subject"
	}
	return c.res
}

// allSessions is what Keycloak writes in place of a session's id where it means all of them.
const allSessions = "ALL"

// session keeps the session that the subject names. Its id means something at the place that gave it and
// nowhere else: that is the source, whose place may also be an app.
func (c *search) session(id subject.Identifier) {
	s, ok := id.Session()
	if !ok {
		return
	}
	switch s.Format() {
	case subject.FormatOpaque:
		if c.in.Wildcards && s.Get("id") == allSessions {
			c.miss("session: %s stands for every session and is the id of none", allSessions)
			return
		}
		c.res.Session = s.Get("id")
	case subject.FormatIssSub:
		if s.Get("iss") != c.in.Source.Issuer {
			c.miss("session: its issuer is not the source's")
			return
		}
		c.res.Session = s.Get("sub")
	default:
		c.miss("session: a session of format %s names no id", s.Format())
		return
	}
	c.res.SessionAt = c.in.Source.Name
}

// spellings are the identifiers of one principal: of aliases each one, else the identifier itself.
func spellings(id subject.Identifier) []subject.Identifier {
	if id.Format() == subject.FormatAliases {
		return id.Aliases()
	}
	return []subject.Identifier{id}
}

// member goes the ways of one member of the subject. An identifier stops at the first way that answers; of aliases each one
// is asked, so that two which lead to two people show (RFC 9493 §3.2.8).
func (c *search) member(name string, id subject.Identifier, ways []hub.Correlate) error {
	ids := spellings(id)
	answered := make([]bool, len(ids))
	for _, w := range ways {
		if partOf(w) != name {
			continue
		}
		fits := false
		for n, one := range ids {
			if one.Format() != w.Format {
				continue
			}
			fits = true
			if answered[n] {
				continue
			}
			var err error
			if answered[n], err = c.try(w, one); err != nil || c.several > 1 {
				return err
			}
		}
		switch {
		case !fits && !slices.Contains(answered, true):
			c.miss("%s: %s", label(w), otherFormat(w.Format))
		case fits && len(ids) == 1 && answered[0]:
			return nil
		}
	}
	return nil
}

// try goes one way with one identifier, and reports whether it answered.
func (c *search) try(w hub.Correlate, id subject.Identifier) (bool, error) {
	keys, why := c.keys(w, id)
	if why != "" {
		c.miss("%s: %s", label(w), why)
		return false, nil
	}
	for _, k := range keys {
		names, err := k.find(c.ctx, c.st, c.in.Signal.Tenant)
		if err != nil {
			return false, err
		}
		c.looked = true
		if k.exact != "" && len(names) > 0 {
			if names, err = c.written(names, k.exact); err != nil {
				return false, err
			}
			if len(names) == 0 {
				c.miss("%s: no identity has it in this case", k.way)
				continue
			}
		}
		switch len(names) {
		case 0:
			c.miss("%s: no identity has it", k.way)
			continue
		case 1:
		default:
			c.miss("%s: %d identities have it", k.way, len(names))
			c.several = len(names)
			return false, nil
		}
		name := names[0]
		if _, known := c.first[name]; known {
			return true, nil
		}
		identity, err := c.st.Identity(c.ctx, c.in.Signal.Tenant, name)
		if hub.CodeOf(err) == hub.NotFound && err != nil {
			c.miss("%s: the identity has just been deleted", k.way)
			continue
		}
		if err != nil {
			return false, err
		}
		for _, way := range c.first { // there is at most one
			c.miss("%s: another identity has it than the one that %s found", k.way, way)
		}
		c.first[name] = k.way
		c.found = append(c.found, identity)
		if len(c.found) > 1 {
			c.several = len(c.found)
		}
		return true, nil
	}
	return false, nil
}

// written keeps the identities that have an address in just this spelling.
func (c *search) written(names []string, exact string) (kept []string, err error) {
	for _, name := range names {
		identity, err := c.st.Identity(c.ctx, c.in.Signal.Tenant, name)
		if hub.CodeOf(err) == hub.NotFound && err != nil {
			continue
		}
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(identity.Emails, func(e string) bool { return spelling(e) == exact }) {
			kept = append(kept, name)
		}
	}
	return kept, nil
}
