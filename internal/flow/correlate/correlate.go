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
var usual = []hub.Correlate{{Format: "iss_sub", As: "account_id"}, {Format: "email"}}

// Correlate finds out whom the signal is about. Its error is the store's; an unknown person is no error
// but a Result with a Reason.
func Correlate(ctx context.Context, st Store, in Input) (*Result, error) {
	c := &search{ctx: ctx, st: st, in: in, res: &Result{}}
	id, err := subject.Parse(in.Signal.SubID)
	if err != nil {
		return c.unresolved("the subject cannot be read"), nil
	}
	c.session(id)
	if _, ok := id.User(); !ok {
		return c.unresolved("the subject names no person: it has no user member"), nil
	}
	ways := in.Source.Correlate
	if len(ways) == 0 {
		ways = usual
	}
	byEmail := false
	for _, w := range ways {
		byEmail = byEmail || w.Format == "email"
		found, stop, err := c.try(w, id)
		if err != nil || found || stop {
			return c.res, err
		}
	}
	// Only when every declared way missed: an address that apps can look up is somebody, declared or not.
	if email, ok := id.Email(); ok && byEmail && in.LooksUp {
		c.res.Identity, c.res.Implicit = &hub.Identity{Name: email, Emails: []string{email}}, true
		return c.res, nil
	}
	if c.foreign && !c.looked {
		c.res.Code = "not_authorized"
	}
	return c.unresolved("nobody known fits the subject"), nil
}

type search struct {
	ctx context.Context
	st  Store
	in  Input
	res *Result
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

// session keeps the session that the subject names. Its id means something at the place that gave it and
// nowhere else: that is the source, whose place may also be an app.
func (c *search) session(id subject.Identifier) {
	s, ok := id.Session()
	if !ok {
		return
	}
	switch s.Format() {
	case subject.FormatOpaque:
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

// try goes one way. stop ends the search without a person: two people fit.
func (c *search) try(w hub.Correlate, id subject.Identifier) (found, stop bool, err error) {
	place := w.At
	if place == "" {
		place = c.in.Source.Name
	}
	var names []string
	way := w.Format
	switch w.Format {
	case "email":
		email, ok := id.Email()
		if !ok {
			c.miss("email: the subject has no e-mail address")
			return false, false, nil
		}
		names, err = c.st.FindIdentityByEmail(c.ctx, c.in.Signal.Tenant, email)
	case "iss_sub":
		way = "iss_sub as account at " + place
		iss, sub, ok := id.IssSub()
		if !ok {
			c.miss("iss_sub: the subject has no issuer and subject")
			return false, false, nil
		}
		accepted := w.Iss
		if len(accepted) == 0 {
			accepted = []string{c.in.Source.Issuer}
		}
		if !slices.Contains(accepted, iss) {
			c.miss("iss_sub: the subject's issuer is not one of those that this source may speak for")
			c.foreign = true
			return false, false, nil
		}
		names, err = c.st.FindIdentityByAccount(c.ctx, c.in.Signal.Tenant, place, sub)
	case "opaque":
		way = "opaque as account at " + place
		user, _ := id.User()
		if user.Format() != subject.FormatOpaque {
			c.miss("opaque: the subject has another format")
			return false, false, nil
		}
		names, err = c.st.FindIdentityByAccount(c.ctx, c.in.Signal.Tenant, place, user.Get("id"))
	default:
		c.miss("%s: this way is not known", w.Format)
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	c.looked = true
	switch len(names) {
	case 0:
		c.miss("%s: no identity has it", way)
		return false, false, nil
	case 1:
	default:
		c.miss("%s: %d identities have it", way, len(names))
		c.res.Code = "ambiguous_subject"
		c.unresolved(fmt.Sprintf("ambiguous: %d identities fit the subject, and none is taken for the right one", len(names)))
		return false, true, nil
	}
	identity, err := c.st.Identity(c.ctx, c.in.Signal.Tenant, names[0])
	if hub.CodeOf(err) == hub.NotFound && err != nil {
		c.miss("%s: the identity has just been deleted", way)
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	c.res.Identity = identity
	return true, false, nil
}
