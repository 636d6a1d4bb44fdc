package oauth

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"countersign/internal/hub"
)

// quiet is a house that says nothing, for fuzzing.
func quiet(t testing.TB) *house {
	h := newHouse(t, nil)
	h.cfg.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	return h
}

// FuzzTokenRequest holds the token endpoint to its answers: JSON of RFC 6749, never a token for who shows nothing right.
func FuzzTokenRequest(f *testing.F) {
	for _, body := range []string{
		form(grant, "client_id=post", "client_secret="+postSecret), form(grant, "client_id=post", "client_secret=x", "scope=ssf.read"),
		grant, "", "&&&", "grant_type=%zz", "a=1&a=2", grant + "&client_assertion_type=" + assertionType + "&client_assertion=a.b.c",
	} {
		f.Add("", body, "application/x-www-form-urlencoded")
		f.Add(basicField("rx", rxSecret), body, "application/x-www-form-urlencoded;charset=utf-8")
		f.Add("Basic x", body, "")
	}
	h := quiet(f)
	f.Fuzz(func(t *testing.T, auth, body, media string) {
		r := httptest.NewRequest("POST", "/oauth/token", strings.NewReader(body))
		r.Header["Content-Type"] = []string{media}
		if auth != "" {
			r.Header["Authorization"] = []string{auth}
		}
		h.failures, h.grants = newMeter(h.now), newMeter(h.now)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		var got struct {
			Token string `json:"access_token"`
			Error string `json:"error"`
			Scope string `json:"scope"`
		}
		if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
			t.Fatalf("%d %q: %v", rec.Code, rec.Body, err)
		}
		switch rec.Code {
		case 200:
			if got.Token == "" || got.Error != "" || got.Scope == "" {
				t.Errorf("%s", rec.Body)
			}
			// The fuzzer guesses no secret that it was not given.
			if !strings.Contains(auth, "cng6") && !strings.Contains(body, "another") && !strings.Contains(body, "%") {
				t.Errorf("a token for %q %q", auth, body)
			}
		case 400, 401, 413:
			if got.Token != "" || got.Error == "" {
				t.Errorf("%s", rec.Body)
			}
		default:
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
	})
}

// FuzzAssertion takes no assertion but those that the client's key signed.
func FuzzAssertion(f *testing.F) {
	h := quiet(f)
	good := sign(f, assertionHeader, h.assertion("signed"), rsaKey())
	f.Add(good)
	f.Add(sign(f, assertionHeader.with("alg", "none"), h.assertion("signed"), nil))
	f.Add(sign(f, assertionHeader.with("alg", "HS256"), h.assertion("signed"), []byte(postSecret)))
	f.Add(sign(f, assertionHeader, h.assertion("signed").with("aud", []any{hubIssuer, 1}), otherKey()))
	f.Add(sign(f, assertionHeader, object{"iss": "signed", "sub": "signed", "aud": hubIssuer, "exp": 1e300, "jti": "\u0000"}, rsaKey()))
	f.Add("a.b.c")
	f.Add("..")
	client := h.clients["default/signed"]
	f.Fuzz(func(t *testing.T, token string) {
		j, who, err := subjectOf(token)
		if err != nil {
			return
		}
		if who == "" || !utf8.ValidString(who) {
			t.Errorf("speaks for %q", who)
		}
		if err := h.assert(context.Background(), DefaultTenant, client, j); err == nil && token != good {
			if input, _, _ := cutLast(token); !strings.HasPrefix(good, input) && j.claims.Expires != nil && *j.claims.Expires < 1e12 {
				t.Errorf("taken: %q", token)
			}
		}
	})
}

func cutLast(token string) (before, after string, ok bool) {
	i := strings.LastIndexByte(token, '.')
	if i < 0 {
		return token, "", false
	}
	return token[:i], token[i+1:], true
}

// FuzzIntrospection reads an issuer's answers: what it gives is a finding of the tenant, or a reason.
func FuzzIntrospection(f *testing.F) {
	h, _ := withOutsider(f, true)
	i := h.external(DefaultTenant)
	for _, body := range []string{
		`{"active":true,"client_id":"rx","aud":"https://hub.example.test","scope":"ssf.read","exp":1800000000}`, `{"active":false}`, `{}`, `[]`, ``, `{"active":true}`,
		`{"active":true,"client_id":"rx","aud":["https://hub.example.test",7]}`, `{"active":true,"client_id":1}`, `{"active":true,"exp":-1e308,"client_id":"rx","aud":"https://hub.example.test"}`,
		`{"active":false,"active":true}`, `{"active":true,"cnf":{}}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := i.read(body, h.now())
		if err != nil {
			if code := hub.CodeOf(err); code != hub.Unauthenticated && code != hub.Unavailable {
				t.Errorf("%v", err)
			}
			return
		}
		var a struct {
			Active   bool   `json:"active"`
			ClientID string `json:"client_id"`
		}
		if json.Unmarshal(body, &a) != nil || !a.Active || got.client == "" || got.client != a.ClientID || got.tenant != DefaultTenant || got.all {
			t.Errorf("%+v of %s", got, body)
		}
		if got.expires != 0 && got.expires <= hub.At(h.now()) {
			t.Errorf("expired: %+v of %s", got, body)
		}
	})
}

// FuzzMetadata reads an external issuer's metadata.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"issuer":"` + outsideIssuer + `","jwks_uri":"https://as.example.test/keys"}`))
	f.Add([]byte(`{"issuer":"https://evil.test"}`))
	f.Add([]byte(`{"issuer":"a","issuer":"` + outsideIssuer + `"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if m, err := readMetadata(body, outsideIssuer); err == nil && m.Issuer != outsideIssuer {
			t.Errorf("%+v of %s", m, body)
		}
	})
}

// FuzzBasic reads an Authorization field.
func FuzzBasic(f *testing.F) {
	f.Add(basicField("rx", rxSecret))
	f.Add("Basic Og==")
	f.Add("basic  cng6eA==")
	f.Add("Bearer x")
	f.Fuzz(func(t *testing.T, field string) {
		client, secrets, err := basic(field)
		if err == nil && (len(secrets) == 0 || !clean(client)) {
			t.Errorf("%q %q", client, secrets)
		}
	})
}

var _ http.Handler = (*Server)(nil)
