package demo

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"countersign/internal/stage"
	"countersign/internal/stage/idp"
	"countersign/policies"
)

// set is everything that runs during the scene.
type set struct {
	dir    string // holds data/, secrets/, hub.log and what is kept
	ca     *stage.CA
	wiki   *stage.Site
	crm    *stage.Site
	forum  *stage.Site
	idp    *idp.Provider
	hub    *stage.Hub
	schema string // of PostgreSQL; empty on SQLite
	forger *forger
}

// people of the scene; the password is theirs at every site.
const password = "correct horse"

func person(name string) stage.Person {
	return stage.Person{ID: "u-" + name, Email: name + "@example.test", Password: password}
}

func (s *set) sites() []*stage.Site { return []*stage.Site{s.wiki, s.crm, s.forum} }

// build starts everything but the hub.
func build(opt Options, dir string) (*set, error) {
	s := &set{dir: dir}
	var err error
	if s.ca, err = stage.NewCA("Countersign demo, for this run only"); err != nil {
		return nil, err
	}
	cert, err := s.ca.Leaf("demo")
	if err != nil {
		return nil, err
	}
	s.wiki = stage.NewSite("wiki", stage.Wiki, person("alice"), person("bob"))
	s.crm = stage.NewSite("crm", stage.CRM, person("alice"), person("bob"))
	s.forum = stage.NewSite("forum", stage.Forum, person("alice"), person("bob"))
	for _, site := range s.sites() {
		if err := site.Start(&cert); err != nil {
			return s, err
		}
	}
	cfg := idp.Config{Token: token(), Cert: cert, Roots: s.ca.Pool()}
	if opt.Break == "forged-receipt" {
		s.forger = &forger{}
		cfg.Before = s.forger.before
	}
	if s.idp, err = idp.Start(cfg); err != nil {
		return s, err
	}
	return s, s.settings(opt, cfg.Token)
}

func token() string {
	var b [20]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// settings writes the hub's configuration, its resources and its secrets, as an operator would.
func (s *set) settings(opt Options, idpToken string) error {
	port, err := stage.FreePort()
	if err != nil {
		return err
	}
	admin, err := stage.FreePort()
	if err != nil {
		return err
	}
	secrets := filepath.Join(s.dir, "secrets")
	if err := os.MkdirAll(secrets, 0o700); err != nil {
		return err
	}
	if err := s.ca.WriteLeaf("hub", s.path("hub.crt"), s.path("hub.key")); err != nil {
		return err
	}
	database := ""
	if opt.Database != "" {
		u, err := url.Parse(opt.Database)
		if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
			return fmt.Errorf("--database wants a postgres:// URL")
		}
		s.schema = "countersign_demo_" + token()[:8]
		q := u.Query()
		q.Set("search_path", s.schema)
		u.RawQuery = q.Encode()
		database = fmt.Sprintf("database: %q\n", u.String())
	}
	files := map[string]string{
		"ca.crt":            string(s.ca.PEM()),
		"secrets/idp-token": idpToken,
		"hub.yaml": fmt.Sprintf(`public_url: https://localhost:%d
listen: 127.0.0.1:%d
admin_listen: 127.0.0.1:%d
tls: {cert: %q, key: %q}
ca_file: %q
data: %q
%ssecrets_dir: %q
egress: {allow: [127.0.0.0/8, "::1/128"]}
`, port, port, admin, s.path("hub.crt"), s.path("hub.key"), s.path("ca.crt"), s.path("data"), database, secrets),
	}
	for _, site := range s.sites() {
		files["secrets/"+site.Name+"-token"] = site.AdminToken()
	}
	resources, err := s.resources()
	if err != nil {
		return err
	}
	files["resources.yaml"] = resources
	for name, text := range files {
		if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if opt.Exe != "" {
		exe = opt.Exe
	}
	s.hub = &stage.Hub{
		Exe: exe, Dir: s.path("data"), Admin: fmt.Sprintf("http://127.0.0.1:%d", admin), Roots: s.ca.Pool(),
		Args: []string{"--config", s.path("hub.yaml"), "--apply", s.path("resources.yaml")},
	}
	return nil
}

// resources is what an operator would apply: three apps, two people, one source, the starter policies.
func (s *set) resources() (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: countersign/v1\nkind: identity\nname: alice\nemails: [alice@example.test]\n---\nkind: identity\nname: bob\nemails: [bob@example.test]\n")
	for _, site := range s.sites() {
		pack := map[stage.Habit]string{stage.Wiki: "http-sessions", stage.CRM: "demo-crm", stage.Forum: "demo-forum"}[site.Habit]
		fmt.Fprintf(&b, "---\nkind: app\nname: %s\npack: %s\nsettings: {url: %q}\nsecrets: {token: {file: %s-token}}\naccounts: {match: email}\n", site.Name, pack, site.URL(), site.Name)
	}
	fmt.Fprintf(&b, `---
kind: source
name: idp
type: ssf
issuer: %q
delivery: push
stream: create
auth: {method: bearer, token: {file: idp-token}}
correlate:
  - {format: email}
orders: {accept: [revoke_sessions, reauthenticate], at: all}
receipts: {send: auto, alg: EdDSA}
`, s.idp.Issuer)
	for _, name := range []string{"caep-session-revoked", "caep-credential-change"} {
		text, err := policies.FS.ReadFile(name + "/policy.yaml")
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "---\n%s", strings.TrimPrefix(string(text), "---\n"))
	}
	return b.String(), nil
}

func (s *set) path(name string) string { return filepath.Join(s.dir, name) }

// close stops everything that was started, in the order of need.
func (s *set) close(opt Options) (problems []string) {
	if s == nil {
		return nil
	}
	if s.hub != nil {
		if err := s.hub.Stop(); err != nil {
			problems = append(problems, "the hub did not stop well: "+err.Error())
		}
	}
	if s.idp != nil {
		s.idp.Close()
	}
	for _, site := range s.sites() {
		if site != nil && site.URL() != "" {
			site.Close()
		}
	}
	if s.schema != "" && opt.Keep == "" && opt.DropSchema != nil {
		ctx, cancel := context.WithTimeout(context.Background(), dropTime)
		defer cancel()
		if err := opt.DropSchema(ctx, opt.Database, s.schema); err != nil {
			problems = append(problems, "the schema "+s.schema+" was left behind: "+err.Error())
		}
	}
	return problems
}

// receiptPath reports whether a request goes to the identity provider's receipt endpoint.
func receiptPath(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasPrefix(r.Header.Get("Content-Type"), "application/secevent+jwt")
}
