package store

import (
	"testing"

	"countersign/internal/hub"
	"countersign/transmitter"
)

// A client that is deleted is told nothing more, and who is given its name later does not get its tokens.
func TestDeleteClient(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		v := s.Transmitter(tenant, sealer{})
		client := func(name string) Change { return put(hub.KindClient, name, `{"name":"`+name+`"}`) }
		_, err := s.Apply(ctx, tenant, []Change{client("leaves"), client("stays")})
		must(t, err)
		hash := map[string][]byte{}
		for i, name := range []string{"leaves", "stays"} {
			must(t, v.CreateStream(ctx, &transmitter.Stream{ID: "str_" + name, Receiver: name, Status: transmitter.Enabled, Endpoint: "https://" + name + ".example"}, 0))
			hash[name] = make([]byte, 32)
			hash[name][0] = byte(i + 1)
			must(t, s.PutToken(ctx, Token{ID: "tok_" + name, Tenant: tenant, Client: name, Hash: hash[name]}))
		}
		before, err := v.Generation(ctx)
		must(t, err)
		_, err = s.Apply(ctx, tenant, []Change{{Op: OpDelete, Resource: hub.Resource{Kind: hub.KindClient, Name: "leaves"}}})
		must(t, err)
		after, err := v.Generation(ctx)
		must(t, err)
		if after <= before {
			t.Error("the transmitter does not learn that streams are gone")
		}
		_, err = s.Apply(ctx, tenant, []Change{client("leaves")})
		must(t, err)
		for name, want := range map[string]bool{"leaves": false, "stays": true} {
			streams, err := v.Streams(ctx, name)
			must(t, err)
			token, err := s.TokenByHash(ctx, hash[name])
			must(t, err)
			if (len(streams) == 1) != want || (token.Revoked == 0) != want {
				t.Errorf("%s: %d streams, token revoked %d", name, len(streams), token.Revoked)
			}
		}
	})
}
