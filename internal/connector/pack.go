package connector

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"countersign/internal/expr"
	"countersign/internal/hub"
)

// Pack is one compiled connector pack. It is immutable and safe for concurrent use.
type Pack struct {
	ID    string
	Title string
	Links []string
	// Checked says when and how the pack was last compared with the product: run, recorded or documented.
	Checked Checked

	settings, secrets []Field
	auth              auth
	never             []*expr.Program
	ops               map[hub.Operation]*operation
	residue           time.Duration
	requests          int // per span; 0: no limit
	per               time.Duration
	redact            map[string]bool
}

// Checked is when and how a pack was last compared with the product.
type Checked struct {
	Date string `json:"date"`
	How  string `json:"how"`
}

// Field is one setting or secret.
type Field struct {
	Name     string `json:"name"`
	Type     string `json:"type,omitempty"` // url | text; empty for secrets
	Title    string `json:"title"`
	Optional bool   `json:"optional,omitempty"`
}

// operation is one compiled operation.
type operation struct {
	name     hub.Operation
	acting   bool
	method   string
	path     *expr.Template
	query    map[string]*expr.Template
	headers  map[string]*expr.Template
	json     any // a tree whose texts are *expr.Template; nil: no JSON body
	form     map[string]*expr.Template
	found    *expr.Program
	sessions *expr.Program
	accounts *expr.Program
	next     *expr.Program
	rules    []rule
	repeat   Repeat
	back     *ReadBack
	proven   *expr.Program
}

type rule struct {
	class Class
	when  *expr.Program
}

// vocabulary is every operation a pack may offer in this version, in the order of the documentation.
var vocabulary = []hub.Operation{hub.OpLookupAccount, hub.OpListAccounts, hub.OpListSessions, hub.OpReadAccountState, hub.OpEndSession, hub.OpEndAllSessions,
	hub.OpRevokeTokens, hub.OpDisableAccount, hub.OpEnableAccount, hub.OpForceReauthentication, hub.OpForcePasswordReset, hub.OpRemoveCredentials}

// later are operations of the vocabulary that this version does not act on, each with its reason.
var later = map[hub.Operation]string{
	hub.OpDeleteAccount: "delete_account is not acted on by this version: it always needs an approval, and approvals come later",
}

func reading(op hub.Operation) bool {
	return op == hub.OpLookupAccount || op == hub.OpListAccounts || op == hub.OpListSessions || op == hub.OpReadAccountState
}

// Offers reports whether the pack has the operation.
func (p *Pack) Offers(op hub.Operation) bool { return p.ops[op] != nil }

// Operations lists what the pack offers, in the order of the vocabulary.
func (p *Pack) Operations() []hub.Operation {
	var out []hub.Operation
	for _, op := range vocabulary {
		if p.Offers(op) {
			out = append(out, op)
		}
	}
	return out
}

// ReadBack gives the operation's read-back; false where the pack has none.
func (p *Pack) ReadBack(op hub.Operation) (ReadBack, bool) {
	o := p.ops[op]
	if o == nil || o.back == nil {
		return ReadBack{}, false
	}
	return *o.back, true
}

// Repeat says what a second identical request does; RepeatConflict where the pack lacks the operation.
func (p *Pack) Repeat(op hub.Operation) Repeat {
	if o := p.ops[op]; o != nil && o.repeat != "" {
		return o.repeat
	}
	return RepeatConflict
}

// Residue is how long access granted before can live on after the sessions have ended; 0: none known.
func (p *Pack) Residue() time.Duration { return p.residue }

// Settings describes the fields of an app that uses the pack.
func (p *Pack) Settings() []Field { return slices.Clone(p.settings) }

// Secrets describes the secrets of an app that uses the pack.
func (p *Pack) Secrets() []Field { return slices.Clone(p.secrets) }

// CheckApp says what is wrong with an app's settings and secret names for this pack; nil when nothing is.
func (p *Pack) CheckApp(app *hub.App) error {
	if err := checkFields("setting", p.settings, slices.Sorted(maps.Keys(app.Settings))); err != nil {
		return err
	}
	if err := checkFields("secret", p.secrets, slices.Sorted(maps.Keys(app.Secrets))); err != nil {
		return err
	}
	for _, f := range p.settings {
		if v, ok := app.Settings[f.Name]; ok && f.Type == "url" {
			if _, err := baseURL(v); err != nil {
				return fmt.Errorf("setting %s: %w", f.Name, err)
			}
		}
	}
	switch app.Accounts.Match {
	case "", "declared":
	case "email":
		if !p.Offers(hub.OpLookupAccount) {
			return fmt.Errorf("accounts.match is email, and the pack %s has no lookup_account: use match: declared and name the accounts at identities", p.ID)
		}
	default:
		return fmt.Errorf("accounts.match is email or declared, not %q", app.Accounts.Match)
	}
	return nil
}

// Match is how an app with this rule finds accounts: email or declared, the pack's own default where nothing is written.
func (p *Pack) Match(rule hub.AccountRule) string {
	switch {
	case rule.Match != "":
		return rule.Match
	case p.Offers(hub.OpLookupAccount):
		return "email"
	}
	return "declared"
}

func checkFields(what string, known []Field, given []string) error {
	for _, g := range given {
		if !slices.ContainsFunc(known, func(f Field) bool { return f.Name == g }) {
			names := make([]string, len(known))
			for i, f := range known {
				names[i] = f.Name
			}
			return fmt.Errorf("%s %s is not known to the pack; known are %s", what, g, strings.Join(names, ", "))
		}
	}
	for _, f := range known {
		if !f.Optional && !slices.Contains(given, f.Name) {
			return fmt.Errorf("%s %s (%s) is missing", what, f.Name, f.Title)
		}
	}
	return nil
}

// baseURL checks an app's address: absolute, with nothing after its path.
func baseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is no address", s)
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Opaque != "":
		return nil, fmt.Errorf("%q is no address: write it whole, such as https://app.example.test", s)
	case u.User != nil:
		return nil, fmt.Errorf("an address holds no user name or password: use secrets")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return nil, fmt.Errorf("an address holds no ? or #")
	}
	return u, nil
}
