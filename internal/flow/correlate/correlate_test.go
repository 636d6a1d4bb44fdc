package correlate_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/flow/correlate"
	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/subject"
)

// people is a store of declared identities.
type people struct {
	list []hub.Identity
	err  error
}

func (p people) FindIdentityByEmail(_ context.Context, _, email string) (names []string, err error) {
	for _, i := range p.list {
		for _, e := range i.Emails {
			if subject.CanonicalEmail(e) == email {
				names = append(names, i.Name)
			}
		}
	}
	return names, p.err
}

func (p people) FindIdentityByAccount(_ context.Context, _, place, id string) (names []string, err error) {
	for _, i := range p.list {
		for _, a := range i.Accounts {
			if a.At == place && a.ID == id {
				names = append(names, i.Name)
			}
		}
	}
	return names, p.err
}

func (p people) FindIdentityByPhone(_ context.Context, _, number string) (names []string, err error) {
	for _, i := range p.list {
		for _, n := range i.Phones {
			if n == number {
				names = append(names, i.Name)
			}
		}
	}
	return names, p.err
}

func (p people) FindIdentityByDevice(_ context.Context, _, place, id string) (names []string, err error) {
	for _, i := range p.list {
		for _, d := range i.Devices {
			if d.At == place && d.ID == id {
				names = append(names, i.Name)
			}
		}
	}
	return names, p.err
}

func (p people) Identity(_ context.Context, _, name string) (*hub.Identity, error) {
	for _, i := range p.list {
		if i.Name == name {
			return &i, nil
		}
	}
	return nil, hub.Errorf(hub.NotFound, "no identity %s", name)
}

var known = people{list: []hub.Identity{
	{Name: "alice", Emails: []string{"alice@example.test"}, Accounts: []hub.Account{{At: "keycloak", ID: "99beb27c"}, {At: "hr", ID: "E17"}}},
	{Name: "bob", Emails: []string{"bob@example.test", "team@example.test"}},
	{Name: "carol", Emails: []string{"team@example.test"}},
}}

const issuer = "https://idp.example.test/realms/acme"

func TestCorrelate(t *testing.T) {
	for _, c := range []struct {
		name, sub string
		ways      []hub.Correlate
		looksUp   bool
		want      correlate.Result
		who       string
		covers    []string
	}{
		{name: "iss_sub as account of the source", sub: `{"format":"iss_sub","iss":"` + issuer + `","sub":"99beb27c"}`, who: "alice", covers: []string{"S7", "S8"}},
		{name: "iss_sub of another issuer is a miss", sub: `{"format":"iss_sub","iss":"https://evil.example.test","sub":"99beb27c"}`,
			want: correlate.Result{Code: "not_authorized", Reason: "nobody known fits the subject", Misses: []string{"iss_sub: the subject's issuer is not one of those that this source may speak for", "email: the subject has no e-mail address"}}, covers: []string{"AR-§8"}},
		{name: "iss_sub at a chosen place", sub: `{"format":"iss_sub","iss":"https://hr.example.test","sub":"E17"}`,
			ways: []hub.Correlate{{Format: "iss_sub", Iss: []string{"https://hr.example.test"}, As: "account_id", At: "hr"}}, who: "alice", covers: []string{"S8"}},
		{name: "email, whatever its case", sub: `{"format":"email","email":"Alice@Example.test"}`, who: "alice",
			want: correlate.Result{Misses: []string{"iss_sub: the subject has no issuer and subject"}}, covers: []string{"S8"}},
		{name: "order of ways", sub: `{"format":"email","email":"alice@example.test"}`, ways: []hub.Correlate{{Format: "email"}}, who: "alice"},
		{name: "two people fit", sub: `{"format":"email","email":"team@example.test"}`, looksUp: true, ways: []hub.Correlate{{Format: "email"}},
			want: correlate.Result{Code: "ambiguous_subject", Reason: "ambiguous: 2 identities fit the subject, and none is taken for the right one", Misses: []string{"email: 2 identities have it"}}},
		{name: "nobody", sub: `{"format":"email","email":"dave@example.test"}`, ways: []hub.Correlate{{Format: "email"}},
			want: correlate.Result{Code: "no_such_subject", Reason: "nobody known fits the subject", Misses: []string{"email: no identity has it"}}},
		{name: "an address that apps look up", sub: `{"format":"email","email":"Dave@example.test"}`, looksUp: true, ways: []hub.Correlate{{Format: "email"}}, who: "dave@example.test",
			want: correlate.Result{Implicit: true, Misses: []string{"email: no identity has it"}}},
		{name: "no implicit person without the way email", sub: `{"format":"email","email":"dave@example.test"}`, looksUp: true, ways: []hub.Correlate{{Format: "opaque"}},
			want: correlate.Result{Code: "no_such_subject", Reason: "nobody known fits the subject", Misses: []string{"opaque: the subject has another format"}}},
		{name: "opaque", sub: `{"format":"opaque","id":"99beb27c"}`, ways: []hub.Correlate{{Format: "opaque", As: "account_id", At: "keycloak"}}, who: "alice"},
		{name: "complex with session", sub: `{"format":"complex","user":{"format":"iss_sub","iss":"` + issuer + `","sub":"99beb27c"},"session":{"format":"opaque","id":"s1"},"tenant":{"format":"opaque","id":"acme"}}`,
			who: "alice", want: correlate.Result{Session: "s1", SessionAt: "keycloak"}},
		{name: "session of another issuer", sub: `{"format":"complex","user":{"format":"email","email":"alice@example.test"},"session":{"format":"iss_sub","iss":"https://x.test","sub":"s1"}}`, ways: []hub.Correlate{{Format: "email"}},
			who: "alice", want: correlate.Result{Misses: []string{"session: its issuer is not the source's"}}},
		{name: "no user", sub: `{"format":"complex","device":{"format":"opaque","id":"laptop"}}`, want: correlate.Result{Code: "no_such_subject", Reason: "the subject names a device and no person, and no rule of the source says whom that means"}},
		{name: "unreadable", sub: `{"format":"email"}`, want: correlate.Result{Code: "no_such_subject", Reason: "the subject cannot be read"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := correlate.Input{Signal: &hub.Signal{Tenant: "default", SubID: json.RawMessage(c.sub)}, Source: &hub.Source{Name: "keycloak", Issuer: issuer, Correlate: c.ways}, LooksUp: c.looksUp}
			got, err := correlate.Correlate(t.Context(), known, in)
			if err != nil {
				t.Fatal(err)
			}
			who := ""
			if got.Identity != nil {
				who = got.Identity.Name
			}
			got.Identity = nil
			if d := cmp.Diff(c.want, *got); d != "" || who != c.who {
				t.Errorf("who %q, want %q\n%s", who, c.who, d)
			}
			if len(c.covers) > 0 {
				req.Covers(t, c.covers...)
			}
		})
	}
}

func TestStoreError(t *testing.T) {
	want := errors.New("the disk is gone")
	_, err := correlate.Correlate(t.Context(), people{err: want}, correlate.Input{Signal: &hub.Signal{SubID: json.RawMessage(`{"format":"email","email":"a@b.test"}`)}, Source: &hub.Source{Name: "x"}})
	if !errors.Is(err, want) {
		t.Error(err)
	}
}
