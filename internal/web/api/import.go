package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/internal/resource"
	"countersign/internal/store"
)

// Limits of an import.
const (
	maxImport   = 1 << 30 // bytes of a file
	importBatch = 5000    // identities in one transaction
	maxTold     = 1000    // faults and changes that are told one by one; all are counted
)

// People is what imports need of *store.Store.
type People interface {
	ImportIdentities(ctx context.Context, tenant string, batch []hub.Resource, dry bool) (store.Imported, error)
	IdentitiesOfSet(ctx context.Context, tenant, set, after string, n int) (names []string, next string, err error)
	DeleteIdentities(ctx context.Context, tenant, set string, names []string) (int, error)
	Touch(ctx context.Context, tenant string) (int64, error)
	ListAccounts(ctx context.Context, tenant string, f store.AccountFilter, p hub.Page) (hub.Listed[store.Account], error)
	AccountsAt(ctx context.Context, tenant, place string, ids, emails []string) (byID map[string][]store.Account, byEmail map[string][]string, err error)
	Protected(ctx context.Context, tenant string, names []string) (map[string]bool, error)
	ImportAccounts(ctx context.Context, tenant, set string, accounts []store.Account) (int, error)
	ImportedAt(ctx context.Context, tenant, set, place string, after store.Account, n int) ([]store.Account, error)
	DeleteImported(ctx context.Context, tenant string, accounts []store.Account) (int, error)
}

// ImportFault is one row or account that was not taken.
type ImportFault struct {
	Line   int    `json:"line,omitempty"` // of the file
	Name   string `json:"name,omitempty"` // of the identity, or the id of the account
	Reason string `json:"reason"`
}

// ImportDone is the last line of an import.
type ImportDone struct {
	DryRun    bool     `json:"dry_run"`
	Written   bool     `json:"written"` // false too where rows were wrong and skip_bad was not said
	Set       string   `json:"set"`
	Rows      int      `json:"rows"` // rows of the file, or accounts of the list
	Created   int      `json:"created"`
	Updated   int      `json:"updated"`
	Unchanged int      `json:"unchanged"`
	Deleted   int      `json:"deleted"`
	Bad       int      `json:"bad"`
	Ignored   []string `json:"ignored_columns,omitempty"`
	// Unmatched counts accounts whose addresses nobody has; for account import only.
	Unmatched  int   `json:"unmatched,omitempty"`
	TookMS     int64 `json:"took_ms"`
	Generation int64 `json:"generation,omitempty"`
}

// ImportProgress is a line on the way.
type ImportProgress struct {
	Phase string `json:"phase"` // check | write | prune
	Rows  int    `json:"rows"`
	Bad   int    `json:"bad,omitempty"`
}

// importLine is one line of the answer: one of its members.
type importLine struct {
	Progress *ImportProgress `json:"progress,omitempty"`
	Bad      *ImportFault    `json:"bad,omitempty"`
	Change   *Step           `json:"change,omitempty"`
	Done     *ImportDone     `json:"done,omitempty"`
	Error    *problem        `json:"error,omitempty"`
}

// flags reads a query of true and false, and the others that are known.
func flags(r *http.Request, yesNo []string, others ...string) (map[string]bool, url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, nil, hub.Errorf(hub.Invalid, "the query cannot be read")
	}
	out := map[string]bool{}
	for name, values := range q {
		switch {
		case slices.Contains(yesNo, name):
			if len(values) != 1 || values[0] != "true" && values[0] != "false" {
				return nil, nil, hub.Errorf(hub.Invalid, "parameter %q is true or false", name)
			}
			out[name] = values[0] == "true"
		case !slices.Contains(others, name):
			return nil, nil, hub.Errorf(hub.Invalid, "unknown parameter %q", short(name)).WithHint("known parameters: %s", strings.Join(append(slices.Clone(yesNo), others...), ", "))
		}
	}
	return out, q, nil
}

// importIdentities reads identities from a CSV file and writes them, or says what it would write. Unless skip_bad is said
// nothing is written where a row is wrong.
func (d *Door) importIdentities(w http.ResponseWriter, r *request) error {
	yes, q, err := flags(r.Request, []string{"dry_run", "skip_bad", "prune"}, "set", "map")
	if err != nil {
		return err
	}
	if yes["prune"] && yes["skip_bad"] {
		return hub.Errorf(hub.Invalid, "prune and skip_bad do not go together: an identity whose row is wrong would be deleted").WithHint("put the rows right first")
	}
	o := resource.RosterOptions{Set: q.Get("set"), Columns: map[string]string{}}
	if o.Set == "" {
		o.Set = "import"
	}
	for _, m := range q["map"] {
		column, what, ok := cutLast(m, "=")
		if _, twice := o.Columns[column]; !ok || column == "" || twice || len(q["map"]) > 200 {
			return hub.Errorf(hub.Invalid, "map is COLUMN=FIELD, each column once").WithHint("as in map=userName=name, or map=*=- to leave out what is no field")
		}
		o.Columns[column] = what
	}
	if mt, params, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mt != "text/csv" || params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8") {
		return withStatus(http.StatusUnsupportedMediaType, hub.Errorf(hub.Invalid, "the body must be text/csv in UTF-8"))
	}
	file, err := d.spool(w, r)
	if err != nil {
		return err
	}
	defer file.Close()
	i := &importing{d: d, r: r, file: file, o: o, dry: yes["dry_run"], skip: yes["skip_bad"], prune: yes["prune"], began: time.Now()}
	i.done = ImportDone{DryRun: i.dry, Set: o.Set}
	if i.roster, err = i.open(); err != nil {
		return err
	}
	i.lines = d.lines(w, r)
	if err := i.run(r.Context()); err != nil {
		i.lines.fail(err)
	}
	return nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// spool keeps the body in a file that nobody else sees and that is gone with this process, since it is read twice: all of it
// is checked before anything is written.
func (d *Door) spool(w http.ResponseWriter, r *request) (*os.File, error) {
	file, err := os.CreateTemp("", "countersign-import-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil { // the open file stays readable
		file.Close()
		return nil, err
	}
	control := http.NewResponseController(w)
	body := http.MaxBytesReader(w, r.Body, maxImport)
	for {
		_ = control.SetReadDeadline(time.Now().Add(longest))
		_, err := io.CopyN(file, body, 1<<20)
		var tooBig *http.MaxBytesError
		switch {
		case err == io.EOF:
			_ = control.SetReadDeadline(time.Time{})
			return file, nil
		case errors.As(err, &tooBig):
			err = withStatus(http.StatusRequestEntityTooLarge, hub.Errorf(hub.Invalid, "the file is larger than %d MiB", maxImport>>20))
		case err != nil:
			err = hub.Errorf(hub.Invalid, "the file ended early")
		}
		if err != nil {
			file.Close()
			return nil, err
		}
	}
}

// importing is one import of a file on its way.
type importing struct {
	d                *Door
	r                *request
	file             *os.File
	o                resource.RosterOptions
	dry, skip, prune bool
	began            time.Time
	roster           *resource.Roster
	lines            *lines
	done             ImportDone
	told, changes    int
	last             time.Time
}

// open begins to read the file, from its beginning.
func (i *importing) open() (*resource.Roster, error) {
	if _, err := i.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	ro, err := resource.NewRoster(i.file, i.o)
	if errors.Is(err, resource.ErrRoster) {
		return nil, hub.Errorf(hub.Invalid, "%w", err).WithHint("columns are mapped with --map COLUMN=FIELD; --map '*=-' leaves out what is no field")
	}
	return ro, err
}

func (i *importing) run(ctx context.Context) error {
	if err := i.pass(ctx, "check", true); err != nil {
		return err
	}
	i.done.Ignored = i.roster.Ignored
	if i.dry || i.done.Bad > 0 && !i.skip {
		if i.prune && i.dry {
			if err := i.pruned(ctx, true); err != nil {
				return err
			}
		}
		i.end()
		return nil
	}
	rows, bad := i.done.Rows, i.done.Bad
	i.done.Created, i.done.Updated, i.done.Unchanged, i.done.Rows, i.done.Bad = 0, 0, 0, 0, 0
	var err error
	if i.roster, err = i.open(); err != nil {
		return err
	}
	err = i.pass(ctx, "write", false)
	if err == nil && i.prune {
		err = i.pruned(ctx, false)
	}
	if i.done.Created+i.done.Updated+i.done.Deleted > 0 { // what was written is written, also where it broke off
		i.done.Written = true
		generation, terr := i.d.landed(ctx, i.r.tenant)
		i.done.Generation, err = generation, errors.Join(err, terr)
	}
	if err != nil {
		return err
	}
	i.done.Written = true
	i.done.Rows, i.done.Bad = rows, max(bad, i.done.Bad)
	i.end()
	return nil
}

func (i *importing) end() {
	i.done.TookMS = time.Since(i.began).Milliseconds()
	i.lines.write(importLine{Done: &i.done})
}

// pass goes once through the file: to check and compare it, or to write it.
func (i *importing) pass(ctx context.Context, phase string, dry bool) error {
	batch := make([]hub.Resource, 0, importBatch)
	at := make([]int, 0, importBatch)
	flush := func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		got, err := i.d.c.People.ImportIdentities(ctx, i.r.tenant, batch, dry)
		if err != nil {
			return err
		}
		for _, name := range got.Foreign {
			n := slices.IndexFunc(batch, func(r hub.Resource) bool { return r.Name == name })
			i.bad(dry, ImportFault{Line: at[n], Name: name, Reason: "an identity of this name is there and does not belong to the set " + i.o.Set})
		}
		i.done.Created += got.Created
		i.done.Updated += got.Updated
		i.done.Unchanged += got.Unchanged
		if dry {
			i.tell(got.Changes)
		}
		batch, at = batch[:0], at[:0]
		if now := time.Now(); now.Sub(i.last) > time.Second/4 {
			i.last = now
			i.lines.write(importLine{Progress: &ImportProgress{Phase: phase, Rows: i.done.Rows, Bad: i.done.Bad}})
		}
		return nil
	}
	for {
		row, err := i.roster.Next()
		if err == io.EOF {
			return flush()
		}
		if errors.Is(err, resource.ErrRoster) {
			return hub.Errorf(hub.Invalid, "%w", err)
		}
		if err != nil {
			return err
		}
		i.done.Rows++
		if row.Identity == nil {
			i.bad(dry, ImportFault{Line: row.Line, Name: row.Name, Reason: row.Fault})
			continue
		}
		batch, at = append(batch, *row.Identity), append(at, row.Line)
		if len(batch) == importBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

// bad counts a row that is not taken, and tells of it where it was found first.
func (i *importing) bad(tell bool, f ImportFault) {
	i.done.Bad++
	if i.told++; tell && i.told <= maxTold {
		f.Reason = clipped(f.Reason)
		i.lines.write(importLine{Bad: &f})
	}
}

// tell says what a dry run found that would be written.
func (i *importing) tell(changes []store.ImportChange) {
	for _, c := range changes {
		if i.changes++; i.changes > maxTold {
			return
		}
		step := Step{Op: "create", Kind: hub.KindIdentity, Name: c.Name}
		if c.Was != nil {
			step.Op, step.Fields = "update", changedFields(c.Was, c.Is)
		}
		i.lines.write(importLine{Change: &step})
	}
}

// pruned deletes the identities of the set that the file does not have.
func (i *importing) pruned(ctx context.Context, dry bool) error {
	after := ""
	for {
		names, next, err := i.d.c.People.IdentitiesOfSet(ctx, i.r.tenant, i.o.Set, after, importBatch)
		if err != nil {
			return err
		}
		names = slices.DeleteFunc(names, i.roster.Has)
		if dry {
			i.done.Deleted += len(names)
			for _, n := range names {
				if i.changes++; i.changes <= maxTold {
					i.lines.write(importLine{Change: &Step{Op: "delete", Kind: hub.KindIdentity, Name: n}})
				}
			}
		} else {
			n, err := i.d.c.People.DeleteIdentities(ctx, i.r.tenant, i.o.Set, names)
			if err != nil {
				return err
			}
			i.done.Deleted += n
		}
		if next == "" {
			return nil
		}
		after = next
	}
}

// landed lets the hub see what an import wrote, and runs what waited for a mapping.
func (d *Door) landed(ctx context.Context, tenant string) (int64, error) {
	ctx = context.WithoutCancel(ctx)
	generation, err := d.c.People.Touch(ctx, tenant)
	if err != nil {
		return 0, err
	}
	if d.c.Changed != nil {
		d.c.Changed(ctx, tenant)
	}
	if _, err := d.c.Store.RequeueUnresolved(ctx, tenant); err != nil {
		return generation, fmt.Errorf("unresolved signals were not queued again: %w", err)
	}
	return generation, nil
}

var setForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9._@+-]{0,126}[a-z0-9])?$`)

func clipped(s string) string {
	if r := []rune(s); len(r) > 300 {
		return string(r[:300]) + "…"
	}
	return s
}
