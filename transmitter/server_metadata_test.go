package transmitter_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"countersign/internal/req"
	"countersign/set"
	"countersign/stream"
	"countersign/transmitter"
)

func TestMetadata(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	for _, path := range []string{"/.well-known/ssf-configuration/t/blue", "/t/blue/.well-known/ssf-configuration"} {
		r := do(x, call{method: "GET", path: path})
		if r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("%s: %d %s", path, r.StatusCode, r.Header.Get("Content-Type"))
		}
		body := text(t, r)
		if strings.Contains(body, "[]") || strings.Contains(body, "null") {
			t.Errorf("empty members: %s", body)
		}
		var md stream.Metadata
		if err := json.Unmarshal([]byte(body), &md); err != nil {
			t.Fatal(err)
		}
		if md.Issuer != issuer || md.SpecVersion != "1_0" || md.JWKSURI != "https://ssf.example/t/blue/jwks.json" {
			t.Errorf("metadata: %s", body)
		}
		if !slices.Equal(md.DeliveryMethodsSupported, []string{"urn:ietf:rfc:8935", "urn:ietf:rfc:8936"}) || md.DefaultSubjects != "ALL" {
			t.Errorf("methods and default_subjects: %s", body)
		}
		if !slices.Contains(md.AuthorizationSchemes, stream.AuthorizationScheme{SpecURN: "urn:ietf:rfc:6749"}) || md.Extra[settingsName] == nil {
			t.Errorf("metadata lacks schemes or receipts: %s", body)
		}
		// What the metadata names is really there.
		for _, endpoint := range []string{md.JWKSURI, md.ConfigurationEndpoint, md.StatusEndpoint, md.VerificationEndpoint, md.AddSubjectEndpoint, md.RemoveSubjectEndpoint} {
			if !strings.HasPrefix(endpoint, "https://ssf.example/t/blue/") {
				t.Errorf("endpoint %q", endpoint)
			}
			r := do(x, call{method: "DELETE", path: strings.TrimPrefix(endpoint, "https://ssf.example")})
			if r.StatusCode == 404 {
				t.Errorf("%s is not served", endpoint)
			}
		}
	}
	req.Covers(t, "TX-1", "TX-2", "TX-3", "TX-4", "TX-7", "TX-8", "TX-9", "TX-10", "TX-5", "TX-11", "TX-12", "TX-13", "TX-14", "TX-15", "TX-16", "TX-18", "TX-19", "TX-21", "TX-22", "TX-25", "TX-26", "TX-27", "IOP-8", "IOP-11", "IOP-12", "IOP-4", "IOP-5", "IOP-6", "IOP-26", "P-1", "P-2", "P-5", "P-6")
	if r := do(x, call{method: "POST", path: "/.well-known/ssf-configuration/t/blue"}); r.StatusCode != 405 || r.Header.Get("Allow") != "GET" {
		t.Errorf("POST: %d, Allow %q", r.StatusCode, r.Header.Get("Allow"))
	}
	if r := do(x, call{method: "GET", path: "/.well-known/ssf-configuration"}); r.StatusCode != 404 {
		t.Errorf("metadata of another issuer: %d", r.StatusCode)
	}
	req.Covers(t, "TX-6")

	cfg := newConfig(new(transmitter.Memory))
	cfg.Receipts = nil
	plain := newTransmitter(t, cfg)
	if body := text(t, do(plain, call{method: "GET", path: "/.well-known/ssf-configuration/t/blue"})); strings.Contains(body, "receipt") {
		t.Errorf("receipts are offered though there are none: %s", body)
	}
	if r := do(plain, call{method: "POST", path: "/t/blue/ssf/receipts", token: "token-a"}); r.StatusCode != 404 {
		t.Errorf("receipt endpoint without receipts: %d", r.StatusCode)
	}
}

// What an operator calls critical is told, and nothing is published where new transmitters should not.
func TestMetadataMore(t *testing.T) {
	cfg := newConfig(new(transmitter.Memory))
	cfg.Critical, cfg.DefaultSubjects = []string{"user", "device"}, "NONE"
	x := newTransmitter(t, cfg)
	if body := text(t, do(x, call{method: "GET", path: "/.well-known/ssf-configuration/t/blue"})); !strings.Contains(body, `"critical_subject_members":["user","device"]`) ||
		!strings.Contains(body, `"default_subjects":"NONE"`) {
		t.Errorf("%s", body)
	}
	req.Covers(t, "TX-17", "TX-21")
	for _, path := range []string{"/.well-known/risc-configuration", "/.well-known/risc-configuration/t/blue", "/t/blue/.well-known/risc-configuration"} {
		if r := do(x, call{method: "GET", path: path}); r.StatusCode != 404 {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
	req.Covers(t, "TX-24")
}

func TestKeys(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	r := do(x, call{method: "GET", path: "/t/blue/jwks.json"})
	if r.Header.Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("Cache-Control %q", r.Header.Get("Cache-Control"))
	}
	body := text(t, r)
	var jwks struct{ Keys []map[string]any }
	if err := json.Unmarshal([]byte(body), &jwks); err != nil {
		t.Fatal(err)
	}
	if len(jwks.Keys) != 2 {
		t.Fatalf("%d keys", len(jwks.Keys))
	}
	for _, k := range jwks.Keys {
		if k["kid"] == "" || k["use"] != "sig" || k["alg"] == "" || k["d"] != nil || k["p"] != nil || k["k"] != nil {
			t.Errorf("key %v", k)
		}
	}
	if keys, err := set.ParseJWKS([]byte(body)); err != nil || len(keys) != 2 {
		t.Errorf("ParseJWKS: %d keys, %v", len(keys), err)
	}
	req.Covers(t, "TX-28", "TX-29")
}

func TestConfigIsChecked(t *testing.T) {
	for name, spoil := range map[string]func(*transmitter.Config){
		"http issuer":      func(c *transmitter.Config) { c.Issuer = "http://ssf.example" },
		"issuer query":     func(c *transmitter.Config) { c.Issuer = "https://ssf.example?x" },
		"issuer fragment":  func(c *transmitter.Config) { c.Issuer = "https://ssf.example#x" },
		"no signer":        func(c *transmitter.Config) { c.Signers = nil },
		"one kid twice":    func(c *transmitter.Config) { c.Signers = append(c.Signers, c.Signers[0]) },
		"no store":         func(c *transmitter.Config) { c.Store = nil },
		"nobody may call":  func(c *transmitter.Config) { c.Caller = nil },
		"no registry":      func(c *transmitter.Config) { c.Registry = nil },
		"receipts half":    func(c *transmitter.Config) { c.Receipts.Algorithms = nil },
		"receipts nothing": func(c *transmitter.Config) { c.Receipts.Actions = nil },
	} {
		cfg := newConfig(new(transmitter.Memory))
		spoil(&cfg)
		if _, err := transmitter.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	req.Covers(t, "TX-7", "TX-29")
}
