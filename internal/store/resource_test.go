package store

import (
	"encoding/json"
	"testing"

	"countersign/internal/hub"

	"github.com/google/go-cmp/cmp"
)

func put(kind hub.Kind, name, spec string) Change {
	return Change{Op: OpPut, Resource: hub.Resource{Kind: kind, Name: name, Set: "s", Spec: json.RawMessage(spec)}}
}

func TestApply(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		g0, err := s.Generation(ctx, tenant)
		must(t, err)
		g1, err := s.Apply(ctx, tenant, []Change{
			put(hub.KindApp, "wiki", `{"name":"wiki","pack":"p"}`),
			put(hub.KindApp, "mail", `{"name":"mail"}`),
			put(hub.KindIdentity, "anna", `{"name":"anna","emails":["Anna@Example.com","a@x.example"],"accounts":[{"at":"wiki","id":"7"}]}`),
		})
		must(t, err)
		same, err := s.Apply(ctx, tenant, []Change{put(hub.KindApp, "wiki", `{"name":"wiki","pack":"p"}`)})
		must(t, err)
		if g1 <= g0 || same != g1 {
			t.Fatalf("generations %d, %d, %d", g0, g1, same)
		}
		g2, err := s.Apply(ctx, tenant, []Change{
			put(hub.KindApp, "wiki", `{"name":"wiki","pack":"q"}`),
			put(hub.KindIdentity, "anna", `{"name":"anna","emails":["a@x.example"],"accounts":[{"at":"mail","id":"8"}]}`),
		})
		must(t, err)
		now, err := s.Generation(ctx, tenant)
		must(t, err)
		if g2 <= g1 || now != g2 {
			t.Fatalf("generations %d, %d, %d", g1, g2, now)
		}
		r, err := s.Resource(ctx, tenant, hub.KindApp, "wiki")
		must(t, err)
		if r.Version != 2 || string(r.Spec) != `{"name":"wiki","pack":"q"}` || r.Set != "s" || r.Created == 0 {
			t.Fatalf("resource %+v", r)
		}
		for _, q := range []struct {
			what string
			got  func() ([]string, error)
			want []string
		}{
			{"an address", func() ([]string, error) { return s.FindIdentityByEmail(ctx, tenant, "A@X.example") }, []string{"anna"}},
			{"a former address", func() ([]string, error) { return s.FindIdentityByEmail(ctx, tenant, "anna@example.com") }, nil},
			{"an account", func() ([]string, error) { return s.FindIdentityByAccount(ctx, tenant, "mail", "8") }, []string{"anna"}},
			{"a former account", func() ([]string, error) { return s.FindIdentityByAccount(ctx, tenant, "wiki", "7") }, nil},
			{"another tenant", func() ([]string, error) { return s.FindIdentityByAccount(ctx, "other", "mail", "8") }, nil},
		} {
			got, err := q.got()
			must(t, err)
			if d := cmp.Diff(q.want, got); d != "" {
				t.Errorf("by %s: %s", q.what, d)
			}
		}
		// One that fails undoes all.
		_, err = s.Apply(ctx, tenant, []Change{put(hub.KindApp, "new", `{}`), {Op: OpDelete, Resource: hub.Resource{Kind: hub.KindApp, Name: "none"}}})
		wantCode(t, err, hub.NotFound)
		_, err = s.Resource(ctx, tenant, hub.KindApp, "new")
		wantCode(t, err, hub.NotFound)
		_, err = s.Apply(ctx, tenant, []Change{{Op: OpDelete, Resource: hub.Resource{Kind: hub.KindIdentity, Name: "anna"}}})
		must(t, err)
		_, err = s.Identity(ctx, tenant, "anna")
		wantCode(t, err, hub.NotFound)
		if names, _ := s.FindIdentityByAccount(ctx, tenant, "mail", "8"); len(names) != 0 {
			t.Fatalf("a deleted identity is found: %v", names)
		}
		l, err := s.ListResources(ctx, tenant, hub.KindApp, hub.Page{Limit: 1})
		must(t, err)
		l2, err := s.ListResources(ctx, tenant, hub.KindApp, hub.Page{Limit: 1, After: l.Next})
		must(t, err)
		if len(l.Items) != 1 || l.Items[0].Name != "mail" || len(l2.Items) != 1 || l2.Items[0].Name != "wiki" || l2.Next != "" {
			t.Fatalf("pages %+v, %+v", l, l2)
		}
		all, err := s.Resources(ctx, tenant, "")
		must(t, err)
		if len(all) != 2 {
			t.Fatalf("%d resources", len(all))
		}
	})
}

func TestSecretsKeysAndTokens(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		must(t, s.PutSecret(ctx, tenant, "a", []byte{0, 1}))
		must(t, s.PutSecret(ctx, tenant, "a", []byte{0, 2}))
		got, err := s.Secret(ctx, tenant, "a")
		must(t, err)
		if string(got) != "\x00\x02" {
			t.Fatalf("secret %v", got)
		}
		infos, err := s.ListSecrets(ctx, tenant)
		must(t, err)
		if len(infos) != 1 || infos[0].Name != "a" {
			t.Fatalf("secrets %+v", infos)
		}
		must(t, s.DeleteSecret(ctx, tenant, "a"))
		wantCode(t, s.DeleteSecret(ctx, tenant, "a"), hub.NotFound)
		_, err = s.Secret(ctx, tenant, "a")
		wantCode(t, err, hub.NotFound)

		k := Key{Tenant: tenant, KID: "k1", Alg: "RS256", State: "active", Public: json.RawMessage(`{ "kty":"RSA" }`), Sealed: []byte{9}, Created: 5, Changed: 5}
		must(t, s.PutKey(ctx, k))
		k.State, k.Changed = KeyRetired, 7
		must(t, s.PutKey(ctx, k))
		keys, err := s.Keys(ctx, tenant)
		must(t, err)
		if d := cmp.Diff([]Key{k}, keys); d != "" {
			t.Fatal(d)
		}
		k.Public = json.RawMessage(`{}`)
		wantCode(t, s.PutKey(ctx, k), hub.Conflict)

		hash := make([]byte, 32)
		hash[0] = 7
		tok := Token{ID: "tok_1", Tenant: tenant, Name: "n", Client: "c", Hash: hash, Scopes: []string{"ssf.read", "ssf.manage"}, Created: 1, Expires: 9}
		must(t, s.PutToken(ctx, tok))
		dup := tok
		dup.ID = "tok_2"
		wantCode(t, s.PutToken(ctx, dup), hub.Conflict)
		found, err := s.TokenByHash(ctx, hash)
		must(t, err)
		if d := cmp.Diff(&tok, found); d != "" {
			t.Fatal(d)
		}
		must(t, s.RevokeToken(ctx, tenant, "tok_1"))
		wantCode(t, s.RevokeToken(ctx, "other", "tok_1"), hub.NotFound)
		found, err = s.TokenByHash(ctx, hash)
		must(t, err)
		if found.Revoked == 0 {
			t.Fatal("the token is still in force")
		}
		_, err = s.TokenByHash(ctx, make([]byte, 32))
		wantCode(t, err, hub.NotFound)

		must(t, s.PutSourceStream(ctx, tenant, "okta", json.RawMessage(`{ "id":"1" }`)))
		state, err := s.SourceStream(ctx, tenant, "okta")
		must(t, err)
		if string(state) != `{ "id":"1" }` {
			t.Fatalf("state %s", state)
		}
		must(t, s.PutSourceStream(ctx, tenant, "okta", nil))
		if state, _ = s.SourceStream(ctx, tenant, "okta"); state != nil {
			t.Fatalf("state %s", state)
		}
	})
}
