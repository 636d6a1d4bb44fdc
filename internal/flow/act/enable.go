package act

import (
	"context"

	"countersign/internal/hub"
	"countersign/internal/store"
)

// leftOpen puts before an enable what the latest disable of this account did not finish (design §3, the table):
// sessions of a disabled account come back to life when it is enabled. After a disable that ended well, or one that
// was not ours, there is nothing to finish, and nobody's sessions are touched.
func (r *run) leftOpen(ctx context.Context) error {
	a, p := r.a, r.p
	if a.Name != hub.EnableAccount || p.Asked || a.Attempts > 0 {
		return nil
	}
	last, err := r.lastDisable(ctx)
	if err != nil {
		return err
	}
	p.Asked = true
	if last == nil || last.State == hub.Succeeded || last.State == hub.Skipped || last.Attempts == 0 {
		return nil
	}
	var first []planned
	for _, s := range hub.Steps(hub.DisableAccount, "") {
		switch {
		case s.Op == hub.OpDisableAccount:
		case r.app.Pack.Offers(s.Op):
			first = append(first, planned{Op: s.Op})
		case s.OrElse != "" && r.app.Pack.Offers(s.OrElse) && r.app.Pack.Offers(hub.OpListSessions):
			first = append(first, planned{Op: s.OrElse, Each: s.ForEach})
		default:
			p.Missing = append(p.Missing, s.Op)
		}
	}
	p.Plan = append(first, p.Plan...)
	return nil
}

// lastDisable is the newest disable_account of this account that no enable followed; nil: there is none.
func (r *run) lastDisable(ctx context.Context) (*hub.Action, error) {
	a := r.a
	page := hub.Page{Limit: hub.PageMax}
	for {
		list, err := r.Store.ListActions(ctx, a.Tenant, store.ActionFilter{App: a.App, Identity: a.Identity}, page)
		if err != nil {
			return nil, err
		}
		for _, b := range list.Items { // newest first
			if b.ID == a.ID || b.Account != a.Account {
				continue
			}
			switch {
			case b.Name == hub.DisableAccount && b.Attempts > 0:
				return b, nil
			case b.Name == hub.EnableAccount && b.State == hub.Succeeded:
				return nil, nil
			}
		}
		if list.Next == "" {
			return nil, nil
		}
		page.After = list.Next
	}
}
