package store

import (
	"testing"

	"countersign/internal/hub"
)

// Who is given the name of a deleted tenant later gets none of its tokens, secrets and keys.
func TestDeleteTenant(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		spec := func(name string) Change { return put(hub.KindTenant, name, `{"name":"`+name+`"}`) }
		_, err := s.Apply(ctx, tenant, []Change{spec("leaves"), spec("stays"), spec(tenant)})
		must(t, err)
		names := []string{"leaves", "stays", tenant}
		hash := map[string][]byte{}
		for i, name := range names {
			hash[name] = make([]byte, 32)
			hash[name][0] = byte(i + 1)
			must(t, s.PutToken(ctx, Token{ID: "tok_" + name, Tenant: name, Hash: hash[name]})) // an operator's
			must(t, s.PutAccess(ctx, Access{ID: "acc_" + name, Tenant: name, Client: "c", Hash: hash[name], Expires: 1 << 60}))
			must(t, s.PutSecret(ctx, name, "crm", []byte("sealed")))
			for _, state := range []string{KeyNext, KeyActive, KeyRetiring, KeyCompromised} {
				must(t, s.PutKey(ctx, Key{Tenant: name, KID: state, Alg: "ES256", State: state, Public: raw(`{}`), Sealed: []byte("x")}))
			}
		}
		for _, name := range []string{"leaves", tenant} {
			_, err := s.Apply(ctx, tenant, []Change{{Op: OpDelete, Resource: hub.Resource{Kind: hub.KindTenant, Name: name}}})
			must(t, err)
		}
		_, err = s.Apply(ctx, tenant, []Change{spec("leaves")})
		must(t, err)
		for _, name := range names {
			gone := name == "leaves"
			token, err := s.TokenByHash(ctx, hash[name])
			must(t, err)
			if (token.Revoked != 0) != gone {
				t.Errorf("%s: the operator's token was revoked at %d", name, token.Revoked)
			}
			if _, err := s.AccessByHash(ctx, hash[name]); (hub.CodeOf(err) == hub.NotFound) != gone {
				t.Errorf("%s: access token: %v", name, err)
			}
			if _, err := s.Secret(ctx, name, "crm"); (hub.CodeOf(err) == hub.NotFound) != gone {
				t.Errorf("%s: secret: %v", name, err)
			}
			keys, err := s.Keys(ctx, name)
			must(t, err)
			for _, k := range keys {
				want := k.KID
				if gone && want != KeyCompromised {
					want = KeyRetired
				}
				if k.State != want {
					t.Errorf("%s: the key %s is %s, want %s", name, k.KID, k.State, want)
				}
			}
		}
	})
}
