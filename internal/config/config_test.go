package config

import (
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
)

func TestNoArgumentsAreInOrder(t *testing.T) {
	c := Default()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	if got := c.URL(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8443}); got != "https://localhost:8443" {
		t.Errorf("public URL %s", got)
	}
	if !c.AdminPlain() || c.Plain() {
		t.Error("the admin listener speaks http on loopback, the outside https")
	}
}

func TestCheckRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(*Config)
		want string
	}{
		{"http public url", func(c *Config) { c.PublicURL = "http://hub.example.test" }, "public_url: must begin with https://"},
		{"public url with a path", func(c *Config) { c.PublicURL = "https://localhost/hub" }, "public_url: must be a scheme and a host only"},
		{"public url without tls", func(c *Config) { c.PublicURL = "https://hub.example.test" }, "public_url: needs tls"},
		{"open listener without public url", func(c *Config) { c.Listen = "0.0.0.0:8443" }, "public_url: must be set when listen"},
		{"open admin without tls", func(c *Config) { c.AdminListen = "0.0.0.0:8444" }, "admin_listen: 0.0.0.0:8444 is not a loopback address, so tls is needed"},
		{"dev with an open listener", func(c *Config) { c.Dev = true; c.Listen = "0.0.0.0:8443" }, "--dev allows no other"},
		{"dev with an open admin listener", func(c *Config) { c.Dev = true; c.AdminListen = "10.0.0.1:8444" }, "--dev allows no other"},
		{"one listener twice", func(c *Config) { c.AdminListen = c.Listen }, "admin_listen: must differ from listen"},
		{"no port", func(c *Config) { c.Listen = "localhost" }, "is not host:port"},
		{"cert alone", func(c *Config) { c.TLS.Cert = "check.go" }, "tls: cert and key go together"},
		{"tls and proxies", func(c *Config) {
			c.TLS = TLS{Cert: "check.go", Key: "check.go"}
			c.TrustedProxies = []string{"10.0.0.0/8"}
		}, "trusted_proxies: not together with tls"},
		{"missing files", func(c *Config) { c.CAFile = "none.pem" }, "ca_file:"},
		{"not a network", func(c *Config) { c.Egress.Allow = []string{"10.0.0.1"} }, `egress.allow: "10.0.0.1" is not a network`},
		{"not a proxy network", func(c *Config) { c.TrustedProxies = []string{"proxy"} }, "trusted_proxies:"},
		{"sqlite url", func(c *Config) { c.Database = "sqlite:x" }, "database: must be a postgres:// URL"},
		{"two places for a key", func(c *Config) { c.MasterKey = Reference{File: "check.go", Env: "X"} }, "master_key: file or env, not both"},
		{"unset variable", func(c *Config) { c.MasterKey.Env = "COUNTERSIGN_NOT_SET" }, "COUNTERSIGN_NOT_SET is not set"},
		{"no name", func(c *Config) { c.Name = "" }, "name:"},
		{"level", func(c *Config) { c.Log.Level = "loud" }, "log.level:"},
		{"format", func(c *Config) { c.Log.Format = "xml" }, "log.format:"},
		{"key file", func(c *Config) { c.Keys.Files = []string{"none.pem"} }, "keys.files[0]:"},
		{"collector", func(c *Config) { c.OTLPEndpoint = "localhost:4318" }, "otlp_endpoint:"},
		{"retention", func(c *Config) { c.Transmitter.Retention = "7 days" }, `transmitter.retention: "7 days" is not a span`},
		{"no retention", func(c *Config) { c.Transmitter.Retention = "" }, "transmitter.retention:"},
		{"poll wait", func(c *Config) { c.Transmitter.PollWait = "1m" }, "transmitter.poll_wait:"},
		{"grace", func(c *Config) { c.Transmitter.RemovalGrace = "-1s" }, "transmitter.removal_grace:"},
		{"subjects", func(c *Config) { c.Transmitter.DefaultSubjects = "SOME" }, "transmitter.default_subjects:"},
		{"no subjects", func(c *Config) { c.Transmitter.MaxSubjects = 0 }, "transmitter.max_subjects:"},
		{"no streams", func(c *Config) { c.Transmitter.MaxStreams = 0 }, "transmitter.max_streams:"},
		{"host pattern", func(c *Config) { c.AdminHosts = []string{"*.example.test"} }, "admin_hosts:"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := Default()
			tc.set(&c)
			err := c.Check()
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			if hub.CodeOf(err) != hub.Invalid {
				t.Errorf("code %s", hub.CodeOf(err))
			}
		})
	}
}

func TestCheckSaysEverythingAtOnce(t *testing.T) {
	c := Default()
	c.Log.Level, c.Log.Format, c.Name = "x", "y", ""
	if err := c.Check(); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("got %v, want three lines", err)
	}
}

func TestLoadIsStrict(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "hub.yaml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("lisen: 127.0.0.1:1\n")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "listen") || !strings.Contains(err.Error(), "1:1") {
		t.Errorf("an unknown key gave %v; want line, column and the nearest key", err)
	}
	write("data: state\ntls: {cert: /etc/c.pem, key: k.pem}\n")
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.Data != filepath.Join(dir, "state") || c.TLS.Cert != "/etc/c.pem" || c.TLS.Key != filepath.Join(dir, "k.pem") {
		t.Errorf("relative paths are relative to the file: %+v", c)
	}
	if c.Listen != Default().Listen {
		t.Error("what the file does not say keeps its default")
	}
	write("")
	if _, err := Load(path); err != nil {
		t.Errorf("an empty file: %v", err)
	}
	if _, err := Load(filepath.Join(dir, "none.yaml")); hub.CodeOf(err) != hub.NotFound {
		t.Errorf("a missing file: %v", err)
	}
}

func TestPrepareMakesACertificateOnce(t *testing.T) {
	c := Default()
	c.Data = filepath.Join(t.TempDir(), "deep", "data")
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	p, err := c.Prepare(now)
	if err != nil {
		t.Fatal(err)
	}
	if p.Certificate == nil || p.Database != "sqlite:"+filepath.Join(c.Data, DatabaseFile) {
		t.Fatalf("%+v", p)
	}
	cert, err := x509.ParseCertificate(p.Certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := cert.VerifyHostname("localhost"); err != nil {
		t.Error(err)
	}
	if err := cert.VerifyHostname("127.0.0.1"); err != nil {
		t.Error(err)
	}
	for name, mode := range map[string]os.FileMode{KeyFile: 0o600, CertFile: 0o644} {
		info, err := os.Stat(filepath.Join(c.Data, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	again, err := c.Prepare(now.Add(time.Hour))
	if err != nil || string(again.Certificate.Certificate[0]) != string(p.Certificate.Certificate[0]) {
		t.Error("a certificate that holds is used again")
	}
	later, err := c.Prepare(now.Add(396*24*time.Hour + 12*time.Hour))
	if err != nil || string(later.Certificate.Certificate[0]) == string(p.Certificate.Certificate[0]) {
		t.Error("one that ends within a day is made anew")
	}
}

func TestPrepareRefusesALostMasterKey(t *testing.T) {
	c := Default()
	c.Data = t.TempDir()
	if err := os.WriteFile(filepath.Join(c.Data, DatabaseFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Prepare(time.Now()); err == nil || !strings.Contains(err.Error(), "is gone, but the database is there") {
		t.Errorf("got %v", err)
	}
}
