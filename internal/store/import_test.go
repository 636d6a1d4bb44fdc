package store

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/hub"
)

func person(name, set, more string) hub.Resource {
	spec := `{"name":"` + name + `","set":"` + set + `"` + more + `}`
	return hub.Resource{Kind: hub.KindIdentity, Name: name, Set: set, Spec: json.RawMessage(spec)}
}

func TestImportIdentities(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		_, err := s.Apply(ctx, tenant, []Change{put(hub.KindIdentity, "zoe", `{"name":"zoe","set":"s","emails":["zoe@example.test"]}`)})
		must(t, err)
		var batch []hub.Resource
		for i := range 150 { // more than two statements, and single rows
			n := fmt.Sprintf("p%03d", i)
			batch = append(batch, person(n, "hr", `,"emails":["`+n+`@Example.test"],"phones":["+1555`+n[1:]+`"],"accounts":[{"at":"crm","id":"`+n+`"}],"devices":[{"at":"mdm","id":"d`+n+`"}]`))
		}
		batch = append(batch, person("zoe", "hr", ``))
		dry, err := s.ImportIdentities(ctx, tenant, batch, true)
		must(t, err)
		if dry.Created != 150 || len(dry.Changes) != 150 || !cmp.Equal(dry.Foreign, []string{"zoe"}) || count(t, s, "identity_email") != 1 {
			t.Fatalf("dry: %+v", dry)
		}
		g0, _ := s.Generation(ctx, tenant)
		did, err := s.ImportIdentities(ctx, tenant, batch, false)
		must(t, err)
		if did.Created != 150 || did.Updated != 0 || count(t, s, "identity_email") != 151 || count(t, s, "identity_account") != 450 {
			t.Fatalf("%+v", did)
		}
		g1, _ := s.Generation(ctx, tenant)
		g2, err := s.Touch(ctx, tenant)
		must(t, err)
		if g1 != g0 || g2 <= g1 {
			t.Errorf("generations %d %d %d", g0, g1, g2)
		}
		batch = batch[:150]
		batch[7] = person("p007", "hr", `,"emails":["new@example.test"]`)
		did, err = s.ImportIdentities(ctx, tenant, batch, false)
		must(t, err)
		if did.Created != 0 || did.Updated != 1 || did.Unchanged != 149 || len(did.Changes) != 1 || string(did.Changes[0].Is) != string(batch[7].Spec) || len(did.Changes[0].Was) == 0 {
			t.Fatalf("%+v", did)
		}
		r, err := s.Resource(ctx, tenant, hub.KindIdentity, "p007")
		must(t, err)
		if r.Version != 2 || r.Set != "hr" {
			t.Errorf("%+v", r)
		}
		for what, find := range map[string]func() ([]string, error){
			"email":   func() ([]string, error) { return s.FindIdentityByEmail(ctx, tenant, "P008@example.test") },
			"account": func() ([]string, error) { return s.FindIdentityByAccount(ctx, tenant, "crm", "p008") },
			"phone":   func() ([]string, error) { return s.FindIdentityByPhone(ctx, tenant, "+1555008") },
			"device":  func() ([]string, error) { return s.FindIdentityByDevice(ctx, tenant, "mdm", "dp008") },
		} {
			if got, err := find(); err != nil || !cmp.Equal(got, []string{"p008"}) {
				t.Errorf("by %s: %v, %v", what, got, err)
			}
		}
		if got, _ := s.FindIdentityByAccount(ctx, tenant, "crm", "p007"); len(got) != 0 {
			t.Errorf("by a former account: %v", got)
		}
		var all []string
		for after, n := "", 0; n == 0 || after != ""; n++ {
			names, next, err := s.IdentitiesOfSet(ctx, tenant, "hr", after, 40)
			must(t, err)
			all, after = append(all, names...), next
		}
		if len(all) != 150 || all[0] != "p000" || all[149] != "p149" {
			t.Errorf("%d of the set", len(all))
		}
		n, err := s.DeleteIdentities(ctx, tenant, "hr", []string{"p001", "zoe", "nobody"})
		must(t, err)
		if got, _ := s.FindIdentityByEmail(ctx, tenant, "p001@example.test"); n != 1 || len(got) != 0 {
			t.Errorf("%d deleted, %v left", n, got)
		}
		_, err = s.ImportIdentities(ctx, tenant, []hub.Resource{{Kind: hub.KindApp, Name: "x"}}, false)
		wantCode(t, err, hub.Invalid)
	})
}

// A file without a word about protection takes it from nobody, and a prune deletes nobody who has it.
func TestImportKeepsProtection(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		protect := func() string {
			id, err := s.Identity(ctx, tenant, "ceo")
			must(t, err)
			return id.Protect
		}
		_, err := s.ImportIdentities(ctx, tenant, []hub.Resource{person("ceo", "hr", `,"emails":["ceo@example.test"],"protect":"never"`), person("bob", "hr", ``)}, false)
		must(t, err)
		bare := []hub.Resource{person("ceo", "hr", `,"emails":["ceo@example.test","boss@example.test"]`)}
		did, err := s.ImportIdentities(ctx, tenant, bare, false)
		must(t, err)
		if protect() != "never" || did.Updated != 1 {
			t.Errorf("after a file that does not speak of it: %q, %+v", protect(), did)
		}
		if did, err = s.ImportIdentities(ctx, tenant, bare, true); err != nil || did.Unchanged != 1 {
			t.Errorf("again: %+v, %v", did, err)
		}
		names, _, err := s.IdentitiesOfSet(ctx, tenant, "hr", "", 10)
		if err != nil || !cmp.Equal(names, []string{"bob"}) {
			t.Errorf("a prune would delete %q, %v", names, err)
		}
		_, err = s.ImportIdentities(ctx, tenant, []hub.Resource{person("ceo", "hr", `,"emails":["ceo@example.test"],"protect":"none"`)}, false)
		must(t, err)
		if protect() != "none" {
			t.Errorf("after a file that ends it: %q", protect())
		}
	})
}

func TestImportAccounts(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		_, err := s.Apply(ctx, tenant, []Change{
			put(hub.KindIdentity, "anna", `{"name":"anna","emails":["anna@example.test"],"accounts":[{"at":"crm","id":"7"}],"phones":["+15550100"]}`),
			put(hub.KindIdentity, "bob", `{"name":"bob","emails":["bob@example.test","team@example.test"]}`),
			put(hub.KindIdentity, "carol", `{"name":"carol","emails":["team@example.test"]}`),
		})
		must(t, err)
		n, err := s.ImportAccounts(ctx, tenant, "import-wiki", []Account{{At: "wiki", ID: "1", Identity: "anna"}, {At: "wiki", ID: "2", Identity: "bob"}, {At: "wiki", ID: "3", Identity: "nobody"}})
		must(t, err)
		if n != 2 {
			t.Fatalf("%d written", n)
		}
		if got, err := s.FindIdentityByAccount(ctx, tenant, "wiki", "1"); err != nil || !cmp.Equal(got, []string{"anna"}) {
			t.Errorf("%v, %v", got, err)
		}
		// An identity that is written anew keeps what was imported for it.
		_, err = s.Apply(ctx, tenant, []Change{put(hub.KindIdentity, "anna", `{"name":"anna","accounts":[{"at":"crm","id":"8"},{"at":"wiki","id":"1"}]}`)})
		must(t, err)
		id, err := s.Identity(ctx, tenant, "anna")
		must(t, err)
		if d := cmp.Diff([]hub.Account{{At: "crm", ID: "8"}, {At: "wiki", ID: "1"}}, id.Accounts); d != "" {
			t.Error(d)
		}
		id, err = s.Identity(ctx, tenant, "bob")
		must(t, err)
		if d := cmp.Diff([]hub.Account{{At: "wiki", ID: "2"}}, id.Accounts); d != "" {
			t.Error(d)
		}
		var got []Account
		for p := (hub.Page{Limit: 1}); ; {
			l, err := s.ListAccounts(ctx, tenant, AccountFilter{}, p)
			must(t, err)
			got = append(got, l.Items...)
			if p.After = l.Next; p.After == "" {
				break
			}
		}
		for i := range got {
			if (got[i].Imported != 0) != (got[i].Set != "") {
				t.Errorf("%+v", got[i])
			}
			got[i].Imported = 0
		}
		if d := cmp.Diff([]Account{{At: "crm", ID: "8", Identity: "anna"}, {At: "wiki", ID: "1", Identity: "anna"}, {At: "wiki", ID: "2", Identity: "bob", Set: "import-wiki"}}, got); d != "" {
			t.Error(d)
		}
		l, err := s.ListAccounts(ctx, tenant, AccountFilter{At: "wiki", Identity: "bob"}, hub.Page{})
		must(t, err)
		if len(l.Items) != 1 {
			t.Errorf("filtered: %+v", l.Items)
		}
		_, err = s.ListAccounts(ctx, tenant, AccountFilter{}, hub.Page{After: "!"})
		wantCode(t, err, hub.Invalid)
		byID, byEmail, err := s.AccountsAt(ctx, tenant, "wiki", []string{"1", "2", "9"}, []string{"Team@example.test", "x@example.test"})
		must(t, err)
		if len(byID["1"]) != 1 || byID["2"][0].Identity != "bob" || len(byID["9"]) != 0 || !cmp.Equal(byEmail, map[string][]string{"team@example.test": {"bob", "carol"}}) && !cmp.Equal(byEmail, map[string][]string{"team@example.test": {"carol", "bob"}}) {
			t.Errorf("%v %v", byID, byEmail)
		}
		some, err := s.ImportedAt(ctx, tenant, "import-wiki", "wiki", Account{}, 10)
		must(t, err)
		if len(some) != 2 {
			t.Fatalf("%+v", some)
		}
		n, err = s.DeleteImported(ctx, tenant, some[:1])
		must(t, err)
		if n != 1 {
			t.Errorf("%d deleted", n)
		}
		_, err = s.Apply(ctx, tenant, []Change{{Op: OpDelete, Resource: hub.Resource{Kind: hub.KindIdentity, Name: "bob"}}})
		must(t, err)
		if got, _ := s.FindIdentityByAccount(ctx, tenant, "wiki", "2"); len(got) != 0 {
			t.Errorf("an account of a deleted identity: %v", got)
		}
	})
}
