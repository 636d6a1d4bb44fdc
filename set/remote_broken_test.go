package set_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"countersign/set"
)

// A key set that cannot be read is a fault of the key set: the token stays good, and comes again.
func TestABrokenKeySetIsNoFaultOfTheToken(t *testing.T) {
	for _, body := range []string{"", "<html>", `{"keys":[`, `{}`, `[]`, `{"keys":{}}`, "\xff"} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(body)) }))
		_, err := set.NewRemoteKeys(srv.URL, nil, nil).Find(t.Context(), "k")
		srv.Close()
		if !errors.Is(err, set.ErrKeysUnavailable) || errors.Is(err, set.ErrMalformed) {
			t.Errorf("%q: %v", body, err)
		}
	}
}
