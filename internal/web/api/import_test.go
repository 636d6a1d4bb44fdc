package api

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"countersign/internal/hub"
	"countersign/internal/store"
)

// told reads an answer line by line.
func (b *bench) told(w *httptest.ResponseRecorder) (all []importLine, done ImportDone) {
	b.t.Helper()
	b.want(200, w)
	if ct := w.Header().Get("Content-Type"); ct != "application/x-ndjson" {
		b.t.Errorf("content type %s", ct)
	}
	sc := bufio.NewScanner(w.Body)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var l importLine
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
			b.t.Fatalf("%s: %v", sc.Text(), err)
		}
		all = append(all, l)
		if l.Done != nil {
			done = *l.Done
		}
	}
	return all, done
}

func (b *bench) importCSV(query url.Values, csv string) *httptest.ResponseRecorder {
	return b.post("/import/identities?"+query.Encode(), b.tokens["deployer"], csv, "Content-Type", "text/csv")
}

var noTime = cmpopts.IgnoreFields(ImportDone{}, "TookMS", "Generation")

func TestImportIdentities(t *testing.T) {
	b := newBench(t)
	changed := b.changed
	const csv = "User,Mail,account:crm\nalice,alice@example.test,7\nbob,bob@example.test,\n"
	q := url.Values{"set": {"hr"}, "map": {"User=name", "Mail=emails"}}
	with := func(more ...string) url.Values {
		out := url.Values{}
		for k, v := range q {
			out[k] = v
		}
		for _, m := range more {
			out.Set(m, "true")
		}
		return out
	}
	// A dry run says what it would do, and does nothing.
	all, done := b.told(b.importCSV(with("dry_run"), csv))
	if d := cmp.Diff(ImportDone{DryRun: true, Set: "hr", Rows: 2, Created: 2}, done, noTime); d != "" {
		t.Error(d)
	}
	var steps []Step
	for _, l := range all {
		if l.Change != nil {
			steps = append(steps, *l.Change)
		}
	}
	if d := cmp.Diff([]Step{{Op: "create", Kind: "identity", Name: "alice"}, {Op: "create", Kind: "identity", Name: "bob"}}, steps); d != "" {
		t.Error(d)
	}
	b.want(404, b.get("/identities/alice", b.operator))

	// One wrong row, and nothing is written.
	wrong := csv + "carol,nonsense,9\nalice,x@example.test,\n"
	all, done = b.told(b.importCSV(q, wrong))
	if d := cmp.Diff(ImportDone{Set: "hr", Rows: 4, Created: 2, Bad: 2}, done, noTime); d != "" {
		t.Error(d)
	}
	var faults []string
	for _, l := range all {
		if l.Bad != nil {
			faults = append(faults, strconv.Itoa(l.Bad.Line)+" "+l.Bad.Reason)
		}
	}
	if len(faults) != 2 || !strings.Contains(faults[0], "4 emails[0]") || !strings.Contains(faults[1], "5 the identity stands in line 2 already") {
		t.Errorf("faults %q", faults)
	}
	b.want(404, b.get("/identities/alice", b.operator))
	if b.changed != changed {
		t.Error("the hub was told of a change that was none")
	}

	_, done = b.told(b.importCSV(with("skip_bad"), wrong))
	if d := cmp.Diff(ImportDone{Set: "hr", Written: true, Rows: 4, Created: 2, Bad: 2}, done, noTime); d != "" {
		t.Error(d)
	}
	if b.changed != changed+1 || done.Generation == 0 {
		t.Errorf("told %d times, generation %d", b.changed-changed, done.Generation)
	}
	var r struct {
		Set  string
		Spec hub.Identity
	}
	b.decode(b.get("/identities/alice", b.operator), &r)
	if d := cmp.Diff(hub.Identity{Name: "alice", Set: "hr", Emails: []string{"alice@example.test"}, Accounts: []hub.Account{{At: "crm", ID: "7"}}}, r.Spec); d != "" || r.Set != "hr" {
		t.Error(d)
	}
	// Again: what is the same stays, what differs is shown with its fields, who is gone is deleted on request.
	const later = "User,Mail,account:crm\nalice,alice@example.test,8\n"
	all, done = b.told(b.importCSV(with("dry_run", "prune"), later))
	if d := cmp.Diff(ImportDone{DryRun: true, Set: "hr", Rows: 1, Updated: 1, Deleted: 1}, done, noTime); d != "" {
		t.Error(d)
	}
	steps = nil
	for _, l := range all {
		if l.Change != nil {
			steps = append(steps, *l.Change)
		}
	}
	if d := cmp.Diff([]Step{{Op: "update", Kind: "identity", Name: "alice", Fields: []string{"accounts"}}, {Op: "delete", Kind: "identity", Name: "bob"}}, steps); d != "" {
		t.Error(d)
	}
	_, done = b.told(b.importCSV(with("prune"), later))
	if d := cmp.Diff(ImportDone{Set: "hr", Written: true, Rows: 1, Updated: 1, Deleted: 1}, done, noTime); d != "" {
		t.Error(d)
	}
	b.want(404, b.get("/identities/bob", b.operator))
	// What belongs to another set is left alone, and said.
	_, done = b.told(b.importCSV(url.Values{"set": {"other"}}, "name\nalice\n"))
	if done.Bad != 1 || done.Written {
		t.Errorf("%+v", done)
	}
}

func TestImportRefusals(t *testing.T) {
	b := newBench(t)
	b.refused(400, hub.Invalid, "did you mean emails?", b.importCSV(nil, "name,emials\n"))
	b.refused(400, hub.Invalid, "it is empty", b.post("/import/identities", b.operator, ""))
	b.refused(400, hub.Invalid, "unknown parameter", b.importCSV(url.Values{"skipbad": {"true"}}, "name\n"))
	b.refused(400, hub.Invalid, "is true or false", b.importCSV(url.Values{"dry_run": {"yes"}}, "name\n"))
	b.refused(400, hub.Invalid, "do not go together", b.importCSV(url.Values{"prune": {"true"}, "skip_bad": {"true"}}, "name\n"))
	b.refused(400, hub.Invalid, "map is COLUMN=FIELD", b.importCSV(url.Values{"map": {"name"}}, "name\n"))
	b.refused(400, hub.Invalid, "a set is named like a resource", b.importCSV(url.Values{"set": {"No Set"}}, "name\n"))
	b.refused(415, hub.Invalid, "text/csv", b.post("/import/identities", b.operator, `{}`, "Content-Type", "application/json"))
	b.refused(403, hub.Forbidden, "resources.write", b.post("/import/identities", b.tokens["reader"], "name\n", "Content-Type", "text/csv"))
	// A quotation mark that is never closed ends it, and says so in the last line.
	all, done := b.told(b.importCSV(nil, "name\n\""+strings.Repeat("a\n", 300_000)))
	if last := all[len(all)-1]; last.Error == nil || !strings.Contains(last.Error.Title, "a row is longer") || done.Written {
		t.Errorf("%+v", last)
	}
}

// Who writes a protected person's address into their own account at an app does not become somebody on whom nothing acts.
func TestAccountWithAProtectedAddress(t *testing.T) {
	b := newBench(t)
	b.want(200, b.post("/apply", b.operator, `{"resources":[
		{"kind":"identity","name":"ceo","emails":["ceo@example.test"],"protect":"never","accounts":[{"at":"wiki","id":"1"}]},
		{"kind":"identity","name":"eve","emails":["eve@example.test"]}]}`))
	mine := "eve@example.test"
	b.door.c.Accounts = func(context.Context, string, string, string, int) ([]AppAccount, string, error) {
		return []AppAccount{{ID: "1", Emails: []string{"ceo@example.test"}}, {ID: "2", Emails: []string{mine}}}, "", nil
	}
	if _, done := b.told(b.post("/import/accounts", b.tokens["deployer"], `{"app":"wiki"}`)); done.Created != 1 || done.Unchanged != 1 || done.Bad != 0 {
		t.Fatalf("%+v", done)
	}
	mine = "CEO@example.test"
	all, done := b.told(b.post("/import/accounts", b.tokens["deployer"], `{"app":"wiki"}`))
	if done.Created+done.Updated != 0 || done.Unchanged != 1 || done.Bad != 1 {
		t.Errorf("%+v %+v", done, all)
	}
	var l struct{ Items []struct{ Identity string } }
	b.decode(b.get("/accounts/wiki/2", b.operator), &l)
	if len(l.Items) != 1 || l.Items[0].Identity != "eve" {
		t.Errorf("eve's account is that of %+v", l.Items)
	}
}

func TestImportAccounts(t *testing.T) {
	b := newBench(t)
	b.want(200, b.post("/apply", b.operator, `{"resources":[
		{"kind":"identity","name":"alice","emails":["alice@example.test"]},
		{"kind":"identity","name":"bob","emails":["bob@example.test"],"accounts":[{"at":"wiki","id":"2"}]},
		{"kind":"identity","name":"carol","emails":["team@example.test"]},
		{"kind":"identity","name":"dave","emails":["team@example.test"]}]}`))
	pages := map[string][]AppAccount{
		"":  {{ID: "1", Emails: []string{"Alice@example.test"}}, {ID: "2", Emails: []string{"bob@example.test"}}, {ID: "3", Emails: []string{"team@example.test"}}},
		"n": {{ID: "4", Emails: []string{"erin@example.test"}}, {ID: "1"}, {ID: "5"}, {ID: "6", Emails: []string{"alice@example.test", "bob@example.test"}}},
	}
	var broken error
	b.door.c.Accounts = func(_ context.Context, tenant, app, next string, number int) ([]AppAccount, string, error) {
		if app != "wiki" {
			return nil, "", hub.Errorf(hub.NotFound, "there is no app %q", app)
		}
		if next == "" {
			return pages[""], "n", nil
		}
		return pages[next], "", broken
	}
	ask := func(more string) ([]importLine, ImportDone) {
		t.Helper()
		return b.told(b.post("/import/accounts", b.tokens["deployer"], `{"app":"wiki"`+more+`}`))
	}
	b.refused(404, hub.NotFound, "there is no app", b.post("/import/accounts", b.operator, `{"app":"nope"}`))
	b.refused(400, hub.Invalid, "name an app", b.post("/import/accounts", b.operator, `{}`))
	b.refused(403, hub.Forbidden, "resources.write", b.post("/import/accounts", b.tokens["reader"], `{"app":"wiki"}`))

	_, done := ask(`,"dry_run":true`)
	want := ImportDone{DryRun: true, Set: "import-wiki", Rows: 7, Created: 1, Unchanged: 1, Bad: 3, Unmatched: 2}
	if d := cmp.Diff(want, done, noTime); d != "" {
		t.Error(d)
	}
	all, done := ask("")
	want.DryRun, want.Written = false, true
	if d := cmp.Diff(want, done, noTime); d != "" {
		t.Error(d)
	}
	var faults []string
	for _, l := range all {
		if l.Bad != nil {
			faults = append(faults, l.Bad.Name+" "+l.Bad.Reason)
		}
	}
	if d := cmp.Diff([]string{"3 ambiguous: 2 identities have an address of it, and none is taken for the right one", "1 the list has this account twice", "4 no identity has its address",
		"5 it has no address, and no identity names it", "6 ambiguous: 2 identities have an address of it, and none is taken for the right one"}, faults); d != "" {
		t.Error(d)
	}
	var l struct {
		Items []struct{ At, ID, Identity, Set string }
	}
	b.decode(b.get("/accounts?at=wiki", b.tokens["deployer"]), &l)
	if len(l.Items) != 2 || l.Items[0].Identity != "alice" || l.Items[0].Set != "import-wiki" || l.Items[1].Set != "" {
		t.Errorf("%+v", l.Items)
	}
	b.decode(b.get("/accounts/wiki/1", b.operator), &l)
	if len(l.Items) != 1 || l.Items[0].Identity != "alice" {
		t.Errorf("%+v", l.Items)
	}
	b.refused(404, hub.NotFound, "no identity has an account", b.get("/accounts/wiki/99", b.operator))

	// Whom nobody knows is made on request; an account that is gone from the list is forgotten on request.
	pages["n"] = pages["n"][:1]
	pages[""] = pages[""][1:]
	_, done = ask(`,"create":true,"prune":true`)
	if d := cmp.Diff(ImportDone{Written: true, Set: "import-wiki", Rows: 3, Created: 1, Unchanged: 1, Bad: 1, Deleted: 1}, done, noTime); d != "" {
		t.Error(d)
	}
	b.want(200, b.get("/identities/erin@example.test", b.operator))
	b.refused(404, hub.NotFound, "no identity has an account", b.get("/accounts/wiki/1", b.operator))
	// It moves with its address to another person.
	b.want(200, b.post("/apply", b.operator, `{"resources":[{"kind":"identity","name":"erin@example.test","set":"import-wiki"},{"kind":"identity","name":"erin2","emails":["erin@example.test"]}]}`))
	if _, done = ask(""); done.Updated != 1 || done.Created != 0 {
		t.Errorf("%+v", done)
	}
	b.decode(b.get("/accounts/wiki/4", b.operator), &l)
	if len(l.Items) != 1 || l.Items[0].Identity != "erin2" {
		t.Errorf("%+v", l.Items)
	}
	// A list that breaks off is said so, and nothing is forgotten because of it.
	broken = hub.Errorf(hub.Unavailable, "the app does not answer")
	all, done = ask(`,"prune":true`)
	if last := all[len(all)-1]; last.Error == nil || last.Error.Code != hub.Unavailable || done.Written {
		t.Errorf("%+v", last)
	}
	b.want(200, b.get("/accounts/wiki/4", b.operator))
}

func TestUnresolvedSignals(t *testing.T) {
	b := newBench(t)
	sig := &hub.Signal{ID: hub.NewID(hub.PrefixSignal, start), Tenant: DefaultTenant, Source: "idp", JTI: "u1", EventType: "x", SubID: json.RawMessage(`{}`), Event: json.RawMessage(`{}`), Received: hub.At(start)}
	kept, err := b.store.Keep(t.Context(), sig, "p", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.store.SetUnresolved(t.Context(), kept.Seq, kept.Job, "nobody known fits the subject", nil, store.UnresolvedOptions{}); err != nil {
		t.Fatal(err)
	}
	var u struct {
		Count int
		By    []struct {
			Source, Reason string
			Count          int
		}
	}
	b.decode(b.want(200, b.get("/unresolved", b.tokens["reader"])), &u)
	if u.Count != 1 || len(u.By) != 1 || u.By[0].Source != "idp" || u.By[0].Reason != "nobody known fits the subject" {
		t.Errorf("%+v", u)
	}
	b.refused(403, hub.Forbidden, "resources.write", b.post("/unresolved/redrive", b.tokens["reader"], `{}`))
	b.refused(404, hub.NotFound, "there is no signal", b.post("/unresolved/redrive", b.operator, `{"ids":["sig_none"]}`))
	b.refused(409, hub.Conflict, "only what waits", b.post("/unresolved/redrive", b.operator, `{"ids":["`+b.signal.ID+`"]}`))
	for _, body := range []string{`{"ids":["` + sig.ID + `"]}`, `{}`} {
		var a SignalRedriven
		b.decode(b.want(202, b.post("/unresolved/redrive", b.operator, body)), &a)
		if a.Queued != 1 {
			t.Errorf("%s: %+v", body, a)
		}
	}
	jobs, err := b.store.ClaimJobs(t.Context(), []string{"process"}, 10)
	if err != nil || len(jobs) != 1 || jobs[0].Ref != kept.Seq {
		t.Errorf("jobs %+v, %v", jobs, err)
	}
}
