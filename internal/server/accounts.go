package server

import (
	"context"
	"time"

	"countersign/internal/connector"
	"countersign/internal/hub"
	"countersign/internal/web/api"
)

// listTries is how often one page of an app's list is asked for before the import ends.
const listTries = 5

// accountsOf reads one page of an app's own list of accounts. A page that is not answered is asked for again, which harms
// nothing: the operation only reads.
func (s *Server) accountsOf(ctx context.Context, tenant, name, next string, number int) ([]api.AppAccount, string, error) {
	t, err := s.must(tenant)
	if err != nil {
		return nil, "", err
	}
	v := t.view.Load()
	app := v.apps[name]
	switch {
	case app == nil && v.broken["app "+name] != "":
		return nil, "", hub.Errorf(hub.Invalid, "the app %s cannot be used now: %s", name, v.broken["app "+name])
	case app == nil:
		return nil, "", hub.Errorf(hub.NotFound, "there is no app %q", name).WithHint("countersign app list")
	case !app.Pack.Offers(hub.OpListAccounts):
		return nil, "", hub.Errorf(hub.Invalid, "the pack %s has no list_accounts", app.Pack.ID).WithHint("countersign identity import FILE takes accounts from a file")
	}
	for try := 1; ; try++ {
		listed, after, a := s.runner.Accounts(ctx, app, next, number)
		if a.Class == connector.Done {
			out := make([]api.AppAccount, len(listed))
			for i, l := range listed {
				out[i] = api.AppAccount{ID: l.ID, Emails: l.Emails}
			}
			return out, after, nil
		}
		if a.Class != connector.Retry || try == listTries {
			return nil, "", hub.Errorf(hub.Unavailable, "the app %s did not list its accounts (page %d, status %d, %s): %s", name, number, a.Status, a.Reason, a.Note).
				WithHint("what was read before is written; run the import again when the app answers")
		}
		wait := a.RetryAfter
		if wait == 0 {
			wait = time.Duration(try) * 500 * time.Millisecond
		}
		select {
		case <-ctx.Done():
			return nil, "", ctx.Err()
		case <-time.After(min(wait, time.Minute)):
		}
	}
}
