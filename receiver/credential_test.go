package receiver_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/req"
	"countersign/receiver"
)

// consents is an authorization server that rotates refresh tokens: one that was used before ends the consent, as a stolen
// one would.
type consents struct {
	mu      sync.Mutex
	current string
	n       int
	forms   []url.Values
	slow    time.Duration
	fail    int // answers this status next
}

func (c *consents) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	time.Sleep(c.slow)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forms = append(c.forms, form)
	if c.fail != 0 {
		status := c.fail
		c.fail = 0
		return say(status, `{"error":"temporarily_unavailable"}`), nil
	}
	switch form.Get("grant_type") {
	case "refresh_token":
		if form.Get("refresh_token") != c.current {
			c.current = "revoked"
			return say(400, `{"error":"invalid_grant","error_description":"`+form.Get("refresh_token")+`"}`), nil
		}
	case "authorization_code":
		digest := sha256.Sum256([]byte(form.Get("code_verifier")))
		if form.Get("code") != "code-1" || base64.RawURLEncoding.EncodeToString(digest[:]) != c.current {
			return say(400, `{"error":"invalid_grant"}`), nil
		}
	}
	c.n++
	if r.Context().Err() != nil { // the token is replaced, and nobody hears of it
		c.current = fmt.Sprint("lost-", c.n)
		return nil, r.Context().Err()
	}
	c.current = fmt.Sprint("refresh-", c.n)
	return say(200, fmt.Sprintf(`{"access_token":"access-%d","token_type":"Bearer","expires_in":300,"refresh_token":%q}`, c.n, c.current)), nil
}

// safe is where refresh tokens are kept.
type safe struct {
	mu     sync.Mutex
	token  string
	saves  int
	broken bool
}

func (s *safe) load(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token, nil
}

func (s *safe) save(_ context.Context, token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return errors.New("disk full")
	}
	s.token, s.saves = token, s.saves+1
	return nil
}

func refreshing(c *consents, s *safe) *receiver.RefreshSource {
	return &receiver.RefreshSource{
		TokenSource: receiver.TokenSource{ClientID: "hub", Method: receiver.NoSecret, Endpoint: "https://as.example.test/token", HTTP: &http.Client{Transport: c}},
		Load:        s.load, Save: s.save,
	}
}

func TestRefreshTokenRotates(t *testing.T) {
	req.Covers(t, "AZ-24")
	synctest.Test(t, func(t *testing.T) {
		c, s := &consents{current: "refresh-0", slow: time.Second}, &safe{token: "refresh-0"}
		src := refreshing(c, s)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if token, err := src.Token(context.Background()); token != "access-1" || err != nil {
					t.Errorf("%q, %v", token, err)
				}
			})
		}
		all.Wait()
		if len(c.forms) != 1 || s.token != "refresh-1" || c.forms[0].Get("client_id") != "hub" || c.forms[0].Has("scope") {
			t.Errorf("%d exchanges, saved %q, form %v", len(c.forms), s.token, c.forms)
		}
		// It is exchanged again before the access token ends, and after a 401.
		time.Sleep(271 * time.Second)
		if token, err := src.Token(t.Context()); token != "access-2" || err != nil || s.token != "refresh-2" {
			t.Errorf("%q, %v, saved %q", token, err, s.token)
		}
		r := httptest.NewRequest("GET", "https://t.example.test", nil)
		if err := src.Authorize(r); err != nil || r.Header.Get("Authorization") != "Bearer access-2" || !src.Renew(r) {
			t.Errorf("%v, %v", r.Header, err)
		}
		if token, _ := src.Token(t.Context()); token != "access-3" {
			t.Errorf("%q after a 401", token)
		}
	})
}

// The new refresh token is saved before the old one is forgotten, whatever happens in between.
func TestRefreshTokenIsNotLost(t *testing.T) {
	t.Run("the place is full", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, s := &consents{current: "refresh-0"}, &safe{token: "refresh-0", broken: true}
			src := refreshing(c, s)
			for range 3 {
				if _, err := src.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "disk full") || strings.Contains(err.Error(), "refresh-1") {
					t.Errorf("%v", err)
				}
				time.Sleep(2 * time.Second)
			}
			if len(c.forms) != 1 {
				t.Errorf("%d exchanges while the first result is not safe", len(c.forms))
			}
			s.broken = false
			if token, err := src.Token(t.Context()); token != "access-2" || err != nil || s.token != "refresh-2" || s.saves != 2 {
				t.Errorf("%q, %v, saved %q", token, err, s.token)
			}
		})
	})
	t.Run("the caller goes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, s := &consents{current: "refresh-0", slow: 5 * time.Second}, &safe{token: "refresh-0"}
			src := refreshing(c, s)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, _ = src.Token(ctx)
			if s.token != "refresh-1" {
				t.Errorf("saved %q", s.token)
			}
			if token, err := src.Token(t.Context()); token != "access-1" || err != nil {
				t.Errorf("%q, %v", token, err)
			}
		})
	})
	t.Run("another process was first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, s := &consents{current: "refresh-0"}, &safe{token: "refresh-0"}
			src := refreshing(c, s)
			loads := 0
			src.Load = func(context.Context) (string, error) {
				if loads++; loads == 1 {
					return "refresh-old", nil
				}
				c.mu.Lock() // the server of this test forgives it
				c.current = "refresh-0"
				c.mu.Unlock()
				return "refresh-0", nil
			}
			if token, err := src.Token(t.Context()); token != "access-1" || err != nil || s.token != "refresh-1" {
				t.Errorf("%q, %v, saved %q", token, err, s.token)
			}
		})
	})
	t.Run("withdrawn", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, s := &consents{current: "other"}, &safe{token: "refresh-0"}
			_, err := refreshing(c, s).Token(t.Context())
			e, ok := errors.AsType[*receiver.TokenError](err)
			if !ok || e.Code != "invalid_grant" || len(c.forms) != 1 || s.token != "refresh-0" || strings.Contains(err.Error(), "refresh-0") || !strings.Contains(err.Error(), "give it anew") {
				t.Errorf("%v after %d exchanges", err, len(c.forms))
			}
		})
	})
	t.Run("trouble", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, s := &consents{current: "refresh-0", fail: 503}, &safe{token: "refresh-0"}
			src := refreshing(c, s)
			if _, err := src.Token(t.Context()); err == nil {
				t.Error("no error")
			}
			time.Sleep(2 * time.Second)
			if token, err := src.Token(t.Context()); token != "access-1" || err != nil {
				t.Errorf("%q, %v", token, err)
			}
		})
	})
	t.Run("none", func(t *testing.T) {
		if _, err := refreshing(new(consents), new(safe)).Token(t.Context()); !errors.Is(err, receiver.ErrConsent) {
			t.Errorf("%v", err)
		}
		if _, err := (&receiver.RefreshSource{}).Token(t.Context()); !errors.Is(err, receiver.ErrTokenConfig) {
			t.Errorf("%v", err)
		}
	})
}

func TestConsent(t *testing.T) {
	req.Covers(t, "AZ-26", "AZ-27")
	ctx := t.Context()
	c, s := new(consents), new(safe)
	src := refreshing(c, s)
	src.Issuer, src.Authorization, src.Scope = "https://as.example.test", "https://as.example.test/authorize?ui=1", "ssf.manage offline_access"
	begun, err := src.Begin(ctx, "https://hub.example/back")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(begun.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	digest := sha256.Sum256([]byte(begun.Verifier))
	for name, want := range map[string]string{
		"ui": "1", "response_type": "code", "client_id": "hub", "redirect_uri": "https://hub.example/back", "scope": "ssf.manage offline_access", "state": begun.State,
		"code_challenge": base64.RawURLEncoding.EncodeToString(digest[:]), "code_challenge_method": "S256",
	} {
		if q.Get(name) != want {
			t.Errorf("%s is %q", name, q.Get(name))
		}
	}
	if len(begun.Verifier) < 43 || strings.Contains(begun.URL, begun.Verifier) {
		t.Error("the verifier is short, or shown")
	}
	again, _ := src.Begin(ctx, "https://hub.example/back")
	if again.State == begun.State || again.Verifier == begun.Verifier {
		t.Error("two consents are alike")
	}
	// It survives being kept.
	raw, _ := json.Marshal(begun)
	var kept receiver.Consent
	if err := json.Unmarshal(raw, &kept); err != nil || kept != *begun {
		t.Errorf("%+v, %v", kept, err)
	}
	answer := func(pairs ...string) url.Values {
		v := url.Values{"code": {"code-1"}, "state": {begun.State}}
		for i := 0; i < len(pairs); i += 2 {
			v[pairs[i]] = nil
			if pairs[i+1] != "" {
				v[pairs[i]] = strings.Split(pairs[i+1], "|")
			}
		}
		return v
	}
	for name, v := range map[string]url.Values{
		"another state":  answer("state", "x"),
		"no state":       answer("state", ""),
		"two states":     answer("state", begun.State+"|"+begun.State),
		"refused":        answer("code", "", "error", "access_denied", "error_description", "no\x1b[2Jway"),
		"no code":        answer("code", ""),
		"another server": answer("iss", "https://evil.example"),
	} {
		if err := src.Finish(ctx, begun, v); !errors.Is(err, receiver.ErrRefusedConsent) || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(c.forms) != 0 {
		t.Errorf("the token endpoint was asked: %v", c.forms)
	}
	c.current = base64.RawURLEncoding.EncodeToString(digest[:])
	if err := src.Finish(ctx, begun, answer("iss", "https://as.example.test")); err != nil {
		t.Fatal(err)
	}
	if token, err := src.Token(ctx); token != "access-1" || err != nil || s.token != "refresh-1" || len(c.forms) != 1 || c.forms[0].Get("redirect_uri") != "https://hub.example/back" {
		t.Errorf("%q, %v, saved %q, forms %v", token, err, s.token, c.forms)
	}
	for _, back := range []string{"", "/back", "https://hub.example/#x", "::"} {
		if _, err := src.Begin(ctx, back); !errors.Is(err, receiver.ErrTokenConfig) {
			t.Errorf("back to %q: %v", back, err)
		}
	}
	// The address comes from the metadata of the authorization server where it is not given.
	a := newAuthority(t, nil)
	found := &receiver.RefreshSource{TokenSource: receiver.TokenSource{ClientID: "hub", Issuer: a.issuer}}
	if _, err := found.Begin(ctx, "https://hub.example/back"); !errors.Is(err, receiver.ErrTokenAnswer) {
		t.Errorf("metadata without authorization_endpoint: %v", err)
	}
	a.answer = nil
	a.consent = a.URL + "/authorize"
	found = &receiver.RefreshSource{TokenSource: receiver.TokenSource{ClientID: "hub", Issuer: a.issuer}}
	if got, err := found.Begin(ctx, "https://hub.example/back"); err != nil || !strings.HasPrefix(got.URL, a.URL+"/authorize?") {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestFinishWantsARefreshToken(t *testing.T) {
	a := newAuthority(t, nil) // gives none
	s := new(safe)
	src := &receiver.RefreshSource{TokenSource: receiver.TokenSource{ClientID: "hub", Secret: "s", Endpoint: a.URL + "/token"}, Save: s.save, Load: s.load}
	err := src.Finish(t.Context(), &receiver.Consent{State: "x"}, url.Values{"code": {"c"}, "state": {"x"}})
	if !errors.Is(err, receiver.ErrTokenAnswer) || !strings.Contains(err.Error(), "offline_access") || s.saves != 0 {
		t.Errorf("%v", err)
	}
}

func TestSignedJWT(t *testing.T) {
	req.Covers(t, "AZ-20", "AZ-21")
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	ecKey, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	now := start
	s := &receiver.SignedJWT{Key: rsaKey, KeyID: "k7", Issuer: "robot@project.iam.example", Audience: "https://risc.example/management", Now: func() time.Time { return now }}
	token := func() string {
		r := httptest.NewRequest("GET", "https://t.example.test", nil)
		if err := s.Authorize(r); err != nil {
			t.Fatal(err)
		}
		return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	first := token()
	header, claims := claimsOf(t, first, func(in, sig []byte) bool {
		digest := sha256.Sum256(in)
		return rsa.VerifyPKCS1v15(&rsaKey.PublicKey, crypto.SHA256, digest[:], sig) == nil
	})
	if header["alg"] != "RS256" || header["kid"] != "k7" || claims["iss"] != s.Issuer || claims["sub"] != s.Issuer || claims["aud"] != s.Audience ||
		claims["iat"] != float64(start.Unix()) || claims["exp"] != float64(start.Unix()+3600) || claims["jti"] == "" {
		t.Errorf("%v %v", header, claims)
	}
	now = start.Add(50 * time.Minute)
	if token() != first {
		t.Error("made anew long before its end")
	}
	now = start.Add(59*time.Minute + time.Second)
	second := token()
	if second == first {
		t.Error("not made anew near its end")
	}
	r := httptest.NewRequest("GET", "https://t.example.test", nil)
	r.Header.Set("Authorization", "Bearer "+second)
	if !s.Renew(r) || token() == second {
		t.Error("a refused one is shown again")
	}
	for name, bad := range map[string]*receiver.SignedJWT{
		"no key":      {Issuer: "i", Audience: "a"},
		"no issuer":   {Key: ecKey, Audience: "a"},
		"no audience": {Key: ecKey, Issuer: "i"},
		"too long":    {Key: ecKey, Issuer: "i", Audience: "a", Lifetime: 48 * time.Hour},
		"wrong alg":   {Key: ecKey, Issuer: "i", Audience: "a", Algorithm: "RS256"},
	} {
		if err := bad.Authorize(r); !errors.Is(err, receiver.ErrTokenConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFixedCredentials(t *testing.T) {
	for value, good := range map[string]bool{"Bearer abc": true, "Token token=a b": true, "abc": true, "": false, "Bearer ": false, "Bearer a b": false, "x\r\ny": false} {
		r := httptest.NewRequest("GET", "https://t.example.test", nil)
		err := receiver.Fixed(value).Authorize(r)
		if (err == nil) != good || good && r.Header.Get("Authorization") != value {
			t.Errorf("%q: %v", value, err)
		}
	}
	if receiver.Bearer("x").Renew(nil) {
		t.Error("a fixed token was renewed")
	}
}

// The refusals of an authorization server say what to do and on which side (Q-24).
func TestTokenRefusalsSayWhatToDo(t *testing.T) {
	req.Covers(t, "Q-24", "AZ-25")
	for code, says := range map[string]string{
		"invalid_scope":       "optional client scopes",
		"unauthorized_client": "allowed for the client there",
		"invalid_grant":       "give it anew",
		"invalid_client":      "does not know the client",
	} {
		a := newAuthority(t, func(w http.ResponseWriter, _ int) { w.WriteHeader(400); fmt.Fprintf(w, `{"error":%q}`, code) })
		_, err := (&receiver.TokenSource{ClientID: "hub", Secret: "s", Endpoint: a.URL + "/token"}).Token(t.Context())
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", code, err)
		}
	}
	if _, err := (&receiver.TokenSource{ClientID: "hub", Method: receiver.NoSecret, Endpoint: "https://as.example.test"}).Token(t.Context()); !errors.Is(err, receiver.ErrTokenConfig) {
		t.Errorf("client credentials without credentials: %v", err)
	}
}

func ExampleRefreshSource() {
	file := new(safe) // yours: a table, or a file that is written and renamed
	source := &receiver.RefreshSource{
		TokenSource:   receiver.TokenSource{ClientID: "hub", Secret: "from your secret store", Endpoint: "https://login.example.test/token"},
		Authorization: "https://login.example.test/authorize",
		Load:          file.load, Save: file.save,
	}
	consent, err := source.Begin(context.Background(), "https://hub.example/back") // once: send the browser to consent.URL
	if err != nil {
		fmt.Println(err)
		return
	}
	at, _ := url.Parse(consent.URL)
	fmt.Println(at.Host, at.Query().Get("code_challenge_method"))
	err = source.Finish(context.Background(), consent, url.Values{"error": {"access_denied"}, "state": {consent.State}}) // what came back
	fmt.Println(err)
	_ = &receiver.Client{Credential: source} // from then on
	// Output:
	// login.example.test S256
	// receiver: consent was not given: "access_denied" ""
}

func ExampleSignedJWT() {
	key, err := rsa.GenerateKey(rand.Reader, 2048) // from the key file: receiver.ParseKey
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &receiver.Client{Credential: &receiver.SignedJWT{
		Key: key, KeyID: "from the key file", Issuer: "robot@project.iam.gserviceaccount.com",
		Audience: "https://risc.googleapis.com/google.identity.risc.v1beta.RiscManagementService",
	}}
	fmt.Println(client.Credential != nil)
	// Output: true
}
