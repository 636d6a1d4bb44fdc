package console

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"countersign/internal/hub"
)

// policy is the content security policy of every page: our own style sheet, icon and forms, nothing else.
const policy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// build is the site map: every page, its method and path, in one table.
func build(cfg Config) *Console {
	if cfg.Tenant == "" {
		cfg.Tenant = "default"
	}
	if cfg.Name == "" {
		cfg.Name = "Countersign"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	c := &Console{c: cfg, sessions: newSessions(cfg.Now)}
	m := http.NewServeMux()
	for _, p := range []struct {
		path  string
		needs scope
		page  func(*Console, http.ResponseWriter, *visit) error
	}{
		{"GET /{$}", readSignals, (*Console).pageSignalList},
		{"GET /signals", readSignals, (*Console).pageSignalList},
		{"GET /signals/{id}", readSignals, (*Console).pageSignalShow},
		{"GET /receipts/{id}", readSignals, (*Console).pageReceiptShow},
		{"GET /sources", readSources, (*Console).pageSourceList},
		{"GET /sources/{name}", readSources, (*Console).pageSourceShow},
		{"GET /streams", readStreams, (*Console).pageStreamList},
		{"GET /streams/{id}", readStreams, (*Console).pageStreamShow},
		{"GET /orders", readSignals, (*Console).pageOrderList},
		{"GET /orders/{ref}", readSignals, (*Console).pageOrderShow},
	} {
		m.HandleFunc(p.path, func(w http.ResponseWriter, r *http.Request) { c.page(w, r, p.needs, p.page) })
	}
	m.HandleFunc("GET /sign-in", c.signInForm)
	m.HandleFunc("POST /sign-in", c.signIn)
	m.HandleFunc("POST /sign-out", c.signOut)
	m.HandleFunc("GET "+stylePath, serveAsset("text/css; charset=utf-8", style))
	m.HandleFunc("GET "+iconPath, serveAsset("image/svg+xml", icon))
	m.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, iconPath, http.StatusMovedPermanently)
	})
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c.render(w, http.StatusNotFound, "message", messageView{frame: c.frame("Not found", nil),
			Heading: "There is nothing at this address", Text: "The page was moved, or the address was mistyped.", Link: "/", LinkText: "Go to the signals"})
	})
	c.mux = headers(cfg.Hosts, http.NewCrossOriginProtection().Handler(m))
	return c
}

func headers(hosts []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if !knownHost(r.Host, hosts) {
			http.Error(w, "this listener does not answer for that host name", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// knownHost keeps pages of other sites from reaching a loopback listener under a name of theirs.
func knownHost(host string, hosts []string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if host == "localhost" || slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// scope is what a page asks of who looks at it.
type scope struct {
	name, what string
	has        func(*User) bool
}

var (
	readSignals = scope{"signals.read", "signals", func(u *User) bool { return u.Read }}
	readSources = scope{"resources.read", "sources", func(u *User) bool { return u.ReadStreams }}
	readStreams = scope{"resources.read", "streams", func(u *User) bool { return u.ReadStreams }}
)

// visit is a request of somebody who is signed in.
type visit struct {
	*http.Request
	user User
}

// page lets a page load and render, for who is signed in; errors become pages too.
func (c *Console) page(w http.ResponseWriter, r *http.Request, needs scope, do func(*Console, http.ResponseWriter, *visit) error) {
	w.Header().Set("Cache-Control", "no-store")
	user, err := c.user(r)
	switch {
	case err != nil && hub.CodeOf(err) == hub.Unauthenticated:
		target := "/sign-in"
		if r.URL.Path != "/" {
			target += "?to=" + urlQuery(r.URL.RequestURI())
		}
		http.Redirect(w, r, target, http.StatusSeeOther)
		return
	case err == nil && !needs.has(&user):
		c.render(w, http.StatusForbidden, "message", messageView{frame: c.frame("Not allowed", &user),
			Heading: "This token may not read " + needs.what, Text: "Sign in with one that has the scope " + needs.name + "."})
		return
	case err == nil:
		err = do(c, w, &visit{r, user})
	}
	if err == nil {
		return
	}
	if hub.CodeOf(err) == hub.NotFound {
		c.render(w, http.StatusNotFound, "message", messageView{frame: c.frame("Not found", &user),
			Heading: "It is not here", Text: "Nothing with this id is kept.", Link: "/", LinkText: "Go to the signals"})
		return
	}
	if hub.CodeOf(err) == hub.Unavailable {
		c.render(w, http.StatusServiceUnavailable, "message", messageView{frame: c.frame("Not now", &user),
			Heading: "Nothing can be said about this now", Text: "It is about to start, or it is not switched on.", Link: r.URL.RequestURI(), LinkText: "Try again"})
		return
	}
	ref := hub.NewID("ref", c.c.Now())
	c.c.Log.ErrorContext(r.Context(), "page failed", "reference", ref, "route", r.Pattern, "err", err)
	c.render(w, http.StatusInternalServerError, "message", messageView{frame: c.frame("Something went wrong", &user),
		Heading: "Something went wrong here", Text: "Nothing was changed. The hub's log says more under this reference:", Code: ref, Link: r.URL.RequestURI(), LinkText: "Try again"})
}
