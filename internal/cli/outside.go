package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"os"
	"time"

	"countersign/internal/hub"
)

// roots are the system's certificates and those of --ca-file.
func (a *App) roots() (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if a.flags.caFile != "" {
		pem, err := os.ReadFile(a.flags.caFile)
		if err != nil || !pool.AppendCertsFromPEM(pem) {
			return nil, hub.Errorf(hub.Invalid, "--ca-file %s: no certificate can be read there", a.flags.caFile)
		}
	}
	return pool, nil
}

// outside is the HTTP client of send and listen, which call other systems than a hub: it follows no redirects, and goes
// over http to this machine only, where insecure allows it. 0: no time limit.
func (a *App) outside(limit time.Duration, insecure bool) (*http.Client, error) {
	pool, err := a.roots()
	if err != nil {
		return nil, err
	}
	return &http.Client{Timeout: limit,
		Transport:     secureOnly{&http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, Proxy: http.ProxyFromEnvironment}, insecure},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// secureOnly lets no request out that would be readable on its way.
type secureOnly struct {
	http.RoundTripper
	insecure bool
}

func (s secureOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := plainHTTP(r.URL, s.insecure); err != nil {
		return nil, err
	}
	return s.RoundTripper.RoundTrip(r)
}

// plainHTTP says what is wrong with calling u.
func plainHTTP(u *url.URL, insecure bool) error {
	switch {
	case u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return hub.Errorf(hub.Invalid, "%q is not a URL", u.String()).WithHint("as in https://receiver.example.test/events")
	case u.Scheme == "https":
		return nil
	case !loopback(u.Hostname()):
		return hub.Errorf(hub.Invalid, "nothing is sent over http to %s", u.Host).WithHint("use https; --insecure-http is for this machine only")
	case !insecure:
		return hub.Errorf(hub.Invalid, "%s is http", u.Redacted()).WithHint("use https, or --insecure-http for a receiver on this machine")
	}
	return nil
}

// reached turns an error of the connection into one with a next step.
func reached(what string, err error) error {
	var he *hub.Error
	if errors.As(err, &he) {
		return he
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return hub.Errorf(hub.Unavailable, "%s: %w", what, err).WithHint("name its certificate authority with --ca-file")
	}
	return hub.Errorf(hub.Unavailable, "%s does not answer: %w", what, err)
}
