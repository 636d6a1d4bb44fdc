package partner

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"countersign/internal/req"
	"countersign/receiver"
	"countersign/set"
)

func TestAll(t *testing.T) {
	want := strings.Fields("generic keycloak authentik solarssk okta okta-itp sailpoint apple google google-workspace sgnl ibm-verify soffid britive jamf " +
		"kolide omnissa palo-alto netskope zscaler oracle login-gov govuk caep-dev goSignals go-oidc")
	for _, name := range want {
		if _, ok := Find(name); !ok {
			t.Errorf("there is no profile %s", name)
		}
	}
	if len(All()) != len(want) || All()[0].Name != Generic {
		t.Errorf("%v", Names())
	}
	if p, ok := Find(""); !ok || p.Name != Generic {
		t.Error("a source without a profile is not generic")
	}
	if q := All()[0].Quirks(); len(q.IDs()) != 0 {
		t.Errorf("generic lets %v pass", q.IDs())
	}
	if _, ok := Find("Keycloak"); ok {
		t.Error("names are compared byte for byte")
	}
	var none *Profile
	if q := none.Quirks(); len(q.IDs()) != 0 {
		t.Error("no profile lets something pass")
	}
	if Nearest("keycloack") != "keycloak" || Nearest("google-workspaces") != "google-workspace" {
		t.Error(Nearest("keycloack"))
	}
}

// A profile is data, and read strictly.
func TestLoad(t *testing.T) {
	good := "name: acme\ntitle: Acme\ntransmits: true\nsure: run\nchecked: \"2026-11-24\"\n"
	for name, c := range map[string]struct{ yaml, guide, want string }{
		"good":             {good, "x", ""},
		"no guide":         {good, " \n", "its guide is empty"},
		"unknown key":      {good + "quirk: [Q-30]\n", "x", "did you mean quirks?"},
		"unknown quirk":    {good + "quirks: [Q-99]\n", "x", "no such quirk"},
		"quirk twice":      {good + "quirks: [Q-30, Q-30]\n", "x", "Q-30 stands twice"},
		"quirk and note":   {good + "quirks: [Q-30]\nnotes: [Q-30]\n", "x", "Q-30 stands twice"},
		"needs no switch":  {good + "quirks: [Q-35]\n", "x", "Q-35 needs no switch"},
		"never":            {good + "quirks: [Q-43]\n", "x", "no such quirk"},
		"unknown note":     {good + "notes: [Q-00]\n", "x", `no quirk is called "Q-00"`},
		"wildcards":        {good + "wildcards: true\n", "x", "wildcards and Q-34 go together"},
		"other name":       {strings.Replace(good, "acme", "acne", 1), "x", `its name is "acne"`},
		"no role":          {strings.Replace(good, "transmits: true\n", "", 1), "x", "neither transmits nor receives"},
		"no title":         {strings.Replace(good, "title: Acme\n", "", 1), "x", "no title"},
		"date":             {strings.Replace(good, "2026-11-24", "24.11.2026", 1), "x", "checked is not a date"},
		"sure":             {strings.Replace(good, "sure: run", "sure: certain", 1), "x", `sure is "certain"`},
		"auth":             {good + "auth: [password]\n", "x", `auth is "password"`},
		"delivery twice":   {good + "delivery: [push, push]\n", "x", `delivery has "push" twice`},
		"every":            {good + "every: soon\n", "x", "every is not a duration"},
		"side":             {good + "cures: [{on: \"401\", text: x, side: yours}]\n", "x", `side is "yours"`},
		"cure of no quirk": {good + "cures: [{on: Q-00, text: x, side: ours}]\n", "x", `no quirk is called "Q-00"`},
		"empty cure":       {good + "cures: [{on: \"401\", text: \"\", side: ours}]\n", "x", "a cure says on what"},
		"two documents":    {good + "---\nname: b\n", "x", "one document"},
	} {
		_, err := Load(fstest.MapFS{"acme/profile.yaml": {Data: []byte(c.yaml)}, "acme/guide.md": {Data: []byte(c.guide)}})
		switch {
		case c.want == "" && err != nil, c.want != "" && (!errors.Is(err, ErrProfile) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := Load(fstest.MapFS{"acme/profile.yaml": {Data: []byte(good)}}); !errors.Is(err, ErrProfile) {
		t.Errorf("a folder without a guide: %v", err)
	}
}

func TestCure(t *testing.T) {
	keycloak, _ := Find("keycloak")
	for _, c := range []struct {
		p          *Profile
		what, side string
		text       string
	}{
		{keycloak, "invalid_scope", Theirs, "optional client scopes"},
		{keycloak, "silence", Theirs, "ssf.defaultSubjects=ALL"},
		{nil, "invalid_scope", Theirs, "ssf.manage and ssf.read"},
		{keycloak, "Q-30", Theirs, "ssf.profile=SSF_1_0"},
		{nil, "Q-30", Theirs, "send sub_id"},
		{keycloak, "invalid_issuer", Ours, "byte for byte"},
		{keycloak, "401", Theirs, "everybody was signed out of the realm"},
		{keycloak, "404", Theirs, "ssf.transmitterEnabled=true"},
		{keycloak, "409", Ours, "stream: adopt"},
		{nil, "401", Ours, "ssf.manage and ssf.read"},
		{nil, "something else", "", ""},
	} {
		text, side := Cure(c.p, c.what)
		if side != c.side || !strings.Contains(text, c.text) {
			t.Errorf("%s: %q on side %q", c.what, text, side)
		}
	}
	// The quirk is named before the code, and a refusal without one has the code's cure.
	reason := &receiver.QuirkError{IDs: []string{"Q-31"}, Err: errors.New("x")}
	if text, side, id := CureFor(nil, "invalid_request", reason); id != "Q-31" || side != Theirs || !strings.Contains(text, "complex") {
		t.Errorf("%q %q %q", text, side, id)
	}
	if text, side, id := CureFor(nil, "invalid_audience", errors.New("x")); id != "" || side != Ours || text == "" {
		t.Errorf("%q %q %q", text, side, id)
	}
	if text, side, _ := CureFor(nil, "invalid_request", fmt.Errorf("x: %w", set.ErrTime)); side != Ours || !strings.Contains(text, "time server") {
		t.Errorf("%q %q", text, side)
	}
	req.Covers(t, "Q-24", "Q-25")
}

// With a profile, the switches of a source are the profile's and its own.
func TestQuirksWith(t *testing.T) {
	p, _ := Find("authentik")
	q, err := p.QuirksWith([]string{"Q-37"})
	if err != nil || !q.NestedSubject || !q.OtherWords || q.WildcardSession {
		t.Errorf("%+v, %v", q, err)
	}
	if p.Quirks().OtherWords {
		t.Error("the profile was changed")
	}
	if _, err := p.QuirksWith([]string{"Q-00"}); !errors.Is(err, receiver.ErrQuirk) {
		t.Errorf("%v", err)
	}
}

// Every quirk has a title, says what is done, and one with a switch what the other side would change; no id stands twice.
func TestRows(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rows() {
		if seen[r.ID] || r.Title == "" || r.Done == "" {
			t.Errorf("%+v", r)
		}
		seen[r.ID] = true
		if k, ok := receiver.LookupQuirk(r.ID); ok && !k.Always() {
			if text, side := Cure(nil, r.ID); text == "" || side == "" {
				t.Errorf("%s has no cure", r.ID)
			}
		}
	}
}

// What a product does that nobody can change is said where an operator reads it.
func TestWhatIsToBeKnown(t *testing.T) {
	keycloak, _ := Find("keycloak")
	page := keycloak.Page()
	for id, words := range map[string]string{
		"Q-40": "While paused, events are | held", "Q-46": "no policy may go by it", "Q-47": "`change_type` is never `create`",
		"Q-48": "Is silent about | an administrator ends one session", "Q-49": "people without an address are dropped there", "Q-58": "A push may come late by | 30s",
		"Q-59": "eight times in about seven hours", "Q-61": "an address in a private network", "Q-55": "allow-insecure-push-targets", "Q-62": "must not act at Keycloak", "Q-24": "*optional* client scopes",
	} {
		if !strings.Contains(page, words) {
			t.Errorf("%s: the page of Keycloak does not say %q", id, words)
		}
	}
	if keycloak.Delivery[0] != "poll" || !keycloak.Entity || keycloak.Disabled != "lost" {
		t.Errorf("%+v", keycloak)
	}
	for _, name := range []string{"okta", "google"} {
		if p, _ := Find(name); p.Disabled != "lost" {
			t.Errorf("%s: %q", name, p.Disabled)
		}
	}
	sailpoint, _ := Find("sailpoint")
	for _, words := range []string{"drops members that it does not know", "It answers 202 also to tokens that it does not use", "10 to 60 seconds later"} {
		if !strings.Contains(sailpoint.Page(), words) {
			t.Errorf("the page of SailPoint does not say %q", words)
		}
	}
	okta, _ := Find("okta-itp")
	if !strings.Contains(okta.Page(), "202 means that the token was taken, not that anybody was found") {
		t.Error("the page of Okta does not say what its 202 means")
	}
	sgnl, _ := Find("sgnl")
	if text, side := Cure(sgnl, "authentication_failed"); side != Theirs || !strings.Contains(text, "Bearer") {
		t.Errorf("Q-16: %q", text)
	}
	ibm, _ := Find("ibm-verify")
	if text, side := Cure(ibm, "invalid_key"); side != Theirs || !strings.Contains(text, "sign_poll_set") {
		t.Errorf("Q-43: %q", text)
	}
	req.Covers(t, "Q-16", "Q-40", "Q-44", "Q-46", "Q-47", "Q-48", "Q-49", "Q-51", "Q-55", "Q-57", "Q-58", "Q-59", "Q-61", "Q-62")
}
