package console

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"countersign/internal/hub"
)

const (
	cookieName  = "countersign_session"
	sessionLife = 12 * time.Hour // after sign-in
	sessionIdle = time.Hour      // after the last page
	maxSessions = 10_000
)

// sessions keeps who is signed in, in memory: a restart signs everybody out. The token stands beside
// the session so that it is checked at every page; the cookie's value is kept as a hash only.
type sessions struct {
	now func() time.Time
	mu  sync.Mutex
	all map[[32]byte]*session
}

type session struct {
	token      string
	made, seen time.Time
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, all: map[[32]byte]*session{}}
}

func (s *sessions) start(token string) string {
	var b [32]byte
	rand.Read(b[:])
	id := base64.RawURLEncoding.EncodeToString(b[:])
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) >= maxSessions {
		for k, v := range s.all {
			if !v.alive(now) {
				delete(s.all, k)
			}
		}
		for k := range s.all {
			if len(s.all) < maxSessions {
				break
			}
			delete(s.all, k)
		}
	}
	s.all[sha256.Sum256([]byte(id))] = &session{token: token, made: now, seen: now}
	return id
}

func (v *session) alive(now time.Time) bool {
	return now.Sub(v.made) < sessionLife && now.Sub(v.seen) < sessionIdle
}

func (s *sessions) token(id string) (string, bool) {
	key := sha256.Sum256([]byte(id))
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.all[key]
	if v == nil {
		return "", false
	}
	if !v.alive(now) {
		delete(s.all, key)
		return "", false
	}
	v.seen = now
	return v.token, true
}

func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, sha256.Sum256([]byte(id)))
}

// user says who sent a request; the token is checked anew.
func (c *Console) user(r *http.Request) (User, error) {
	ck, err := r.Cookie(cookieName)
	if err != nil {
		return User{}, hub.Errorf(hub.Unauthenticated, "not signed in")
	}
	token, ok := c.sessions.token(ck.Value)
	if !ok {
		return User{}, hub.Errorf(hub.Unauthenticated, "the session has ended")
	}
	u, err := c.c.SignIn(r.Context(), token)
	if err != nil && hub.CodeOf(err) == hub.Unauthenticated {
		c.sessions.end(ck.Value)
	}
	return u, err
}

type signInView struct {
	frame
	To      string
	Problem string
}

func (c *Console) signInForm(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	to := safeTarget(r.URL.Query().Get("to"))
	if _, err := c.user(r); err == nil {
		http.Redirect(w, r, to, http.StatusSeeOther)
		return
	}
	c.render(w, http.StatusOK, "sign_in", signInView{frame: c.frame("Sign in", nil), To: to})
}

func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	r.Body = http.MaxBytesReader(w, r.Body, 8<<10)
	token := strings.TrimSpace(r.PostFormValue("token"))
	to := safeTarget(r.PostFormValue("to"))
	if _, err := c.c.SignIn(r.Context(), token); err != nil {
		v := signInView{frame: c.frame("Sign in", nil), To: to, Problem: "This token is not valid, or it has expired."}
		status := http.StatusUnauthorized
		if hub.CodeOf(err) != hub.Unauthenticated {
			ref := hub.NewID("ref", c.c.Now())
			c.c.Log.ErrorContext(r.Context(), "sign-in failed", "reference", ref, "err", err)
			v.Problem, status = "Signing in does not work at the moment. Reference: "+ref, http.StatusServiceUnavailable
		}
		c.render(w, status, "sign_in", v)
		return
	}
	if old, err := r.Cookie(cookieName); err == nil {
		c.sessions.end(old.Value)
	}
	http.SetCookie(w, c.cookie(c.sessions.start(token), int(sessionLife.Seconds())))
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (c *Console) signOut(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if ck, err := r.Cookie(cookieName); err == nil {
		c.sessions.end(ck.Value)
	}
	http.SetCookie(w, c.cookie("", -1))
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
}

func (c *Console) cookie(value string, age int) *http.Cookie {
	return &http.Cookie{Name: cookieName, Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: c.c.Secure, SameSite: http.SameSiteStrictMode}
}

// safeTarget takes a path of ours and nothing else, so that signing in leads nowhere strange.
func safeTarget(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") || strings.HasPrefix(u.Path, "/sign-") {
		return "/"
	}
	return to
}

func urlQuery(s string) string { return url.QueryEscape(s) }
