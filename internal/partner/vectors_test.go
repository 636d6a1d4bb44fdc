package partner

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/risc"
	"countersign/event/scim"
	"countersign/event/ssf"
	"countersign/internal/req"
	"countersign/receiver"
	"countersign/set"
)

func vocabulary() *event.Registry {
	return event.NewRegistry(caep.Vocabulary(), risc.Vocabulary(), ssf.Vocabulary(), scim.Vocabulary())
}

// judge gives what a handler with these switches makes of a token, and the reason why it was refused.
func judge(t *testing.T, q receiver.Quirks, policy *set.Policy, compact string) (*receiver.Delivery, error) {
	t.Helper()
	var kept *receiver.Delivery
	var reason error
	h := &receiver.Handler{
		Policy: func(context.Context) (*set.Policy, error) { return policy, nil }, Registry: vocabulary(), Quirks: q,
		Keep:   func(_ context.Context, d *receiver.Delivery) error { kept = d; return nil },
		Report: func(_ context.Context, _ int, _ string, err error) { reason = err },
	}
	if err := h.Take(t.Context(), compact); err != nil && reason == nil {
		reason = err
	}
	return kept, reason
}

// What partners write, signed here: refused by generic as the vector says, taken by the partner's own profile, with what was let
// pass noted.
func TestProfilesTakeWhatTheirPartnersWrite(t *testing.T) {
	key, err := set.GenerateKey(set.RS256)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := set.NewSigner(set.RS256, "k1", key)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file, profile string
		relax         []string
		noted         []string
		refused       bool // by every profile
	}{
		{"f02-null-members", "keycloak", []string{"Q-30", "Q-31"}, []string{"Q-30", "Q-31"}, false},
		{"f03-authentik", "authentik", nil, []string{"Q-30", "Q-31"}, false},
		{"f04-okta", "okta", nil, []string{"Q-30", "Q-35"}, false},
		{"f07-google", "google", nil, []string{"Q-30", "Q-32"}, false},
		{"f07-google", "login-gov", nil, []string{"Q-30", "Q-32"}, false},
		{"f07-google", "govuk", nil, []string{"Q-30", "Q-32"}, false},
		{"f08-google-token", "google", nil, []string{"Q-30", "Q-32"}, false},
		{"f09-sgnl", "sgnl", nil, []string{"Q-31", "Q-36"}, false},
		{"f11-two-people", "", nil, nil, true},
		{"f13-device-only", "omnissa", nil, nil, false},
		{"f15-verification-without-state", "keycloak", nil, nil, false},
		{"q39-txn", "authentik", nil, []string{"Q-39"}, false},
		{"q45-status-object", "keycloak", nil, []string{"Q-45"}, false},
	} {
		t.Run(c.file+" "+c.profile, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join(repo, "receiver", "testdata", "quirks", c.file+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var v struct {
				Payload json.RawMessage
				Strict  struct{ Status int }
			}
			if err := json.Unmarshal(raw, &v); err != nil {
				t.Fatal(err)
			}
			var claims struct {
				Iss string
				Iat int64
				Aud any
			}
			if err := json.Unmarshal(v.Payload, &claims); err != nil {
				t.Fatal(err)
			}
			aud, ok := claims.Aud.(string)
			if !ok {
				aud = claims.Aud.([]any)[0].(string)
			}
			compact, err := signer.Complete(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"secevent+jwt","kid":"k1"}`)) + "." + base64.RawURLEncoding.EncodeToString(v.Payload))
			if err != nil {
				t.Fatal(err)
			}
			policy := &set.Policy{Issuer: claims.Iss, Audience: []string{aud}, Keys: set.StaticKeys{signer.Public()}, Now: func() time.Time { return time.Unix(claims.Iat, 0) }}
			if kept, reason := judge(t, receiver.Quirks{}, policy, compact); (kept != nil) != (v.Strict.Status == 202) {
				t.Errorf("generic: %v", reason)
			}
			profiles := All()
			if !c.refused {
				p, ok := Find(c.profile)
				if !ok {
					t.Fatal("there is no such profile")
				}
				profiles = []*Profile{p}
			}
			for _, p := range profiles {
				q, err := p.QuirksWith(c.relax)
				if err != nil {
					t.Fatal(err)
				}
				kept, reason := judge(t, q, policy, compact)
				switch {
				case c.refused && kept != nil:
					t.Errorf("%s takes it", p.Name)
				case c.refused:
				case kept == nil:
					t.Errorf("%s refuses it: %v", p.Name, reason)
				case len(kept.SubID) > 0 && (!strings.Contains(string(kept.SubID), `"format"`) || strings.Contains(string(kept.SubID), "null")):
					t.Errorf("%s hands on the subject %s", p.Name, kept.SubID)
				case !slices.Equal(slices.Sorted(slices.Values(kept.Quirks)), slices.Sorted(slices.Values(c.noted))):
					t.Errorf("%s notes %v, want %v", p.Name, kept.Quirks, c.noted)
				}
			}
		})
	}
	req.Covers(t, "LEG-17", "LEG-27")
}

// What a real Keycloak sent, under its profile: all of the present form; the older profile, which the guide asks to set right,
// only with the two quirks that the guide names, and then as the refusal said.
func TestKeycloakCaptures(t *testing.T) {
	dir := filepath.Join(repo, "set", "testdata", "keycloak-26")
	jwks, err := os.ReadFile(filepath.Join(dir, "jwks.json"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := set.ParseJWKS(jwks)
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "[0-9]*.json"))
	if len(files) != 10 {
		t.Fatalf("%d captures, want 10", len(files))
	}
	keycloak, _ := Find("keycloak")
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v struct {
			Compact string
			Payload struct {
				Iss, Aud string
				Iat      int64
			}
		}
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		policy := &set.Policy{Issuer: v.Payload.Iss, Audience: []string{v.Payload.Aud}, Keys: keys, Now: func() time.Time { return time.Unix(v.Payload.Iat, 0) }}
		name := filepath.Base(file)
		kept, reason := judge(t, keycloak.Quirks(), policy, v.Compact)
		switch name[:2] {
		case "08": // the older profile
			q, ok := errors.AsType[*receiver.QuirkError](reason)
			if !ok {
				t.Errorf("%s: %v", name, reason)
				continue
			}
			if text, side, id := CureFor(keycloak, "invalid_request", reason); id == "" || side != Theirs || !strings.Contains(text, "SSF_1_0") {
				t.Errorf("%s: the cure is %q on side %q for %q", name, text, side, id)
			}
			relaxed, err := keycloak.QuirksWith(q.IDs)
			if err != nil {
				t.Fatal(err)
			}
			if kept, reason = judge(t, relaxed, policy, v.Compact); kept == nil {
				t.Errorf("%s with %v: %v", name, q.IDs, reason)
			}
			for _, id := range q.IDs {
				if !strings.Contains(keycloak.Guide, id) {
					t.Errorf("the guide does not name %s", id)
				}
			}
		case "10": // a logout token is none of ours
			if kept != nil || !errors.Is(reason, set.ErrType) {
				t.Errorf("%s: %v", name, reason)
			}
		default:
			if kept == nil {
				t.Errorf("%s: %v", name, reason)
				continue
			}
			if u, ok := kept.Payload.(*ssf.StreamUpdated); name[:2] == "09" && (!ok || u.Status != "paused" || !slices.Contains(kept.Quirks, "Q-45")) {
				t.Errorf("%s: %+v, noted %v", name, kept.Payload, kept.Quirks)
			}
		}
	}
	req.Covers(t, "Q-45", "Q-18", "Q-07")
}
