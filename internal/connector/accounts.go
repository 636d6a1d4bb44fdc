package connector

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"countersign/internal/expr"
	"countersign/internal/hub"
)

// Listed is one account of an app's list.
type Listed struct {
	ID     string
	Emails []string
}

// Limits of one page.
const (
	maxListed = 10_000
	maxEmails = 20
	maxNext   = 2048
)

// Accounts asks the app for one page of its accounts: next is what the page before gave, empty for the first, and number
// counts the pages from 1. It gives where the next page begins, empty after the last. A page whose next is the one that it
// was asked with is refused, since it would never end.
func (r *Runner) Accounts(ctx context.Context, app *App, next string, number int) ([]Listed, string, Answer) {
	a, vars := r.exchange(ctx, app, hub.OpListAccounts, Input{Page: next, PageNumber: number})
	if a.Class != Done {
		return nil, "", a
	}
	o := app.Pack.ops[hub.OpListAccounts]
	listed, err := listedOf(o.accounts, vars)
	if err != nil {
		return nil, "", unreadable(app, a, "accounts", err)
	}
	after := ""
	if o.next != nil {
		v, err := o.next.Value(vars)
		switch x := v.(type) {
		case string:
			after = x
		case int64:
			after = fmt.Sprint(x)
		case nil:
		default:
			err = errors.Join(err, errors.New("text is wanted"))
		}
		if err == nil && len(after) > maxNext {
			err = errors.New("it is too long")
		}
		if err == nil && after != "" && after == next {
			err = errors.New("the page goes on with itself")
		}
		if err != nil {
			return nil, "", unreadable(app, a, "next", err)
		}
	}
	return listed, after, a
}

// listedOf reads a list of {"id": ID, "emails": [ADDRESS]} or {"id": ID, "email": ADDRESS}.
func listedOf(p *expr.Program, vars map[string]any) ([]Listed, error) {
	v, err := p.Value(vars)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, errors.New("a list is wanted")
	}
	if len(list) > maxListed {
		return nil, fmt.Errorf("more than %d entries in one page", maxListed)
	}
	out := make([]Listed, 0, len(list))
	for _, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			return nil, errors.New("an entry is no object")
		}
		var l Listed
		switch x := m["id"].(type) {
		case string:
			l.ID = x
		case int64:
			l.ID = fmt.Sprint(x)
		}
		if l.ID == "" || len(l.ID) > 512 {
			return nil, errors.New("an entry has no usable id")
		}
		add := func(v any) error {
			address, ok := v.(string)
			switch {
			case v == nil || ok && address == "":
				return nil
			case !ok || len(address) > 320:
				return errors.New("an entry has an address that is none")
			case !slices.Contains(l.Emails, address):
				l.Emails = append(l.Emails, address)
			}
			return nil
		}
		if err := add(m["email"]); err != nil {
			return nil, err
		}
		if all, ok := m["emails"].([]any); ok {
			if len(all) > maxEmails {
				return nil, fmt.Errorf("an entry has more than %d addresses", maxEmails)
			}
			for _, one := range all {
				if err := add(one); err != nil {
					return nil, err
				}
			}
		} else if m["emails"] != nil {
			return nil, errors.New("emails of an entry is no list")
		}
		out = append(out, l)
	}
	return out, nil
}
