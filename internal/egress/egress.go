package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// ErrRefused is wrapped by every error of a call that the guard did not let out. Nothing was sent.
var ErrRefused = errors.New("egress: refused")

// ErrTooLarge is the read error of an answer that is longer than MaxBody.
var ErrTooLarge = errors.New("egress: the answer is too large")

// MaxBody bounds every answer, whatever its reader asks for.
const MaxBody = 8 << 20

// Config is what Client is built from. The zero value is the strict one.
type Config struct {
	Allow   []netip.Prefix // private targets that are wanted (egress.allow); nothing by default
	RootCAs *x509.CertPool // roots for TLS; nil: the system's
	Dev     bool           // --dev: http and every loopback target are open as well

	DialTimeout     time.Duration // name service and connect; 0: 5 s
	TLSTimeout      time.Duration // 0: 5 s
	ResponseTimeout time.Duration // until the answer's header; 0: 10 s
	Timeout         time.Duration // of the whole call, with its body; 0: 30 s

	// Resolver looks names up; nil: net.DefaultResolver. Tests hand in a changing one.
	Resolver Resolver
}

// Client makes the one HTTP client for outgoing calls. It follows no redirect (the 3xx is the answer),
// uses no proxy from the environment and asks for no compression, so that an answer's size is its size
// on the wire.
func Client(cfg Config) *http.Client {
	t := &http.Transport{
		DialContext:            newGuard(cfg).dial,
		ForceAttemptHTTP2:      false, // one connection for many calls is slower than a pool of them
		TLSClientConfig:        tlsConfig(cfg),
		TLSHandshakeTimeout:    or(cfg.TLSTimeout, 5*time.Second),
		ResponseHeaderTimeout:  or(cfg.ResponseTimeout, 10*time.Second),
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    256, // as many as may be open: a connection that is not kept costs a handshake
		MaxConnsPerHost:        256,
		IdleConnTimeout:        60 * time.Second,
	}
	return &http.Client{
		Transport:     &gate{next: t, dev: cfg.Dev},
		Timeout:       or(cfg.Timeout, 30*time.Second),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func or(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

func newGuard(cfg Config) *guard {
	g := &guard{allow: cfg.Allow, dev: cfg.Dev, resolver: cfg.Resolver, timeout: or(cfg.DialTimeout, 5*time.Second)}
	if g.resolver == nil {
		g.resolver = net.DefaultResolver
	}
	return g
}

func tlsConfig(cfg Config) *tls.Config {
	return &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12}
}

// gate looks at the request before a connection is thought of, and bounds the answer.
type gate struct {
	next transport
	dev  bool
}

// transport is what carries a request once the gate has let it pass.
type transport interface {
	http.RoundTripper
	CloseIdleConnections()
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	switch {
	case r.URL.Scheme != "https" && !(g.dev && r.URL.Scheme == "http"):
		return nil, fmt.Errorf("%w: %s targets are closed; use https", ErrRefused, r.URL.Scheme)
	case r.URL.User != nil:
		return nil, fmt.Errorf("%w: a target holds no user name", ErrRefused)
	}
	resp, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &bounded{ReadCloser: resp.Body, left: MaxBody}
	return resp, nil
}

// CloseIdleConnections lets http.Client.CloseIdleConnections through.
func (g *gate) CloseIdleConnections() { g.next.CloseIdleConnections() }

type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrTooLarge
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, ErrTooLarge
	}
	return n, err
}

// guard dials only addresses that it has checked itself: the name is resolved once, here, and the
// connection goes to the very address that passed.
type guard struct {
	allow    []netip.Prefix
	dev      bool
	resolver Resolver
	timeout  time.Duration
	dialer   net.Dialer
}

func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrRefused, err)
	}
	addrs, err := g.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, a := range addrs {
		if why := g.refuses(a); why != "" {
			errs = append(errs, fmt.Errorf("%w: %s is at %s, %s; allow it with egress.allow if it is wanted", ErrRefused, host, a, why))
			continue
		}
		c, err := g.dialer.DialContext(ctx, "tcp", net.JoinHostPort(a.Unmap().String(), port))
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (g *guard) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	// Only the canonical dotted and colon forms are addresses; 2130706433, 0177.0.0.1 and 127.1 are names,
	// and whatever a resolver makes of them is checked like any other answer.
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	addrs, err := g.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	return addrs, nil
}
