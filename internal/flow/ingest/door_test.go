package ingest

import (
	"testing"

	"countersign/internal/req"
)

const payload = `{"iss":"https://idp.example.test","aud":"hub","iat":1,"jti":"j","sub_id":{"format":"opaque","id":"x"},"events":{"urn:e":{"a":1}}}`

// A repeat is the same claims apart from iat, however they are written down.
func TestFingerprint(t *testing.T) {
	first, err := Fingerprint([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		payload string
		same    bool
	}{
		"another iat":     {`{"iss":"https://idp.example.test","aud":"hub","iat":99,"jti":"j","sub_id":{"format":"opaque","id":"x"},"events":{"urn:e":{"a":1}}}`, true},
		"no iat":          {`{"iss":"https://idp.example.test","aud":"hub","jti":"j","sub_id":{"format":"opaque","id":"x"},"events":{"urn:e":{"a":1}}}`, true},
		"another order":   {`{"jti":"j","iat":1,"aud":"hub","iss":"https://idp.example.test","events":{"urn:e":{"a":1}},"sub_id":{"format":"opaque","id":"x"}}`, true},
		"with space":      {`{ "iss" : "https://idp.example.test", "aud":"hub","iat":1,"jti":"j","sub_id":{"format":"opaque", "id":"x"},"events":{"urn:e":{"a": 1}}}`, true},
		"another subject": {`{"iss":"https://idp.example.test","aud":"hub","iat":1,"jti":"j","sub_id":{"format":"opaque","id":"y"},"events":{"urn:e":{"a":1}}}`, false},
		"another event":   {`{"iss":"https://idp.example.test","aud":"hub","iat":1,"jti":"j","sub_id":{"format":"opaque","id":"x"},"events":{"urn:e":{"a":2}}}`, false},
		"one claim more":  {`{"iss":"https://idp.example.test","aud":"hub","iat":1,"jti":"j","txn":"t","sub_id":{"format":"opaque","id":"x"},"events":{"urn:e":{"a":1}}}`, false},
	} {
		got, err := Fingerprint([]byte(tc.payload))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if (got == first) != tc.same {
			t.Errorf("%s: same=%v, want %v", name, got == first, tc.same)
		}
	}
	if _, err := Fingerprint([]byte(`{"a":1,"a":2}`)); err == nil {
		t.Error("duplicate names have a fingerprint")
	}
	req.Covers(t, "RX-58", "RX-80")
}

// FuzzFingerprint: it never panics, and the same bytes give the same print.
func FuzzFingerprint(f *testing.F) {
	f.Add([]byte(payload))
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"iat":{"iat":1}}`))
	f.Add([]byte("{\"a\":\"\\u0000\"}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := Fingerprint(data)
		b, err2 := Fingerprint(data)
		if a != b || (err == nil) != (err2 == nil) {
			t.Errorf("%q and %q for one payload", a, b)
		}
	})
}
