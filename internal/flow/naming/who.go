package naming

import (
	"context"
	"slices"
	"time"

	"countersign/internal/hub"
	"countersign/subject"
)

// who finds the person that a subject is, for an event that comes from no source: by its e-mail address, and by an
// issuer that a source may speak for. Where these lead to different people, it is nobody. An opaque id means
// something at one place only, and the event does not say at which.
func (n *Namer) who(ctx context.Context, sub subject.Identifier) (*Person, error) {
	key, now := sub.Key(), n.Now()
	if p := n.remembered(key, now); p != nil {
		return p, nil
	}
	p, err := n.look(ctx, sub)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.remember(key, found{person: p, until: now.Add(memory)})
	return p, nil
}

// remembered gives what was found lately, or nil.
func (n *Namer) remembered(key [16]byte, now time.Time) *Person {
	n.mu.Lock()
	defer n.mu.Unlock()
	f, ok := n.known[key]
	if !ok {
		if f, ok = n.older[key]; ok && now.Before(f.until) {
			n.remember(key, f)
		}
	}
	if ok && now.Before(f.until) {
		return f.person
	}
	return nil
}

// remember keeps a look-up; what was not asked for while as many others came is forgotten.
func (n *Namer) remember(key [16]byte, f found) {
	if len(n.known) >= maxKnown {
		n.known, n.older = make(map[[16]byte]found, maxKnown/4), n.known
	}
	n.known[key] = f
}

func (n *Namer) look(ctx context.Context, sub subject.Identifier) (*Person, error) {
	user, ok := sub.User()
	if !ok {
		return &Person{Why: "the subject names no person"}, nil
	}
	var names []string
	email, byEmail := sub.Email()
	if byEmail {
		some, err := n.Store.FindIdentityByEmail(ctx, n.Tenant, email)
		if err != nil {
			return nil, err
		}
		names = append(names, some...)
	}
	if iss, account, ok := sub.IssSub(); ok {
		for _, place := range n.speaks[iss] {
			some, err := n.Store.FindIdentityByAccount(ctx, n.Tenant, place, account)
			if err != nil {
				return nil, err
			}
			names = append(names, some...)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	switch {
	case len(names) > 1:
		return &Person{Why: "several people fit the subject, and none is taken for the right one"}, nil
	case len(names) == 1:
		id, err := n.Store.Identity(ctx, n.Tenant, names[0])
		if err == nil {
			return &Person{Identity: id}, nil
		}
		if hub.CodeOf(err) != hub.NotFound {
			return nil, err
		}
	}
	switch {
	case byEmail:
		return &Person{Identity: &hub.Identity{Name: email, Emails: []string{email}}}, nil
	case user.Format() == subject.FormatOpaque:
		return &Person{Why: "an opaque subject says nobody without the source that it came from"}, nil
	}
	return &Person{Why: "nobody known fits the subject"}, nil
}
