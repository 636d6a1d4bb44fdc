package resource

import (
	"fmt"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"countersign/internal/hub"
	"countersign/internal/yaml"
	"countersign/subject"
)

// actions are what policies and orders may name in this version.
var actions = []string{hub.RevokeSessions, hub.RevokeTokens, hub.Reauthenticate, hub.DisableAccount, hub.EnableAccount,
	hub.RequireCredentialChange, hub.RevokeCredential, hub.ReevaluateAccess, hub.Record}

// laterActions are those of the profile that nothing here does yet.
var laterActions = []string{hub.DeleteAccount, hub.SyncCredential, hub.RefreshClaims, hub.RestrictDevice, hub.UpdateIdentifier, hub.UnlinkIdentifier, hub.SyncResource}

func checkAction(doc yaml.Doc, path, action string) error {
	switch {
	case slices.Contains(actions, action):
		return nil
	case action == hub.DeleteAccount:
		return doc.Errorf(path, "%s", later(action, "it always needs an approval, and approvals come later"))
	case slices.Contains(laterActions, action):
		return doc.Errorf(path, "%s", later(action, "no pack does it yet"))
	}
	near := yaml.Nearest(action, actions)
	if near == "" {
		near = strings.Join(actions, ", ")
	}
	return doc.Errorf(path, "there is no action %s: did you mean %s?", action, near)
}

// word checks one value of a short list; empty is the default.
func word(doc yaml.Doc, path, value string, words ...string) error {
	if value == "" || slices.Contains(words, value) {
		return nil
	}
	near := yaml.Nearest(value, words)
	if near == "" {
		near = strings.Join(words, ", ")
	}
	return doc.Errorf(path, "%s is not %q: did you mean %s?", path, value, near)
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkURL(doc yaml.Doc, path, value string) error {
	if value == "" {
		return nil
	}
	u, err := url.Parse(value)
	if strings.Contains(value, "@") && (err != nil || u.User != nil) { // what stands before the @ is not repeated
		return doc.Errorf(path, "an address holds no user name and no password; a secret of its own has a place for them")
	}
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || strings.Contains(value, "#") {
		return doc.Errorf(path, "%q is no address such as https://idp.example.test/path", value)
	}
	return nil
}

// checkPlaces checks "all" or a list of names of apps.
func checkPlaces(doc yaml.Doc, path string, p hub.Places) error {
	return checkNames(doc, path, p, "apps", nameForm)
}

func checkNames(doc yaml.Doc, path string, p hub.Places, what string, form *regexp.Regexp) error {
	seen := map[string]bool{}
	for i, n := range p.Names {
		switch at := fmt.Sprintf("%s[%d]", path, i); {
		case n == "all":
			return doc.Errorf(at, "write %s: all by itself, or a list of %s", path, what)
		case !form.MatchString(n):
			return doc.Errorf(at, "%q is no name among %s", n, what)
		case seen[n]:
			return doc.Errorf(at, "%s stands here twice", n)
		}
		seen[n] = true
	}
	return nil
}

func checkLimits(doc yaml.Doc, path string, l *hub.Limits) error {
	if l == nil {
		return nil
	}
	per, err := time.ParseDuration(l.Per)
	switch {
	case l.People < 1:
		return doc.Errorf(path+".people", "people is at least 1")
	case l.Per == "" || err != nil || per < time.Second || per > 31*24*time.Hour:
		return doc.Errorf(path+".per", "per is a span from 1s to 744h, such as 1h")
	}
	return word(doc, path+".beyond", l.Beyond, "deny")
}

var (
	secretName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}$`)
	secretEnv  = regexp.MustCompile(`^COUNTERSIGN_SECRET_[A-Z0-9_]{1,100}$`)
)

// checkSecret says what is wrong with a reference to a secret.
func checkSecret(doc yaml.Doc, path string, s *hub.Secret) error {
	if s == nil {
		return nil
	}
	n := 0
	for _, v := range []string{s.Stored, s.File, s.Env} {
		if v != "" {
			n++
		}
	}
	switch {
	case n != 1:
		return doc.Errorf(path, "a secret is one of {stored: NAME}, {file: PATH}, {env: COUNTERSIGN_SECRET_…}")
	case s.Stored != "" && !secretName.MatchString(s.Stored):
		return doc.Errorf(path, "%q is no name of a stored secret", s.Stored)
	case s.Env != "" && !secretEnv.MatchString(s.Env):
		return doc.Errorf(path, "a secret's variable is named COUNTERSIGN_SECRET_…")
	case s.File != "" && (strings.HasPrefix(s.File, "/") || slices.Contains(strings.FieldsFunc(s.File, func(r rune) bool { return r == '/' || r == '\\' }), "..")):
		return doc.Errorf(path, "a secret's file is named below the secrets folder (--secrets-dir), without / in front and without ..")
	}
	return nil
}

func checkApp(doc yaml.Doc, a *hub.App) error {
	if a.Pack == "" {
		return doc.Errorf("", "an app names its pack, such as pack: http-sessions")
	}
	for name := range a.Secrets {
		s := a.Secrets[name]
		if err := checkSecret(doc, "secrets."+name, &s); err != nil {
			return err
		}
	}
	return word(doc, "accounts.match", a.Accounts.Match, "email", "declared")
}

func checkIdentity(doc yaml.Doc, id *hub.Identity) error {
	if err := word(doc, "protect", id.Protect, "none", "never"); err != nil {
		return err
	}
	if at, why := identityFault(id); why != "" {
		return doc.Errorf(at, "%s", why)
	}
	return nil
}

// identityFault says what is wrong with an identity, and where, and writes its numbers in their one form.
func identityFault(id *hub.Identity) (at, why string) {
	for i, e := range id.Emails {
		at := fmt.Sprintf("emails[%d]", i)
		if a, err := mail.ParseAddress(e); err != nil || a.Address != e || a.Name != "" || strings.ContainsFunc(e, unicode.IsSpace) || len(e) > 320 {
			return fault(at, "%.80q is no e-mail address", e)
		}
		if key := subject.CanonicalEmail(e); slices.ContainsFunc(id.Emails[:i], func(o string) bool { return subject.CanonicalEmail(o) == key }) {
			return fault(at, "this address stands here twice")
		}
	}
	for i, p := range id.Phones {
		at := fmt.Sprintf("phones[%d]", i)
		number := subject.Phone(p).Get("phone_number")
		if number == "" {
			return fault(at, "%.40q is no telephone number such as +15550100", p)
		}
		if id.Phones[i] = number; slices.Contains(id.Phones[:i], number) {
			return fault(at, "this number stands here twice")
		}
	}
	for i, a := range id.Accounts {
		switch at := fmt.Sprintf("accounts[%d]", i); {
		case a.At == "" || a.ID == "" || len(a.ID) > 512:
			return fault(at, "an account is {at: PLACE, id: ID}")
		case strings.HasPrefix(a.At, "#"):
			return fault(at+".at", "%.80q is no name of a place", a.At)
		case slices.Contains(id.Accounts[:i], a):
			return fault(at, "this account stands here twice")
		}
	}
	for i, d := range id.Devices {
		switch at := fmt.Sprintf("devices[%d]", i); {
		case d.At == "" || d.ID == "" || len(d.ID) > 512:
			return fault(at, "a device is {at: PLACE, id: ID}")
		case !nameForm.MatchString(d.At):
			return fault(at+".at", "%.80q is no name of a place", d.At)
		case slices.Contains(id.Devices[:i], d):
			return fault(at, "this device stands here twice")
		}
	}
	if id.Protect != "" && id.Protect != "none" && id.Protect != "never" {
		return fault("protect", "%.80q is none of none, never", id.Protect)
	}
	return "", ""
}

func fault(at, format string, args ...any) (string, string) { return at, fmt.Sprintf(format, args...) }
