package stage

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Habit is how a site ends sessions.
type Habit int

// The three sites of the scene.
const (
	Wiki  Habit = iota // ends one session and all of a person, at once
	CRM                // ends all of a person, and issues self-contained access tokens that live a minute
	Forum              // accepts "end all" with 202 and does it a moment later
)

// TokenLife is how long a CRM access token lives; nothing can end it sooner.
const TokenLife = time.Minute

// Person is somebody with an account at a site.
type Person struct {
	ID       string `json:"id"`
	Email    string `json:"email"`
	Password string `json:"-"`
}

// Call is one request to the administrator's API, in the order of arrival.
type Call struct {
	Acting bool   // changes something; look-ups and lists do not
	Target string // account or session id
	Key    string // Idempotency-Key header
	Status int
}

type session struct {
	id, person, cookie string
}

// Site is a small web application with real sessions. It is safe for concurrent use.
type Site struct {
	Name  string
	Habit Habit
	// Moment is how long a Forum waits before it does what it accepted.
	Moment time.Duration

	Down        atomic.Bool // the administrator's API answers 500
	WrongPerson atomic.Bool // ending one person's sessions ends everybody's
	Requests    atomic.Int64

	admin  string // bearer token of the administrator
	secret []byte

	mu       sync.Mutex
	people   []*Person
	byEmail  map[string]*Person
	byID     map[string]*Person
	sessions map[string]*session // by cookie
	byPerson map[string]map[string]*session
	calls    []Call

	srv *http.Server
	url string
	end sync.WaitGroup
}

// NewSite makes a site with its people. Its administrator's token is made up; AdminToken gives it.
func NewSite(name string, habit Habit, people ...Person) *Site {
	s := &Site{Name: name, Habit: habit, Moment: 300 * time.Millisecond, admin: random(), secret: []byte(random()),
		byEmail: map[string]*Person{}, byID: map[string]*Person{}, sessions: map[string]*session{}, byPerson: map[string]map[string]*session{}}
	for _, p := range people {
		s.AddPerson(p)
	}
	return s
}

// AdminToken is what the administrator shows.
func (s *Site) AdminToken() string { return s.admin }

// URL is the address after Start.
func (s *Site) URL() string { return s.url }

// AddPerson gives somebody an account.
func (s *Site) AddPerson(p Person) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.people = append(s.people, &p)
	s.byEmail[strings.ToLower(p.Email)] = &p
	s.byID[p.ID] = &p
}

// SignInAs starts a session without the form, for loads. It gives the cookie.
func (s *Site) SignInAs(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.start(id)
}

func (s *Site) start(person string) string {
	se := &session{id: random()[:16], person: person, cookie: random()}
	s.sessions[se.cookie] = se
	if s.byPerson[person] == nil {
		s.byPerson[person] = map[string]*session{}
	}
	s.byPerson[person][se.id] = se
	return se.cookie
}

// Live is how many sessions a person has.
func (s *Site) Live(person string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byPerson[person])
}

// Calls gives a copy of what the administrator's API was asked.
func (s *Site) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.calls...)
}

// Start listens on a free loopback port, with TLS where cert is not nil.
func (s *Site) Start(cert *tls.Certificate) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	scheme := "http"
	if cert != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cert}})
		scheme = "https"
	}
	s.url = fmt.Sprintf("%s://localhost:%d", scheme, l.Addr().(*net.TCPAddr).Port)
	s.srv = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(discard{}, "", 0)}
	s.end.Go(func() { s.srv.Serve(l) })
	return nil
}

// Close stops the site and waits for what it accepted.
func (s *Site) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s.srv.Shutdown(ctx)
	s.srv.Close()
	s.end.Wait()
}

// ServeHTTP is the whole site: pages, sign-in, tokens, and the administrator's API below /admin.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Requests.Add(1)
	if strings.HasPrefix(r.URL.Path, "/admin/") {
		s.serveAdmin(w, r)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "POST /login":
		s.login(w, r)
	case "GET /":
		who, ok := s.who(r)
		if !ok {
			http.Error(w, "please sign in", http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, "welcome to %s, %s\n", s.Name, who.Email)
	case "POST /token":
		who, ok := s.who(r)
		if !ok || s.Habit != CRM {
			http.Error(w, "no token for you", http.StatusUnauthorized)
			return
		}
		fmt.Fprintln(w, s.issue(who.ID, time.Now().Add(TokenLife)))
	case "GET /api/me":
		id, ok := s.checkToken(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), time.Now())
		if !ok {
			http.Error(w, "token refused", http.StatusUnauthorized)
			return
		}
		fmt.Fprintln(w, id)
	default:
		http.NotFound(w, r)
	}
}

func (s *Site) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4096)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.byEmail[strings.ToLower(r.FormValue("email"))]
	if p == nil || subtle.ConstantTimeCompare([]byte(p.Password), []byte(r.FormValue("password"))) != 1 {
		http.Error(w, "unknown person or wrong password", http.StatusUnauthorized)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: "sid", Value: s.start(p.ID), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *Site) who(r *http.Request) (*Person, bool) {
	c, err := r.Cookie("sid")
	if err != nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	se, ok := s.sessions[c.Value]
	if !ok {
		return nil, false
	}
	return s.byID[se.person], true
}

func (s *Site) serveAdmin(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+s.admin)) != 1 {
		http.Error(w, `{"error":"administrators only"}`, http.StatusUnauthorized)
		return
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/admin/"), "/")
	call := Call{Acting: r.Method == http.MethodDelete || r.Method == http.MethodPost, Key: r.Header.Get("Idempotency-Key")}
	if len(parts) > 1 {
		call.Target = parts[1]
	}
	if s.Down.Load() {
		call.Status = http.StatusInternalServerError
	} else {
		call.Status = s.admins(w, r, parts)
	}
	s.mu.Lock()
	s.calls = append(s.calls, call)
	s.mu.Unlock()
	switch call.Status {
	case http.StatusOK:
	case http.StatusNoContent, http.StatusAccepted:
		w.WriteHeader(call.Status)
	default:
		http.Error(w, fmt.Sprintf(`{"error":"%s"}`, http.StatusText(call.Status)), call.Status)
	}
}

// admins answers lists itself and gives the status of everything else.
func (s *Site) admins(w http.ResponseWriter, r *http.Request, parts []string) int {
	switch {
	case r.Method == http.MethodGet && len(parts) == 1 && parts[0] == "users" && !r.URL.Query().Has("email"):
		return s.page(w, r)
	case r.Method == http.MethodGet && len(parts) == 1 && parts[0] == "users":
		s.mu.Lock()
		p := s.byEmail[strings.ToLower(r.URL.Query().Get("email"))]
		s.mu.Unlock()
		users := []*Person{}
		if p != nil {
			users = append(users, p)
		}
		return reply(w, map[string]any{"users": users})
	case r.Method == http.MethodGet && len(parts) == 3 && parts[0] == "users" && parts[2] == "sessions":
		list, ok := s.list(parts[1])
		if !ok {
			return http.StatusNotFound
		}
		return reply(w, list)
	case r.Method == http.MethodDelete && len(parts) == 3 && parts[0] == "users" && parts[2] == "sessions":
		if !s.known(parts[1]) {
			return http.StatusNotFound
		}
		if s.Habit == Forum {
			s.end.Go(func() {
				time.Sleep(s.Moment)
				s.endAll(parts[1])
			})
			return http.StatusAccepted
		}
		s.endAll(parts[1])
		return http.StatusNoContent
	case r.Method == http.MethodDelete && len(parts) == 2 && parts[0] == "sessions" && s.Habit == Wiki:
		if !s.endOne(parts[1]) {
			return http.StatusNotFound
		}
		return http.StatusNoContent
	}
	return http.StatusNotFound
}

// page lists everybody with an account, at most limit of them, from where the page before ended.
func (s *Site) page(w http.ResponseWriter, r *http.Request) int {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit < 1 || limit > 1000 {
		limit = 100
	}
	from, err := strconv.Atoi(r.URL.Query().Get("after"))
	if r.URL.Query().Has("after") && err != nil || from < 0 {
		return http.StatusBadRequest
	}
	s.mu.Lock()
	from = min(from, len(s.people))
	users := append([]*Person{}, s.people[from:min(from+limit, len(s.people))]...)
	next := ""
	if from+len(users) < len(s.people) {
		next = strconv.Itoa(from + len(users))
	}
	s.mu.Unlock()
	return reply(w, map[string]any{"users": users, "next": next})
}

func (s *Site) known(person string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[person] != nil
}

func (s *Site) list(person string) ([]map[string]string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[person] == nil {
		return nil, false
	}
	list := []map[string]string{}
	for id := range s.byPerson[person] {
		list = append(list, map[string]string{"id": id})
	}
	return list, true
}

func (s *Site) endAll(person string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for who, all := range s.byPerson {
		if who != person && !s.WrongPerson.Load() {
			continue
		}
		for _, se := range all {
			delete(s.sessions, se.cookie)
		}
		delete(s.byPerson, who)
	}
}

func (s *Site) endOne(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for who, all := range s.byPerson {
		if se, ok := all[id]; ok {
			delete(s.sessions, se.cookie)
			delete(s.byPerson[who], id)
			return true
		}
	}
	return false
}

// issue makes a self-contained token: whoever checks it asks nobody, so nothing ends it before exp.
func (s *Site) issue(person string, exp time.Time) string {
	body := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"sub":%q,"exp":%d}`, person, exp.Unix()))
	return body + "." + s.mac(body)
}

func (s *Site) mac(body string) string {
	h := hmac.New(sha256.New, s.secret)
	h.Write([]byte(body))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

func (s *Site) checkToken(token string, now time.Time) (person string, ok bool) {
	body, mac, ok := strings.Cut(token, ".")
	if !ok || subtle.ConstantTimeCompare([]byte(mac), []byte(s.mac(body))) != 1 {
		return "", false
	}
	exp, person, err := TokenExpiry(token)
	return person, err == nil && now.Unix() < exp
}

// TokenExpiry reads the exp (NumericDate) and the subject of a CRM token without checking it.
func TokenExpiry(token string) (exp int64, person string, err error) {
	body, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return 0, "", err
	}
	var c struct {
		Sub string `json:"sub"`
		Exp int64  `json:"exp"`
	}
	err = json.Unmarshal(raw, &c)
	return c.Exp, c.Sub, err
}

func reply(w http.ResponseWriter, v any) int {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
	return http.StatusOK
}

func random() string {
	var b [20]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
