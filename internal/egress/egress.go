package egress

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/netip"
	"time"
)

// ErrRefused is wrapped by every error of a call that the guard did not let out. Nothing was sent.
var ErrRefused = errors.New("egress: refused")

// Config is what Client is built from. The zero value is the strict one.
type Config struct {
	Allow   []netip.Prefix // private targets that are wanted (egress.allow); nothing by default
	RootCAs *x509.CertPool // roots for TLS; nil: the system's
	Dev     bool           // --dev: http and every loopback target are open as well

	DialTimeout     time.Duration // 0: 5 s
	TLSTimeout      time.Duration // 0: 5 s
	ResponseTimeout time.Duration // until the answer's header; 0: 10 s
	Timeout         time.Duration // of the whole call, with its body; 0: 30 s

	// Resolver looks names up; nil: net.DefaultResolver. Tests hand in a changing one.
	Resolver Resolver
}

// Client makes the one HTTP client for outgoing calls.
func Client(cfg Config) *http.Client { panic("soon") }
