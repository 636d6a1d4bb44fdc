package store

import (
	"testing"

	"countersign/ssftest"
	"countersign/transmitter"
)

// sealer is a Sealer whose work can be seen: it turns the bytes round.
type sealer struct{}

func (sealer) Seal(purpose, name string, plain []byte) []byte {
	out := []byte(purpose + ":" + name + ":")
	for i := range plain {
		out = append(out, plain[len(plain)-1-i]^0xff)
	}
	return out
}

func (sealer) Open(purpose, name string, sealed []byte) ([]byte, error) {
	rest := sealed[len(purpose+":"+name+":"):]
	out := make([]byte, len(rest))
	for i := range rest {
		out[len(rest)-1-i] = rest[i] ^ 0xff
	}
	return out, nil
}

func TestTransmitterContract(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		ssftest.StoreSuite(t, func(t *testing.T) transmitter.Store {
			return copiedPlace(t).open(t, Config{}).Transmitter(tenant, sealer{})
		})
	})
	t.Run("postgres", func(t *testing.T) {
		ssftest.StoreSuite(t, func(t *testing.T) transmitter.Store {
			return usedPostgresPlace(t).open(t, Config{}).Transmitter(tenant, sealer{})
		})
	})
}

func TestStreamSecretsAreSealed(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		st := &transmitter.Stream{ID: "str_1", Receiver: "r", Status: transmitter.Enabled, Authorization: "Bearer plain"}
		must(t, s.Transmitter(tenant, sealer{}).CreateStream(t.Context(), st, 0))
		var kept []byte
		must(t, s.read(t.Context(), func(x *tx) error {
			_, err := x.one(`SELECT auth FROM stream WHERE id = 'str_1'`, nil, &kept)
			return err
		}))
		if string(kept) == "" || string(kept) == "Bearer plain" {
			t.Fatalf("the secret lies in the row as %q", kept)
		}
		if err := s.Transmitter(tenant, nil).CreateStream(t.Context(), &transmitter.Stream{ID: "str_2", Receiver: "r", Authorization: "x"}, 0); err == nil {
			t.Fatal("a secret was kept without a sealer")
		}
	})
}
