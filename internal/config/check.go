package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"countersign/internal/hub"
)

// Check says everything that is wrong with the settings, as one error of code invalid. It reads the
// files that are named, and writes nothing.
func (c *Config) Check() error {
	var bad []string
	say := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }

	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		switch {
		case err != nil || u.Host == "":
			say("public_url: %q is not a URL", c.PublicURL)
		case u.Scheme != "https" && !(c.Dev && u.Scheme == "http"):
			say("public_url: must begin with https://")
		case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
			say("public_url: must be a scheme and a host only, as in https://hub.example.test")
		case u.Scheme == "https" && c.TLS.Cert == "" && len(c.TrustedProxies) == 0 && !isLocalName(u.Hostname()):
			say("public_url: needs tls (cert and key), or trusted_proxies when a proxy ends TLS")
		}
	}
	checkListener := func(key, addr string) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil || port == "" {
			say("%s: %q is not host:port", key, addr)
			return
		}
		if c.Dev && !isLoopback(host) {
			say("%s: %s is not a loopback address, and --dev allows no other", key, addr)
		}
	}
	checkListener("listen", c.Listen)
	checkListener("admin_listen", c.AdminListen)
	if c.Listen == c.AdminListen && !strings.HasSuffix(c.Listen, ":0") {
		say("admin_listen: must differ from listen")
	}
	if c.PublicURL == "" && !c.Dev {
		if host, _, err := net.SplitHostPort(c.Listen); err == nil && !isLoopback(host) {
			say("public_url: must be set when listen (%s) is not a loopback address", c.Listen)
		}
	}
	if host, _, err := net.SplitHostPort(c.AdminListen); err == nil && !isLoopback(host) && c.TLS.Cert == "" && len(c.TrustedProxies) == 0 {
		say("admin_listen: %s is not a loopback address, so tls is needed", c.AdminListen)
	}
	for _, h := range c.AdminHosts {
		if h == "" || strings.ContainsAny(h, "/ *") {
			say("admin_hosts: %q is not a host name", h)
		}
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		say("tls: cert and key go together")
	}
	if c.TLS.Cert != "" && len(c.TrustedProxies) > 0 {
		say("trusted_proxies: not together with tls; either we end TLS, or the proxy does")
	}
	file := func(key, path string) {
		if path == "" {
			return
		}
		if _, err := os.Stat(path); err != nil {
			say("%s: %v", key, err)
		}
	}
	file("tls.cert", c.TLS.Cert)
	file("tls.key", c.TLS.Key)
	file("ca_file", c.CAFile)
	file("master_key.file", c.MasterKey.File)
	file("secrets_dir", c.SecretsDir)
	file("packs", c.Packs)
	prefixes := func(key string, list []string) {
		for _, s := range list {
			if _, err := netip.ParsePrefix(s); err != nil {
				say("%s: %q is not a network such as 10.0.0.0/8", key, s)
			}
		}
	}
	prefixes("trusted_proxies", c.TrustedProxies)
	prefixes("egress.allow", c.Egress.Allow)
	if c.Data == "" {
		say("data: must name a folder")
	}
	if c.Database != "" && !strings.HasPrefix(c.Database, "postgres://") && !strings.HasPrefix(c.Database, "postgresql://") {
		say("database: must be a postgres:// URL; leave it out for SQLite in the data folder")
	}
	if c.MasterKey.File != "" && c.MasterKey.Env != "" {
		say("master_key: file or env, not both")
	}
	if c.MasterKey.Env != "" && os.Getenv(c.MasterKey.Env) == "" {
		say("master_key.env: %s is not set", c.MasterKey.Env)
	}
	if c.Name == "" || len(c.Name) > 60 {
		say("name: must have 1 to 60 characters")
	}
	switch c.Log.Level {
	case "debug", "info", "warn", "error":
	default:
		say("log.level: %q is not debug, info, warn or error", c.Log.Level)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		say("log.format: %q is not text or json", c.Log.Format)
	}
	for i, f := range c.Keys.Files {
		file(fmt.Sprintf("keys.files[%d]", i), f)
	}
	if c.OTLPEndpoint != "" {
		if u, err := url.Parse(c.OTLPEndpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			say("otlp_endpoint: %q is not an address such as http://127.0.0.1:4318", c.OTLPEndpoint)
		}
	}
	bad = append(bad, c.Transmitter.check()...)
	if len(bad) == 0 {
		return nil
	}
	return hub.Errorf(hub.Invalid, "configuration: %s", strings.Join(bad, "\n")).WithHint("countersign config example")
}

// Plain reports whether the outside listener speaks http because a proxy ends TLS, or because
// --dev and an http public_url ask for it.
func (c *Config) Plain() bool {
	return len(c.TrustedProxies) > 0 || c.Dev && strings.HasPrefix(c.PublicURL, "http://")
}

// AdminPlain reports whether the admin listener speaks http.
func (c *Config) AdminPlain() bool {
	host, _, err := net.SplitHostPort(c.AdminListen)
	return err == nil && (isLoopback(host) || len(c.TrustedProxies) > 0)
}

// Prefixes parses networks that Check accepted.
func Prefixes(list []string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p)
		}
	}
	return out
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

func isLocalName(host string) bool { return isLoopback(host) }
