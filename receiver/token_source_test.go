package receiver_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
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
	"countersign/set"
	"countersign/stream"
)

const longSecret = "a secret: with+signs/ and 32 bytes and more"

// authority is an authorization server; answer gives what its token endpoint says.
type authority struct {
	*httptest.Server
	mu     sync.Mutex
	forms  []url.Values
	basic  []string
	paths  []string
	issuer string
	// consent is the authorization_endpoint of its metadata.
	consent string
	answer  func(w http.ResponseWriter, n int)
}

func newAuthority(t *testing.T, answer func(w http.ResponseWriter, n int)) *authority {
	a := &authority{answer: answer}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		a.paths = append(a.paths, r.Method+" "+r.URL.Path)
		if r.Method == http.MethodGet {
			fmt.Fprintf(w, `{"issuer":%q,"token_endpoint":%q,"authorization_endpoint":%q}`, a.issuer, a.URL+"/token", a.consent)
			return
		}
		r.ParseForm()
		a.forms = append(a.forms, r.PostForm)
		a.basic = append(a.basic, r.Header.Get("Authorization"))
		if a.answer != nil {
			a.answer(w, len(a.forms))
			return
		}
		fmt.Fprintf(w, `{"access_token":"t%d","token_type":"bearer","expires_in":3600}`, len(a.forms))
	}))
	a.issuer = a.URL + "/realms/one"
	t.Cleanup(a.Close)
	return a
}

// claimsOf verifies an assertion with check and gives its header and claims.
func claimsOf(t *testing.T, assertion string, check func(input, signature []byte) bool) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		t.Fatalf("assertion is %q", assertion)
	}
	for i, into := range []*map[string]any{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(raw, into) != nil {
			t.Fatalf("part %d: %v", i, err)
		}
	}
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
	if !check([]byte(parts[0]+"."+parts[1]), signature) {
		t.Error("the signature is wrong")
	}
	return header, claims
}

func TestTokenSourceMethods(t *testing.T) {
	req.Covers(t, "IOP-23", "AZ-17", "AZ-18", "AZ-19", "AZ-20", "AZ-21", "AZ-22", "AZ-25")
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	ecKey, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	edPublic, edKey, _ := ed25519.GenerateKey(rand.Reader)
	digest := func(b []byte) []byte { d := sha256.Sum256(b); return d[:] }
	es256 := func(in, sig []byte) bool {
		return len(sig) == 64 && ecdsa.Verify(&ecKey.PublicKey, digest(in), new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
	}
	for name, c := range map[string]struct {
		source *receiver.TokenSource
		alg    string
		check  func(in, sig []byte) bool
	}{
		"default": {source: &receiver.TokenSource{Secret: longSecret}},
		"post":    {source: &receiver.TokenSource{Method: receiver.ClientSecretPost, Secret: longSecret}},
		"hmac": {&receiver.TokenSource{Method: receiver.ClientSecretJWT, Secret: longSecret}, "HS256", func(in, sig []byte) bool {
			m := hmac.New(sha256.New, []byte(longSecret))
			m.Write(in)
			return hmac.Equal(m.Sum(nil), sig)
		}},
		"rsa": {&receiver.TokenSource{Method: receiver.PrivateKeyJWT, Key: rsaKey, KeyID: "k"}, "RS256", func(in, sig []byte) bool {
			return rsa.VerifyPKCS1v15(&rsaKey.PublicKey, crypto.SHA256, digest(in), sig) == nil
		}},
		"pss": {&receiver.TokenSource{Method: receiver.PrivateKeyJWT, Key: rsaKey, KeyID: "k", Algorithm: set.PS256}, "PS256", func(in, sig []byte) bool {
			return rsa.VerifyPSS(&rsaKey.PublicKey, crypto.SHA256, digest(in), sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}},
		"ec":       {&receiver.TokenSource{Method: receiver.PrivateKeyJWT, Key: ecKey, KeyID: "k"}, "ES256", es256},
		"endpoint": {&receiver.TokenSource{Method: receiver.PrivateKeyJWT, Key: ecKey, KeyID: "k", EndpointAudience: true}, "ES256", es256},
		"ed":       {&receiver.TokenSource{Method: receiver.PrivateKeyJWT, Key: edKey, KeyID: "k"}, "EdDSA", func(in, sig []byte) bool { return ed25519.Verify(edPublic, in, sig) }},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t, nil)
			src := c.source
			src.ClientID, src.Issuer = "hub: one", a.issuer
			if token, err := src.Token(t.Context()); err != nil || token != "t1" {
				t.Fatalf("%q, %v", token, err)
			}
			form := a.forms[0]
			if form.Get("grant_type") != "client_credentials" || form.Get("scope") != receiver.DefaultScope {
				t.Errorf("form %v", form)
			}
			// Form-encoded before base64, as RFC 6749 §2.3.1 has it.
			basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("hub%3A+one:"+url.QueryEscape(longSecret)))
			if (a.basic[0] == basic) != (name == "default") || name != "default" && a.basic[0] != "" {
				t.Errorf("Authorization %q", a.basic[0])
			}
			if (form.Get("client_secret") == longSecret) != (name == "post") {
				t.Errorf("form %v", form)
			}
			if c.check == nil {
				if form.Has("client_assertion") {
					t.Error("an assertion was sent")
				}
				return
			}
			if form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || form.Get("client_id") != src.ClientID {
				t.Errorf("form %v", form)
			}
			header, claims := claimsOf(t, form.Get("client_assertion"), c.check)
			aud := a.issuer
			if name == "endpoint" {
				aud = a.URL + "/token"
			}
			if header["alg"] != c.alg || (header["kid"] == "k") != (src.KeyID == "k") {
				t.Errorf("header %v", header)
			}
			life := claims["exp"].(float64) - claims["iat"].(float64)
			if claims["iss"] != src.ClientID || claims["sub"] != src.ClientID || claims["aud"] != aud || life <= 0 || life > 60 {
				t.Errorf("claims %v", claims)
			}
			// A second token is asked for with another jti.
			r := httptest.NewRequest("GET", "https://t.example.test", nil)
			r.Header.Set("Authorization", "Bearer t1")
			src.Renew(r)
			if token, err := src.Token(t.Context()); err != nil || token != "t2" {
				t.Fatalf("%q, %v", token, err)
			}
			if _, again := claimsOf(t, a.forms[1].Get("client_assertion"), c.check); again["jti"] == claims["jti"] || claims["jti"] == "" {
				t.Errorf("jti %v twice", again["jti"])
			}
		})
	}
}

func TestTokenSourceDiscovers(t *testing.T) {
	req.Covers(t, "AZ-26", "AZ-27")
	a := newAuthority(t, nil)
	src := &receiver.TokenSource{ClientID: "hub", Secret: "s", Issuer: a.issuer}
	if _, err := src.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.paths[0] != "GET /.well-known/oauth-authorization-server/realms/one" {
		t.Errorf("asked %q", a.paths)
	}
	a.issuer += "/"
	other := &receiver.TokenSource{ClientID: "hub", Secret: "s", Issuer: strings.TrimSuffix(a.issuer, "/")}
	if _, err := other.Token(t.Context()); !errors.Is(err, receiver.ErrIssuer) {
		t.Errorf("a foreign issuer: %v", err)
	}
	if len(a.forms) != 1 {
		t.Error("the secret went to the endpoint of a foreign issuer")
	}
}

func TestTokenSourceRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, n int)
		source *receiver.TokenSource
		want   error
		says   string
	}{
		"invalid_client": {answer: func(w http.ResponseWriter, _ int) {
			w.WriteHeader(401)
			fmt.Fprintf(w, `{"error":"invalid_client","error_description":"no secret %s\u0007here"}`, longSecret)
		}, says: "401 Unauthorized invalid_client (\"no secret *** here\"): it does not know the client"},
		"page":     {answer: func(w http.ResponseWriter, _ int) { w.WriteHeader(502); w.Write([]byte("<html>")) }, says: "502 Bad Gateway: try again"},
		"redirect": {answer: func(w http.ResponseWriter, _ int) { w.Header().Set("Location", "/token"); w.WriteHeader(307) }, says: "redirects are not followed"},
		"mac":      {answer: func(w http.ResponseWriter, _ int) { w.Write([]byte(`{"access_token":"x","token_type":"mac"}`)) }, want: receiver.ErrTokenAnswer, says: "not Bearer"},
		"empty":    {answer: func(w http.ResponseWriter, _ int) {}, want: receiver.ErrTokenAnswer, says: "no token answer"},
		"line":     {answer: func(w http.ResponseWriter, _ int) { w.Write([]byte(`{"access_token":"x\ny","token_type":"Bearer"}`)) }, want: receiver.ErrTokenAnswer, says: "no bearer token"},
		"lifetime": {answer: func(w http.ResponseWriter, _ int) {
			w.Write([]byte(`{"access_token":"x","token_type":"Bearer","expires_in":-1}`))
		}, want: receiver.ErrTokenAnswer, says: "expires_in"},
		"giant":     {answer: func(w http.ResponseWriter, _ int) { w.Write([]byte(strings.Repeat(" ", 70_000))) }, want: receiver.ErrTokenAnswer, says: "longer than"},
		"short":     {source: &receiver.TokenSource{Method: receiver.ClientSecretJWT, Secret: "short"}, want: receiver.ErrTokenConfig, says: "32 bytes"},
		"no key":    {source: &receiver.TokenSource{Method: receiver.PrivateKeyJWT}, want: receiver.ErrTokenConfig, says: "needs a key"},
		"no method": {source: &receiver.TokenSource{Method: "tls_client_auth"}, want: receiver.ErrTokenConfig, says: "no method"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t, c.answer)
			src := c.source
			if src == nil {
				src = new(receiver.TokenSource)
			}
			src.ClientID, src.Endpoint = "hub", a.URL+"/token"
			if src.Method == "" {
				src.Secret = longSecret
			}
			_, err := src.Token(t.Context())
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), longSecret) {
				t.Errorf("%v", err)
			}
			if _, ok := errors.AsType[*receiver.TokenError](err); ok != (c.want == nil) {
				t.Errorf("%T", err)
			}
		})
	}
}

// inMemory answers without a network, for bubbles of synctest.
type inMemory func(*http.Request) (int, string)

func (f inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := f(r)
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	if status == 429 {
		w.Header().Set("Retry-After", "30")
	}
	w.WriteHeader(status)
	w.WriteString(body)
	return w.Result(), nil
}

func TestTokenIsKeptSharedAndRefreshedEarly(t *testing.T) {
	req.Covers(t, "AZ-24")
	synctest.Test(t, func(t *testing.T) {
		asked, limited := 0, false
		src := &receiver.TokenSource{ClientID: "hub", Secret: "s", Endpoint: "https://as.example.test/token", HTTP: &http.Client{Transport: inMemory(func(*http.Request) (int, string) {
			asked++
			time.Sleep(time.Second)
			if limited {
				return 429, ""
			}
			return 200, fmt.Sprintf(`{"access_token":"t%d","token_type":"Bearer","expires_in":"600"}`, asked)
		})}}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if token, err := src.Token(context.Background()); err != nil || token != "t1" {
					t.Errorf("%q, %v", token, err)
				}
			})
		}
		all.Wait()
		time.Sleep(560 * time.Second)
		if token, _ := src.Token(t.Context()); token != "t1" || asked != 1 {
			t.Errorf("%q after %d requests, long before the end", token, asked)
		}
		time.Sleep(15 * time.Second)
		if token, _ := src.Token(t.Context()); token != "t2" {
			t.Errorf("%q so near the end", token)
		}
		limited = true
		time.Sleep(600 * time.Second)
		for range 5 {
			if _, err := src.Token(t.Context()); err == nil {
				t.Error("no error after 429")
			}
			time.Sleep(5 * time.Second)
		}
		if asked != 3 {
			t.Errorf("asked %d times, though told to wait", asked)
		}
	})
}

func TestClientTriesOnceMoreAfter401(t *testing.T) {
	req.Covers(t, "AZ-24", "RX-96", "Q-25")
	for name, c := range map[string]struct {
		good      string
		calls     int
		unwelcome bool
	}{"revoked": {"t2", 2, false}, "never": {"none", 2, true}} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t, nil)
			calls := 0
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls++
				if r.Header.Get("Authorization") != "Bearer "+c.good {
					w.WriteHeader(401)
					return
				}
				w.Write([]byte(`{"stream_id":"s","status":"enabled"}`))
			}))
			defer api.Close()
			src := &receiver.TokenSource{ClientID: "hub", Secret: "s", Endpoint: a.URL + "/token"}
			client := &receiver.Client{Authorize: src.Authorize, Renew: src.Renew}
			_, err := client.Status(t.Context(), &stream.Metadata{StatusEndpoint: api.URL}, "s")
			if (err != nil) != c.unwelcome || calls != c.calls {
				t.Errorf("%d calls, %v", calls, err)
			}
		})
	}
}

func TestParseKey(t *testing.T) {
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	small, _ := rsa.GenerateKey(rand.Reader, 1024)
	ecKey, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	wide, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	b := base64.RawURLEncoding.EncodeToString
	pkcs8 := func(k any) string {
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	sec1, _ := x509.MarshalECPrivateKey(ecKey)
	point, _ := ecKey.PublicKey.Bytes()
	d, _ := ecKey.Bytes()
	ecJWK := fmt.Sprintf(`{"kty":"EC","crv":"P-256","kid":"e","d":%q,"x":%q,"y":%q}`, b(d), b(point[1:33]), b(point[33:]))
	for name, c := range map[string]struct {
		in   string
		want crypto.Signer
		kid  string
	}{
		"pkcs8 rsa": {pkcs8(rsaKey), rsaKey, ""}, "pkcs8 ec": {pkcs8(ecKey), ecKey, ""}, "pkcs8 ed": {pkcs8(edKey), edKey, ""},
		"pkcs1":  {string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})), rsaKey, ""},
		"sec1":   {string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})), ecKey, ""},
		"jwk ec": {ecJWK, ecKey, "e"},
		"jwk ed": {fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":"o","d":%q,"x":%q}`, b(edKey.Seed()), b(edKey[32:])), edKey, "o"},
		"jwk rsa": {fmt.Sprintf(`{"kty":"RSA","kid":"r","n":%q,"e":"AQAB","d":%q,"p":%q,"q":%q}`,
			b(rsaKey.N.Bytes()), b(rsaKey.D.Bytes()), b(rsaKey.Primes[0].Bytes()), b(rsaKey.Primes[1].Bytes())), rsaKey, "r"},
		"small":    {pkcs8(small), nil, ""},
		"p-384":    {pkcs8(wide), nil, ""},
		"no key":   {"secret words", nil, ""},
		"public":   {`{"kty":"OKP","crv":"Ed25519","x":"` + b(edKey[32:]) + `"}`, nil, ""},
		"mixed":    {fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","d":%q,"x":%q}`, b(edKey.Seed()), b(make([]byte, 32))), nil, ""},
		"mixed ec": {strings.Replace(ecJWK, b(point[1:33]), b(point[33:]), 1), nil, ""},
		"oct":      {`{"kty":"oct","k":"AAAA"}`, nil, ""},
	} {
		key, kid, err := receiver.ParseKey([]byte(c.in))
		if (err == nil) != (c.want != nil) || kid != c.kid || err != nil && strings.Contains(err.Error(), "words") {
			t.Errorf("%s: kid %q, %v", name, kid, err)
		}
		if err == nil && !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(c.want.Public()) {
			t.Errorf("%s: another key", name)
		}
	}
}

func FuzzTokenAnswer(f *testing.F) {
	for _, s := range []string{`{"access_token":"t","token_type":"Bearer","expires_in":1}`, `{"expires_in":"9"}`, `{"error":"invalid_client"}`, ``, `[]`, `{"access_token":"t","token_type":"Bearer","expires_in":1e999}`} {
		f.Add(s, 200)
		f.Add(s, 400)
	}
	f.Fuzz(func(t *testing.T, body string, status int) {
		if status < 200 || status > 599 {
			status = 200
		}
		src := &receiver.TokenSource{ClientID: "hub", Secret: "s", Endpoint: "https://as.example.test/token",
			HTTP: &http.Client{Transport: inMemory(func(*http.Request) (int, string) { return status, body })}}
		token, err := src.Token(t.Context())
		if (err == nil) != (token != "") || strings.ContainsAny(token, " \r\n\x00") || err == nil && status != 200 {
			t.Errorf("%q, %v", token, err)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte(`{"kty":"OKP","crv":"Ed25519","d":"AA","x":"AA"}`))
	f.Add([]byte(`{"kty":"EC","crv":"P-256","d":"AA","x":"AA","y":"AA"}`))
	f.Add([]byte(`{"kty":"RSA","n":"AQ","e":"AQAB","d":"AQ","p":"AQ","q":"AQ"}`))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if key, _, err := receiver.ParseKey(data); (err == nil) != (key != nil) {
			t.Errorf("%v, %v", key, err)
		}
	})
}

func ExampleTokenSource() {
	source := &receiver.TokenSource{
		Method: receiver.ClientSecretBasic, ClientID: "hub", Secret: "from your secret store",
		Issuer: "https://login.example.test/realms/one",
	}
	client := &receiver.Client{Authorize: source.Authorize, Renew: source.Renew}
	_ = client // its calls carry an access token now
	fmt.Println(receiver.DefaultScope)
	// Output: ssf.manage ssf.read
}
