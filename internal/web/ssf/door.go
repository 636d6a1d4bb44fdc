package ssf

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"countersign/stream"
	"countersign/transmitter"
)

// Config is what a Door is built from.
type Config struct {
	// Streams answers everything that is not a receive address or OAuth's: *transmitter.Transmitter, of one tenant or more.
	Streams http.Handler
	// OAuth answers the paths that it owns: *oauth.Server. Nil: there is none.
	OAuth interface {
		http.Handler
		Owns(path string) bool
	}
	// Receive answers a push to a receive id.
	Receive func(w http.ResponseWriter, r *http.Request, id string)
	// Ready reports that requests can be taken; before that everything is 503. Nil: always.
	Ready func() bool
	// InFlight is how many requests are worked on at once; more are turned away with 503. Zero: 1024. One receive
	// address has at most half of them, so that a sender whose bodies stall does not shut the others out.
	InFlight int
	// Polls is how many polls are under way at once, beside the others: most of them only wait. Zero: 11,000.
	Polls int
	// Proxies are the networks that may speak to this listener, where one ends TLS for us; empty: anybody.
	Proxies []netip.Prefix
}

// Door is the listener's handler. It is safe for concurrent use.
type Door struct {
	Config
	slots chan struct{}
	polls chan struct{}
	mux   *http.ServeMux

	mu sync.Mutex
	at map[string]int // requests under way, by receive id
}

// ReceivePath is the path of a receive address without its id.
const ReceivePath = "/receive/"

// New makes a Door.
func New(c Config) *Door {
	if c.InFlight == 0 {
		c.InFlight = 1024
	}
	if c.Polls == 0 {
		c.Polls = 11_000
	}
	d := &Door{Config: c, slots: make(chan struct{}, c.InFlight), polls: make(chan struct{}, c.Polls), mux: http.NewServeMux(), at: map[string]int{}}
	d.mux.HandleFunc(ReceivePath+"{id}", d.receive)
	// Some receivers' libraries ask for a status below the address. There is none, and it costs nothing.
	d.mux.HandleFunc(ReceivePath+"{id}/{rest...}", http.NotFound)
	d.mux.HandleFunc("/", d.other)
	return d
}

// ServeHTTP answers one request, or turns it away while too many are under way.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if len(d.Proxies) > 0 && !d.fromProxy(r) {
		http.Error(w, "this listener speaks to its proxy only", http.StatusForbidden)
		return
	}
	if d.Ready != nil && !d.Ready() {
		busy(w, "the hub is starting or stopping")
		return
	}
	slots := d.slots
	if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/poll") {
		slots = d.polls
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	default:
		busy(w, "too many requests are under way")
		return
	}
	d.mux.ServeHTTP(w, r)
}

// receive answers a push, or turns it away while its address has as many under way as it may have.
func (d *Door) receive(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	d.mu.Lock()
	full := d.at[id] >= max(1, d.InFlight/2)
	if !full {
		d.at[id]++
	}
	d.mu.Unlock()
	if full {
		busy(w, "too many requests are under way at this address")
		return
	}
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.at[id]--; d.at[id] == 0 {
			delete(d.at, id)
		}
	}()
	d.Receive(w, r, id)
}

// other answers what is no receive address.
func (d *Door) other(w http.ResponseWriter, r *http.Request) {
	switch {
	case d.OAuth != nil && d.OAuth.Owns(r.URL.Path):
		d.OAuth.ServeHTTP(w, r)
	case len(r.Header.Values("Authorization")) > 0 && r.URL.Query().Has("access_token"):
		// RFC 6750 §2: not more than one way to show a token. One in the address alone counts as none (IOP-42).
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("WWW-Authenticate", `Bearer realm="ssf", error="invalid_request"`) // AZ-4
		stream.WriteError(w, http.StatusBadRequest, stream.WireError{Err: stream.InvalidRequest, Description: "a token in the address is not taken"})
	default:
		d.Streams.ServeHTTP(w, r)
	}
}

func busy(w http.ResponseWriter, why string) {
	w.Header().Set("Retry-After", "1")
	stream.WriteError(w, http.StatusServiceUnavailable, stream.WireError{Err: stream.Unavailable, Description: why})
}

func (d *Door) fromProxy(r *http.Request) bool {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(d.Proxies, func(p netip.Prefix) bool { return p.Contains(ap.Addr().Unmap()) })
}

// Limits puts the times and sizes of this listener on a server: a body that stalls, a header that never ends
// and a connection that sits are all cut off.
func Limits(s *http.Server) {
	s.ReadHeaderTimeout = 5 * time.Second
	s.ReadTimeout = 15 * time.Second
	s.WriteTimeout = 45 * time.Second
	s.IdleTimeout = 2 * time.Minute
	s.MaxHeaderBytes = 32 << 10
}

// ErrHost is the refusal of a push endpoint outside the client's hosts.
var ErrHost = errors.New("the client may not have its events pushed to this host")

// AllowEndpoint makes transmitter.Config.AllowEndpoint from the clients' push_hosts. Which addresses are
// open at all is the egress guard's business.
func AllowEndpoint(hosts func(ctx context.Context, client string) ([]string, error)) func(context.Context, transmitter.Caller, *url.URL) error {
	return func(ctx context.Context, c transmitter.Caller, u *url.URL) error {
		list, err := hosts(ctx, c.Receiver)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return nil
		}
		for _, h := range list {
			if strings.EqualFold(h, u.Hostname()) || strings.EqualFold(h, u.Host) {
				return nil
			}
		}
		return ErrHost
	}
}
