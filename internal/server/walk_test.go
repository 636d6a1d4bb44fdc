package server

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"countersign/internal/egress"
)

// Every address that a resource may name is held to the guard when it is given, in whatever way it is written.
func TestInnerAddressesOfResources(t *testing.T) {
	w := newWorld(t)
	w.applyAt("default", `{"kind":"client","name":"crm","auth":"bearer","scopes":["ssf.read","ssf.manage"],"streams":"many"}`)
	if status, body := w.call("PUT", "/secrets/in", map[string]string{"value": "a-secret-of-sixteen"}); status >= 300 {
		t.Fatalf("%d %s", status, body)
	}
	for field, doc := range map[string]string{
		"deliver.to":                   `{"kind":"stream","name":"s","client":"crm","deliver":{"to":"ADDRESS"}}`,
		"deliver.to, direct":           `{"kind":"stream","name":"s","client":"crm","deliver":{"to":"ADDRESS","direct":true},"shape":"okta"}`,
		"orders.jwks_uri":              `{"kind":"stream","name":"s","client":"crm","deliver":{"poll":true},"orders":{"receipts":true,"issuer":"https://rx.example","jwks_uri":"ADDRESS"}}`,
		"keys.jwks_uri":                `{"kind":"client","name":"signed","auth":"private_key_jwt","scopes":["ssf.read"],"keys":{"jwks_uri":"ADDRESS"}}`,
		"oauth.jwks_uri":               `{"kind":"tenant","name":"blue","oauth":{"issuer":"https://as.example","jwks_uri":"ADDRESS"}}`,
		"oauth.issuer":                 `{"kind":"tenant","name":"blue","oauth":{"issuer":"ADDRESS"}}`,
		"oauth.introspection.endpoint": `{"kind":"tenant","name":"blue","oauth":{"issuer":"https://as.example","introspection":{"endpoint":"ADDRESS","client_id":"hub","client_secret":{"stored":"in"}}}}`,
	} {
		for _, address := range []string{"https://169.254.169.254/latest", "https://[::ffff:169.254.169.254]/x", "https://10.0.0.1", "https://192.168.1.1:8443/x", "https://[fd00:ec2::254]/",
			"https://[64:ff9b::a9fe:a9fe]/", "https://100.100.100.200/", "https://0.0.0.0/", "http://rx.example.test/x", "https://user:secret@rx.example.test/", "file:///etc/passwd", "gopher://rx.example.test/"} {
			status, body := w.tryApplyAt("default", strings.Replace(doc, "ADDRESS", address, 1))
			if status != 400 {
				t.Errorf("%s: %s: %d %s", field, address, status, body)
			}
			if strings.Contains(string(body), "secret@") {
				t.Errorf("%s: the answer repeats a credential: %s", field, body)
			}
		}
	}
}

// A name is looked at when it is called: all three ways out go through the guard, and none follows a redirect.
func TestWaysOutAreGuarded(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]*http.Client{"calls": w.srv.client, "polls": w.srv.poll, "pushes": {Transport: w.srv.push}} {
		for _, address := range []string{"https://169.254.169.254/", "https://10.0.0.1/", "https://[fe80::1]/", "http://127.0.0.1/"} {
			resp, err := c.Get(address)
			if err == nil {
				resp.Body.Close()
			}
			if !errors.Is(err, egress.ErrRefused) {
				t.Errorf("%s: %s: %v", name, address, err)
			}
		}
		if name != "pushes" && (c.CheckRedirect == nil || !errors.Is(c.CheckRedirect(nil, nil), http.ErrUseLastResponse)) {
			t.Errorf("%s follow redirects", name)
		}
	}
	if !errors.Is(w.srv.probe.CheckRedirect(nil, nil), http.ErrUseLastResponse) {
		t.Error("the doctor's probe follows redirects")
	}
}
