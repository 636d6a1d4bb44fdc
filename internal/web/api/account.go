package api

import (
	"context"
	"fmt"
	"hash/maphash"
	"net/http"
	"slices"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/internal/resource"
	"countersign/internal/store"
	"countersign/subject"
)

// AppAccount is one account of an app's own list.
type AppAccount struct {
	ID     string
	Emails []string
}

// listAccounts lists the accounts that identities have, at places of any kind.
func (d *Door) listAccounts(w http.ResponseWriter, r *request) error {
	p, q, err := query(r.Request, "at", "identity")
	if err != nil {
		return err
	}
	l, err := d.c.People.ListAccounts(r.Context(), r.tenant, store.AccountFilter{At: q.Get("at"), Identity: q.Get("identity")}, p)
	if err != nil {
		return err
	}
	return writePage(w, l)
}

// showAccount tells whose an account is. More than one identity is possible, and a signal about it is then ambiguous.
func (d *Door) showAccount(w http.ResponseWriter, r *request) error {
	at, err := ref(r, "at")
	if err != nil {
		return err
	}
	id, err := ref(r, "id")
	if err != nil {
		return err
	}
	all, _, err := d.c.People.AccountsAt(r.Context(), r.tenant, at, []string{id}, nil)
	if err != nil {
		return err
	}
	if len(all[id]) == 0 || strings.HasPrefix(at, "#") {
		return hub.Errorf(hub.NotFound, "no identity has an account %q at %s", short(id), short(at)).WithHint("countersign account list --at %s", short(at))
	}
	return writeJSON(w, http.StatusOK, page[store.Account]{Items: all[id]})
}

// AccountImportRequest asks for the accounts of an app.
type AccountImportRequest struct {
	App    string `json:"app"`
	Set    string `json:"set"` // import-APP by default
	DryRun bool   `json:"dry_run"`
	Prune  bool   `json:"prune"`  // forget accounts of the set that the list does not have
	Create bool   `json:"create"` // an identity for each account whose address nobody has
}

// importAccounts reads an app's own list of accounts, page by page, and ties each account to the one identity that has one
// of its addresses.
func (d *Door) importAccounts(w http.ResponseWriter, r *request) error {
	data, err := readBody(w, r.Request, maxBody)
	if err != nil {
		return err
	}
	var req AccountImportRequest
	if err := decodeBody(data, maxBody, &req); err != nil {
		return err
	}
	if req.Set == "" {
		req.Set = "import-" + req.App
	}
	switch {
	case req.App == "":
		return hub.Errorf(hub.Invalid, "whose accounts? name an app").WithHint("countersign app list")
	case !setForm.MatchString(req.Set):
		return hub.Errorf(hub.Invalid, "a set is named like a resource, not %q", short(req.Set))
	case d.c.Accounts == nil:
		return hub.Errorf(hub.Invalid, "this hub reads no lists of accounts")
	}
	first, next, err := d.c.Accounts(r.Context(), r.tenant, req.App, "", 1)
	if err != nil {
		return err
	}
	t := &tying{d: d, r: r, req: req, began: time.Now(), seen: map[uint64]struct{}{}, seed: maphash.MakeSeed(), done: ImportDone{DryRun: req.DryRun, Set: req.Set}}
	t.lines = d.lines(w, r)
	if err := t.run(r.Context(), first, next); err != nil {
		t.lines.fail(err)
	}
	return nil
}

// tying is one import of accounts on its way.
type tying struct {
	d             *Door
	r             *request
	req           AccountImportRequest
	began         time.Time
	lines         *lines
	done          ImportDone
	told, changes int
	seen          map[uint64]struct{} // hashes of the ids of the list
	seed          maphash.Seed
	wrote         bool
}

// maxPages is how many pages a list may have.
const maxPages = 100_000

func (t *tying) run(ctx context.Context, page []AppAccount, next string) (err error) {
	defer func() {
		if t.wrote {
			generation, lerr := t.d.landed(ctx, t.r.tenant)
			t.done.Generation, t.done.Written = generation, true
			if err == nil {
				err = lerr
			}
		}
		if err == nil {
			t.done.Written = !t.req.DryRun
			t.done.TookMS = time.Since(t.began).Milliseconds()
			t.lines.write(importLine{Done: &t.done})
		}
	}()
	for number := 2; ; number++ {
		if err := t.page(ctx, page); err != nil {
			return err
		}
		t.lines.write(importLine{Progress: &ImportProgress{Phase: "write", Rows: t.done.Rows, Bad: t.done.Bad}})
		if next == "" {
			break
		}
		if number > maxPages {
			return hub.Errorf(hub.Invalid, "the list of %s does not end after %d pages", t.req.App, maxPages)
		}
		if page, next, err = t.d.c.Accounts(ctx, t.r.tenant, t.req.App, next, number); err != nil {
			return err
		}
	}
	if t.req.Prune {
		return t.prune(ctx)
	}
	return nil
}

// page ties the accounts of one page.
func (t *tying) page(ctx context.Context, page []AppAccount) error {
	var ids, emails []string
	var fresh []AppAccount
	for _, a := range page {
		t.done.Rows++
		key := maphash.String(t.seed, a.ID)
		if _, twice := t.seen[key]; twice {
			t.bad(a.ID, "the list has this account twice")
			continue
		}
		t.seen[key] = struct{}{}
		fresh, ids = append(fresh, a), append(ids, a.ID)
		emails = append(emails, a.Emails...)
	}
	byID, byEmail, err := t.d.c.People.AccountsAt(ctx, t.r.tenant, t.req.App, ids, emails)
	if err != nil {
		return err
	}
	var found []string
	for _, names := range byEmail {
		found = append(found, names...)
	}
	slices.Sort(found)
	guarded, err := t.d.c.People.Protected(ctx, t.r.tenant, slices.Compact(found))
	if err != nil {
		return err
	}
	var tie []store.Account
	var create []hub.Resource
	creating := map[string]bool{}
	for _, a := range fresh {
		var people []string
		for _, e := range a.Emails {
			for _, name := range byEmail[subject.CanonicalEmail(e)] {
				if !slices.Contains(people, name) {
					people = append(people, name)
				}
			}
		}
		has := byID[a.ID]
		switch {
		case len(has) > 0 && (len(people) == 0 || len(people) == 1 && slices.ContainsFunc(has, func(h store.Account) bool { return h.Identity == people[0] })):
			t.done.Unchanged++
		case len(has) > 0 && len(people) == 1 && slices.ContainsFunc(has, func(h store.Account) bool { return h.Imported == 0 }):
			t.bad(a.ID, "identity "+has[0].Identity+" names this account as its own, and its address is "+people[0]+"'s")
		case len(people) > 1:
			t.bad(a.ID, fmt.Sprintf("ambiguous: %d identities have an address of it, and none is taken for the right one", len(people)))
		case len(people) == 1 && guarded[people[0]]:
			// In many apps people write their addresses themselves: whoever wrote this one would have nothing act on them any more.
			t.bad(a.ID, "its address is that of identity "+people[0]+", who is protected: if it is theirs, declare it at the identity")
		case len(people) == 1:
			tie = append(tie, store.Account{At: t.req.App, ID: a.ID, Identity: people[0]})
			t.tell(people[0])
		case !t.req.Create || len(a.Emails) == 0:
			if t.done.Unmatched++; len(a.Emails) == 0 {
				t.fault(a.ID, "it has no address, and no identity names it")
			} else {
				t.fault(a.ID, "no identity has its address")
			}
		default:
			res, why := resource.NewPerson(a.Emails, t.req.Set)
			if why == "" && creating[res.Name] {
				why = "two accounts of one page have its address"
			}
			if why != "" {
				t.bad(a.ID, why)
				continue
			}
			creating[res.Name] = true
			create = append(create, *res)
			tie = append(tie, store.Account{At: t.req.App, ID: a.ID, Identity: res.Name})
			t.tell(res.Name)
		}
	}
	// An account that went from one person to another leaves the first.
	var moved []store.Account
	for _, a := range tie {
		for _, h := range byID[a.ID] {
			if h.Imported != 0 && h.Identity != a.Identity {
				moved = append(moved, h)
			}
		}
	}
	t.done.Created += len(tie) - len(moved)
	t.done.Updated += len(moved)
	if t.req.DryRun || len(tie) == 0 {
		return nil
	}
	t.wrote = true
	if len(create) > 0 {
		got, err := t.d.c.People.ImportIdentities(ctx, t.r.tenant, create, false)
		if err != nil {
			return err
		}
		for _, name := range got.Foreign {
			t.bad(name, "an identity of this name is there and does not belong to the set "+t.req.Set)
			tie = slices.DeleteFunc(tie, func(a store.Account) bool { return a.Identity == name })
			t.done.Created--
		}
	}
	if _, err := t.d.c.People.DeleteImported(ctx, t.r.tenant, moved); err != nil {
		return err
	}
	_, err = t.d.c.People.ImportAccounts(ctx, t.r.tenant, t.req.Set, tie)
	return err
}

// prune forgets the accounts of the set that the whole list does not have.
func (t *tying) prune(ctx context.Context) error {
	var after store.Account
	for {
		some, err := t.d.c.People.ImportedAt(ctx, t.r.tenant, t.req.Set, t.req.App, after, importBatch)
		if err != nil || len(some) == 0 {
			return err
		}
		after = some[len(some)-1]
		gone := slices.DeleteFunc(slices.Clone(some), func(a store.Account) bool {
			_, there := t.seen[maphash.String(t.seed, a.ID)]
			return there
		})
		t.done.Deleted += len(gone)
		if t.req.DryRun {
			for _, a := range gone {
				if t.changes++; t.changes <= maxTold {
					t.lines.write(importLine{Change: &Step{Op: "delete", Kind: "account", Name: a.Identity}})
				}
			}
			continue
		}
		if len(gone) > 0 {
			t.wrote = true
		}
		if _, err := t.d.c.People.DeleteImported(ctx, t.r.tenant, gone); err != nil {
			return err
		}
	}
}

// bad counts an account that is not taken; fault only tells of one.
func (t *tying) bad(id, reason string) {
	t.done.Bad++
	t.fault(id, reason)
}

func (t *tying) fault(id, reason string) {
	if t.told++; t.told <= maxTold {
		t.lines.write(importLine{Bad: &ImportFault{Name: short(id), Reason: clipped(reason)}})
	}
}

func (t *tying) tell(identity string) {
	if t.changes++; t.req.DryRun && t.changes <= maxTold {
		t.lines.write(importLine{Change: &Step{Op: "create", Kind: "account", Name: identity}})
	}
}
