package set_test

import (
	"testing"

	"countersign/internal/req"
	"countersign/set"
	"countersign/ssftest"
)

// A SET that is signed again has the same bytes, whatever else was signed in between. PS256 salts its signatures.
func TestSignedAgain(t *testing.T) {
	for _, alg := range []set.Algorithm{set.RS256, set.ES256, set.EdDSA} {
		s := ssftest.Signer(alg, "k")
		input := s.Input([]byte(`{"jti":"1"}`))
		one, err := s.Complete(input)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Sign([]byte(`{"jti":"2"}`)); err != nil {
			t.Fatal(err)
		}
		two, err := s.Complete(input)
		if err != nil || one != two {
			t.Errorf("%s: two signatures of one input differ, %v", alg, err)
		}
	}
	req.Covers(t, "TX-157")
}
