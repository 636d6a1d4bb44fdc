package act_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"countersign/internal/connector"
	"countersign/internal/hub"
	"countersign/internal/req"
)

// What is added to fullPack, which lacks them.
const (
	bounded = "residue: {access_token: 10m}\n"
	tokens  = `  revoke_tokens:
    request: {method: PUT, path: "/admin/users/${account.id}/tokens"}
    done: "status == 204"
    repeat: same
`
	enables = `  enable_account:
    request: {method: PUT, path: "/admin/users/${account.id}/enabled"}
    done: "status == 204"
    repeat: same
`
)

// without is fullPack where sessions can be listed and not ended.
func without() string { return fullPack[:strings.Index(fullPack, "  end_session:")] }

func (b *bench) pack(name, text, url string) {
	b.t.Helper()
	p, err := connector.ParsePack([]byte(text))
	if err != nil {
		b.t.Fatal(err)
	}
	b.apps[name] = &connector.App{Name: name, Pack: p, Settings: map[string]string{"url": url}, Secrets: map[string]string{"token": "t0ken"}, Match: "email"}
}

// accountSite answers the account's own state at once.
func accountSite(t *testing.T) *site {
	s := newSite(t)
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusNoContent)
		}
		return r.Method == http.MethodPut
	}
	return s
}

func account(action string) *hub.Action {
	a := revoke("full")
	a.Name, a.Reach, a.Line, a.Ordered = action, "", "a1", true
	return a
}

// paths are the acting requests without their keys.
func (s *site) paths() (out []string) {
	for _, r := range s.requests() {
		out = append(out, r[:strings.LastIndex(r, " ")])
	}
	return out
}

// The table of design section 3: what becomes of disable_account where the pack lacks a later step.
func TestDisableWithoutItsLaterSteps(t *testing.T) {
	for name, tc := range map[string]struct {
		pack   string
		state  hub.State
		reason string
	}{
		"nothing is missing":                     {fullPack + tokens, hub.Succeeded, "done"},
		"nothing is missing, tokens live on":     {fullPack + tokens + bounded, hub.Succeeded, "done_with_residue"},
		"tokens stay, and are bounded":           {fullPack + bounded, hub.Succeeded, "done_with_residue"},
		"tokens stay, and nothing bounds them":   {fullPack, hub.Failed, "partial"},
		"sessions stay":                          {without() + tokens, hub.Failed, "partial"},
		"sessions stay, though tokens are bound": {without() + tokens + bounded, hub.Failed, "partial"},
	} {
		t.Run(name, func(t *testing.T) {
			s := accountSite(t)
			b := newBench(t)
			b.pack("full", tc.pack, s.URL)
			b.start(nil)
			a := b.final(b.plan(nil, account(hub.DisableAccount)))[0]
			if a.State != tc.state || a.Reason != tc.reason || (a.EffectiveBy != 0) != (a.Reason == "done_with_residue") {
				t.Errorf("%s/%s effective by %d: %s", a.State, a.Reason, a.EffectiveBy, a.Evidence)
			}
			if a.State == hub.Failed && a.ReasonText == "" {
				t.Error("a partial disable does not say what is left")
			}
		})
	}
	req.Covers(t, "AR-§5.6")
}

// Sessions of a disabled account come back to life when it is enabled, so what the disable left open is finished first;
// and only that: after a disable that ended well, or without one, nobody's sessions are touched.
func TestEnableFinishesTheDisableFirst(t *testing.T) {
	for name, tc := range map[string]struct {
		disable, refuse bool
		pack            string
		want            []string
		text            string
	}{
		"never disabled here": {pack: fullPack, want: []string{"PUT /admin/users/a1/enabled"}},
		"disabled to the end": {pack: fullPack + tokens, disable: true, want: []string{"PUT /admin/users/a1/enabled"}},
		"disabled in part": {pack: strings.Replace(fullPack, "    already_done: ", "    refused: \"status == 403\"\n    already_done: ", 1) + tokens, disable: true, refuse: true,
			want: []string{"DELETE /admin/sessions/s1", "DELETE /admin/sessions/s2", "PUT /admin/users/a1/tokens", "PUT /admin/users/a1/enabled"}},
		"what cannot be finished is said": {pack: without(), disable: true, want: []string{"PUT /admin/users/a1/enabled"}, text: "may live again"},
	} {
		t.Run(name, func(t *testing.T) {
			s := accountSite(t)
			b := newBench(t)
			b.pack("full", tc.pack+enables, s.URL)
			b.start(nil)
			if tc.disable {
				put := s.before
				s.mu.Lock()
				s.before = func(w http.ResponseWriter, r *http.Request) bool {
					if tc.refuse && r.Method == http.MethodDelete {
						w.WriteHeader(http.StatusForbidden)
						return true
					}
					return put(w, r)
				}
				s.mu.Unlock()
				d := b.final(b.plan(nil, account(hub.DisableAccount)))[0]
				if tc.refuse != (d.State == hub.Failed) && tc.text == "" {
					t.Fatalf("the disable: %s/%s", d.State, d.Reason)
				}
				s.mu.Lock()
				s.before, s.acting = put, nil
				s.mu.Unlock()
			}
			a := b.final(b.plan(nil, account(hub.EnableAccount)))[0]
			if a.State != hub.Succeeded || a.Reason != "done" || !strings.Contains(a.ReasonText, tc.text) {
				t.Errorf("the enable: %s/%s %q", a.State, a.Reason, a.ReasonText)
			}
			if got := s.paths(); !slices.Equal(got, tc.want) {
				t.Errorf("acting requests %q, want %q", got, tc.want)
			}
		})
	}
}
