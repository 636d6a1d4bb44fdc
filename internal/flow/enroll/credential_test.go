package enroll

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/receiver"
)

// authority is an authorization server that writes down what it is asked.
type authority struct {
	*httptest.Server
	mu    sync.Mutex
	asked []url.Values
	basic []string
	fresh string // the refresh token that it takes now
}

func newAuthority(t *testing.T) *authority {
	a := &authority{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		r.ParseForm()
		user, _, _ := r.BasicAuth()
		a.asked, a.basic = append(a.asked, r.PostForm), append(a.basic, user)
		w.Header().Set("Content-Type", "application/json")
		out := map[string]any{"access_token": fmt.Sprint("t", len(a.asked)), "token_type": "Bearer", "expires_in": 3600}
		switch r.PostForm.Get("grant_type") {
		case "refresh_token":
			if r.PostForm.Get("refresh_token") != a.fresh {
				w.WriteHeader(400)
				w.Write([]byte(`{"error":"invalid_grant"}`))
				return
			}
			a.fresh += "+"
			out["refresh_token"] = a.fresh
		case "authorization_code":
			a.fresh = "r"
			out["refresh_token"] = a.fresh
		}
		json.NewEncoder(w).Encode(out)
	}))
	t.Cleanup(a.Close)
	return a
}

func testKey(t *testing.T) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// Each way to show ourselves, and one token for everybody who calls there.
func TestCredentials(t *testing.T) {
	a := newAuthority(t)
	values := map[string]string{"secret": strings.Repeat("hush", 8), "token": "fixed", "key": testKey(t)}
	e := New(Config{Client: a.Client(), Vault: safe{map[string][]byte{}}, Secret: func(_ context.Context, _ string, s *hub.Secret) (string, error) { return values[s.Stored], nil }})
	secret, key, token := &hub.Secret{Stored: "secret"}, &hub.Secret{Stored: "key"}, &hub.Secret{Stored: "token"}
	for _, c := range []struct {
		auth *hub.Auth
		want func(form url.Values, basic, shown string) bool
	}{
		{&hub.Auth{Method: "bearer", Token: token}, func(_ url.Values, _, shown string) bool { return shown == "Bearer fixed" }},
		{&hub.Auth{Method: "client_secret_basic", ClientID: "c", ClientSecret: secret, TokenEndpoint: a.URL}, func(f url.Values, basic, _ string) bool {
			return basic == "c" && f.Get("scope") == receiver.DefaultScope
		}},
		{&hub.Auth{Method: "client_secret_post", ClientID: "c", ClientSecret: secret, TokenEndpoint: a.URL, Scope: "x"}, func(f url.Values, _, _ string) bool {
			return f.Get("client_secret") == values["secret"] && f.Get("scope") == "x"
		}},
		{&hub.Auth{Method: "client_secret_jwt", ClientID: "c", ClientSecret: secret, TokenEndpoint: a.URL}, func(f url.Values, _, _ string) bool {
			return strings.Count(f.Get("client_assertion"), ".") == 2 && f.Get("client_secret") == ""
		}},
		{&hub.Auth{Method: "private_key_jwt", ClientID: "c", Key: key, TokenEndpoint: a.URL}, func(f url.Values, _, _ string) bool { return f.Get("client_assertion") != "" }},
		{&hub.Auth{Method: "signed_jwt", Key: key, Issuer: "me@example.test", Audience: "https://api.example.test"}, func(_ url.Values, _, shown string) bool {
			return strings.HasPrefix(shown, "Bearer eyJ")
		}},
	} {
		t.Run(c.auth.Method, func(t *testing.T) {
			before := len(a.asked)
			src := &hub.Source{Name: "idp", Auth: c.auth}
			var all sync.WaitGroup
			shown := make([]string, 16)
			for i := range shown {
				all.Go(func() {
					cred, err := e.Credentials(t.Context(), "default", src)
					if err != nil {
						t.Error(err)
						return
					}
					r := httptest.NewRequestWithContext(t.Context(), "GET", "https://idp.example.test/", nil)
					if err := cred.Authorize(r); err != nil {
						t.Error(err)
					}
					shown[i] = r.Header.Get("Authorization")
				})
			}
			all.Wait()
			form, basic := url.Values{}, ""
			if n := len(a.asked) - before; n > 1 {
				t.Fatalf("%d tokens were asked for", n)
			} else if n == 1 {
				form, basic = a.asked[before], a.basic[before]
			}
			for _, s := range shown {
				if s == "" || s != shown[0] || !c.want(form, basic, s) {
					t.Fatalf("shown %q, asked %v", s, form)
				}
			}
		})
	}
	// Another secret is another credential, and none is none.
	src := &hub.Source{Name: "idp", Auth: &hub.Auth{Method: "bearer", Token: token}}
	one, _ := e.Credentials(t.Context(), "default", src)
	values["token"] = "changed"
	two, err := e.Credentials(t.Context(), "default", src)
	r := httptest.NewRequest("GET", "https://idp.example.test/", nil)
	if err != nil || one == nil || two.Authorize(r) != nil || r.Header.Get("Authorization") != "Bearer changed" {
		t.Errorf("shown %q, %v", r.Header.Get("Authorization"), err)
	}
	if none, err := e.Credentials(t.Context(), "default", &hub.Source{Name: "idp", Auth: &hub.Auth{Method: "none"}}); none != nil || err != nil {
		t.Errorf("none: %v, %v", none, err)
	}
	if _, err := e.Credentials(t.Context(), "default", &hub.Source{Name: "idp", Auth: &hub.Auth{Method: "private_key_jwt", ClientID: "c", Key: token}}); err == nil || strings.Contains(err.Error(), "changed") {
		t.Errorf("a key that is none: %v", err)
	}
	req.Covers(t, "RX-14", "AZ-23", "AZ-25")
}

// A person's consent is begun and finished by hand; the refresh token is kept among the secrets and replaced at each use.
func TestConsent(t *testing.T) {
	a := newAuthority(t)
	r := newRig(t)
	r.src.Stream = "none"
	r.src.Auth = &hub.Auth{Method: "refresh_token", ClientID: "c", TokenEndpoint: a.URL, AuthorizationEndpoint: a.URL + "/authorize"}
	r.run()
	if _, err := r.e.Step(t.Context(), "default", "idp", StepRead, StepInput{}); hub.CodeOf(err) == "" || !strings.Contains(err.Error(), "no consent") {
		t.Errorf("before the consent: %v", err)
	}
	c, err := r.e.Begin(t.Context(), "default", "idp", "http://127.0.0.1:9/callback")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Query().Get("code_challenge_method") != "S256" || strings.Contains(c.URL, c.Ticket) {
		t.Fatalf("%s, %v", c.URL, err)
	}
	answer := url.Values{"code": {"x"}, "state": {u.Query().Get("state")}}
	for name, bad := range map[string]func() error{
		"another state": func() error {
			return r.e.Finish(t.Context(), "default", "idp", c.Ticket, url.Values{"code": {"x"}, "state": {"y"}})
		},
		"refused": func() error {
			return r.e.Finish(t.Context(), "default", "idp", c.Ticket, url.Values{"error": {"access_denied"}, "state": answer["state"]})
		},
		"another ticket": func() error { return r.e.Finish(t.Context(), "default", "idp", c.Ticket[4:], answer) },
		"of another":     func() error { return r.e.Finish(t.Context(), "other", "idp", c.Ticket, answer) },
	} {
		if err := bad(); err == nil || hub.CodeOf(err) == hub.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.e.Finish(t.Context(), "default", "idp", c.Ticket, answer); err != nil {
		t.Fatal(err)
	}
	kept := func() string {
		_, token, _ := strings.Cut(string(r.safe.values["default/"+RefreshName("idp")]), " ")
		return token
	}
	if got := kept(); got != "r" || a.asked[len(a.asked)-1].Get("code_verifier") == "" {
		t.Errorf("kept %q, asked %v", got, a.asked)
	}
	r.start() // nothing of it is in memory only
	if _, err := r.e.Step(t.Context(), "default", "idp", StepCreate, StepInput{}); err != nil {
		t.Fatal(err)
	}
	if got := kept(); got != "r+" {
		t.Errorf("after a use the token kept is %q", got)
	}
	r.now = r.now.Add(consentLife + 1)
	if err := r.e.Finish(t.Context(), "default", "idp", c.Ticket, answer); hub.CodeOf(err) != hub.Conflict {
		t.Errorf("late: %v", err)
	}
	r.src.Auth = &hub.Auth{Method: "none"}
	if _, err := r.e.Begin(t.Context(), "default", "idp", "http://127.0.0.1:9/"); hub.CodeOf(err) != hub.Conflict {
		t.Errorf("nobody's consent is needed: %v", err)
	}
}

// A credential for polls that the transmitter gave with the stream is sealed, and used where its quirk is let pass.
func TestPollToken(t *testing.T) {
	for quirk, want := range map[string]string{"Q-54/token": "Bearer of-the-stream", "": "Bearer hush-hush-hush"} {
		r := newRig(t)
		r.src.Delivery, r.src.Auth = "poll", &hub.Auth{Method: "bearer", Token: &hub.Secret{Stored: "t"}}
		if quirk != "" {
			r.src.Relax = []string{quirk}
		}
		r.p.pollToken = "Bearer of-the-stream"
		s := r.run()
		cred, err := r.e.PollCredential(t.Context(), "default", r.src, s)
		if err != nil {
			t.Fatal(err)
		}
		q := httptest.NewRequest("POST", s.PollURL, nil)
		if err := cred.Authorize(q); err != nil || q.Header.Get("Authorization") != want {
			t.Errorf("%s: %q, %v", quirk, q.Header.Get("Authorization"), err)
		}
	}
}

// A source that is given another issuer: until its stream is at the new one, the keys of the old one sign nothing for it, and
// the address to poll of the old one, which may have gone over to an enemy, is not shown what is meant for the new one.
func TestAnotherIssuerHasAnothersKeys(t *testing.T) {
	r := newRig(t)
	r.src.Delivery = "poll"
	s := r.run()
	if s.Keys(r.src) == "" || !s.Polled(r.src) {
		t.Fatalf("%+v", s)
	}
	moved := *r.src
	moved.Issuer = "https://new.example.test"
	if got := s.Keys(&moved); got != "" {
		t.Errorf("the keys of the issuer before, %s, are taken for those of the new one", got)
	}
	if s.Polled(&moved) {
		t.Error("the issuer before is polled with the credential for the new one")
	}
	r.src = &moved
	polls := len(r.p.polls)
	if _, err := r.e.Step(t.Context(), "default", "idp", StepPoll, StepInput{}); hub.CodeOf(err) != hub.Conflict || len(r.p.polls) != polls {
		t.Errorf("a poll by hand: %v, %d polls", err, len(r.p.polls)-polls)
	}

	// So it is where nobody keeps a stream, and the keys were read when the first token came.
	r = newRig(t)
	r.src.Stream = "none"
	r.run()
	uri, err := r.e.KeysURI(t.Context(), "default", r.src)
	if s = r.state(); err != nil || uri == "" || s.Keys(r.src) != uri {
		t.Fatalf("%q, %+v, %v", uri, s, err)
	}
	moved = *r.src
	moved.Issuer = "https://new.example.test"
	if got := s.Keys(&moved); got != "" {
		t.Errorf("stream: none: the keys of the issuer before, %s, are taken for those of the new one", got)
	}
}

// The refresh token of a source is shown to the authorization server that gave it and to no other, and it goes with the source.
func TestRefreshTokenOfAnother(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	r := newRig(t)
	r.src.Stream = "none"
	r.src.Auth = &hub.Auth{Method: "refresh_token", ClientID: "c", TokenEndpoint: a.URL, AuthorizationEndpoint: a.URL + "/authorize"}
	r.run()
	c, err := r.e.Begin(t.Context(), "default", "idp", "http://127.0.0.1:9/callback")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.e.Finish(t.Context(), "default", "idp", c.Ticket, url.Values{"code": {"x"}, "state": {u.Query().Get("state")}}); err != nil {
		t.Fatal(err)
	}
	elsewhere := *r.src
	elsewhere.Auth = &hub.Auth{Method: "refresh_token", ClientID: "c", TokenEndpoint: other.URL, AuthorizationEndpoint: other.URL + "/authorize"}
	mine := r.src
	r.src = &elsewhere
	if _, err := r.e.Step(t.Context(), "default", "idp", StepRead, StepInput{}); err == nil || !strings.Contains(err.Error(), "no consent") || len(other.asked) != 0 {
		t.Errorf("%v; the other authorization server was asked %v", err, other.asked)
	}
	r.src = mine // it was a mistake: the consent is still good
	if _, err := r.e.Step(t.Context(), "default", "idp", StepRead, StepInput{}); err != nil {
		t.Error(err)
	}
	r.src = nil
	if r.run(); len(r.safe.values) != 0 {
		t.Errorf("the source is gone and its refresh token is not: %q", r.safe.values)
	}
}
