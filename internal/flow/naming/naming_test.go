package naming

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/subject"
)

// people is a Store over identities in memory that counts what it is asked.
type people struct {
	all   []*hub.Identity
	asked int
}

func (p *people) find(fits func(*hub.Identity) bool) (out []string, _ error) {
	p.asked++
	for _, id := range p.all {
		if fits(id) {
			out = append(out, id.Name)
		}
	}
	return out, nil
}

func (p *people) FindIdentityByEmail(_ context.Context, _, email string) ([]string, error) {
	return p.find(func(id *hub.Identity) bool { return slices.Contains(id.Emails, email) })
}

func (p *people) FindIdentityByAccount(_ context.Context, _, place, account string) ([]string, error) {
	return p.find(func(id *hub.Identity) bool { return slices.Contains(id.Accounts, hub.Account{At: place, ID: account}) })
}

func (p *people) Identity(_ context.Context, _, name string) (*hub.Identity, error) {
	for _, id := range p.all {
		if id.Name == name {
			return id, nil
		}
	}
	return nil, hub.Errorf(hub.NotFound, "no such identity")
}

const (
	kcIssuer   = "https://kc.example.test"
	oktaIssuer = "https://okta.example.test"
)

func company() (*people, *Namer) {
	p := &people{all: []*hub.Identity{
		{Name: "alice", Emails: []string{"alice@example.test", "a.b@example.test"}, Accounts: []hub.Account{{At: "kc", ID: "kc-1"}, {At: "okta", ID: "00u1"}, {At: "wiki", ID: "a/b"}}},
		{Name: "bob", Emails: []string{"bob@example.test", "team@example.test"}, Accounts: []hub.Account{{At: "kc", ID: "kc-2"}, {At: "kc", ID: "kc-2b"}}},
		{Name: "carol", Emails: []string{"team@example.test"}},
		{Name: "dave", Accounts: []hub.Account{{At: "okta", ID: "00u4"}}},
		{Name: "mallory", Emails: []string{"m@example.test"}, Accounts: []hub.Account{{At: "okta", ID: "kc-1"}}}, // the id of alice elsewhere
	}}
	return p, New(Config{Tenant: "default", Store: p, Now: func() time.Time { return time.Unix(1, 0) },
		Sources: []*hub.Source{{Name: "kc", Issuer: kcIssuer}, {Name: "okta", Issuer: oktaIssuer, Correlate: []hub.Correlate{{Format: "iss_sub", Iss: []string{oktaIssuer, "https://custom.example.test"}}}}}})
}

func TestName(t *testing.T) {
	const email = `{"format":"email","email":"alice@example.test"}`
	kc := `{"format":"iss_sub","iss":"` + kcIssuer + `","sub":"kc-1"}`
	for _, c := range []struct{ name, rule, sub, want, skip string }{
		{"email as it is", `{"format":"email"}`, email, email, ""},
		{"the address that was used", `{"format":"email"}`, `{"format":"email","email":"a.b@example.test"}`, `{"format":"email","email":"a.b@example.test"}`, ""},
		{"an address nobody declared", `{"format":"email"}`, `{"format":"email","email":"new@example.test"}`, `{"format":"email","email":"new@example.test"}`, ""},
		{"email of an account", `{"format":"email"}`, kc, email, ""},
		{"no address", `{"format":"email"}`, `{"format":"iss_sub","iss":"` + oktaIssuer + `","sub":"00u4"}`, "", "the person has no e-mail address"},
		{"an account of an address", `{"format":"iss_sub","account_at":"kc"}`, email, kc, ""},
		{"from one place to another", `{"format":"iss_sub","account_at":"okta"}`, kc, `{"format":"iss_sub","iss":"` + oktaIssuer + `","sub":"00u1"}`, ""},
		{"never the other place's id", `{"format":"iss_sub","account_at":"kc"}`, `{"format":"iss_sub","iss":"` + oktaIssuer + `","sub":"kc-1"}`, "", "the person has no account at kc"},
		{"another issuer of the source", `{"format":"opaque","account_at":"kc"}`, `{"format":"iss_sub","iss":"https://custom.example.test","sub":"00u1"}`, `{"format":"opaque","id":"kc-1"}`, ""},
		{"an issuer of nobody", `{"format":"email"}`, `{"format":"iss_sub","iss":"https://else.example.test","sub":"kc-1"}`, "", "nobody known fits the subject"},
		{"no account", `{"format":"opaque","account_at":"kc"}`, `{"format":"iss_sub","iss":"` + oktaIssuer + `","sub":"00u4"}`, "", "the person has no account at kc"},
		{"otherwise", `{"format":"iss_sub","account_at":"kc","otherwise":"email"}`, `{"format":"email","email":"team2@example.test"}`, `{"format":"email","email":"team2@example.test"}`, ""},
		{"otherwise neither", `{"format":"iss_sub","account_at":"kc","otherwise":"email"}`, `{"format":"iss_sub","iss":"` + oktaIssuer + `","sub":"00u4"}`, "", "the person has no account at kc, and the person has no e-mail address"},
		{"several accounts", `{"format":"opaque","account_at":"kc"}`, `{"format":"email","email":"bob@example.test"}`, "", "the person has 2 accounts at kc, and none is taken for the right one"},
		{"several accounts, one named", `{"format":"opaque","account_at":"kc"}`, `{"format":"iss_sub","iss":"` + kcIssuer + `","sub":"kc-2b"}`, `{"format":"opaque","id":"kc-2b"}`, ""},
		{"several people", `{"format":"email"}`, `{"format":"email","email":"team@example.test"}`, "", "several people fit the subject, and none is taken for the right one"},
		{"two ways, two people", `{"format":"email"}`, `{"format":"aliases","identifiers":[` + kc + `,{"format":"email","email":"bob@example.test"}]}`, "", "several people fit the subject, and none is taken for the right one"},
		{"scim", `{"format":"scim","account_at":"wiki"}`, email, `{"format":"scim","uri":"/Users/a%2Fb"}`, ""},
		{"complex", `{"format":"complex","account_at":"okta"}`, `{"format":"complex","user":` + kc + `,"session":{"format":"opaque","id":"s1"},"device":{"format":"opaque","id":"d1"}}`,
			`{"format":"complex","user":{"format":"iss_sub","iss":"` + oktaIssuer + `","sub":"00u1"}}`, ""},
		{"complex by address", `{"format":"complex"}`, kc, `{"format":"complex","user":` + email + `}`, ""},
		{"opaque says nobody", `{"format":"email"}`, `{"format":"opaque","id":"kc-1"}`, "", "an opaque subject says nobody without the source that it came from"},
		{"a device", `{"format":"email"}`, `{"format":"complex","device":{"format":"opaque","id":"d1"}}`, "", "the subject names no person"},
		{"a place without issuer", `{"format":"iss_sub","account_at":"wiki"}`, email, "", "there is no source wiki whose issuer could be told"},
		{"a broken rule", `{`, email, "", "the stream's rule for naming people cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, n := company()
			sub, err := subject.Parse(json.RawMessage(c.sub))
			if err != nil {
				t.Fatal(err)
			}
			got, skip, err := n.Name(context.Background(), json.RawMessage(c.rule), sub)
			if err != nil || skip != c.skip {
				t.Fatalf("skip %q, %v; want %q", skip, err, c.skip)
			}
			if c.want == "" {
				if !got.IsZero() {
					t.Errorf("skipped, and yet %s", got.Emit())
				}
				return
			}
			if want, _ := subject.Parse(json.RawMessage(c.want)); !subject.Identical(got, want) {
				t.Errorf("got %s, want %s", got.Emit(), c.want)
			}
			for _, hidden := range []string{"s1", "d1"} {
				if strings.Contains(string(got.Emit()), `"`+hidden+`"`) {
					t.Errorf("%s names what belongs to another place", got.Emit())
				}
			}
		})
	}
	req.Covers(t, "SUB-5")
}

// One event for many receivers is one look-up; who was found already is not looked up at all.
func TestOneLookUpForAnEvent(t *testing.T) {
	p, n := company()
	sub := subject.Email("alice@example.test")
	for _, rule := range []string{`{"format":"opaque","account_at":"kc"}`, `{"format":"opaque","account_at":"okta"}`, `{"format":"email"}`} {
		if _, skip, err := n.Name(context.Background(), json.RawMessage(rule), sub); skip != "" || err != nil {
			t.Fatal(skip, err)
		}
	}
	if p.asked != 1 {
		t.Errorf("looked up %d times", p.asked)
	}
	p.asked = 0
	ctx := With(context.Background(), &Person{Identity: p.all[0]})
	got, _, err := n.Name(ctx, json.RawMessage(`{"format":"opaque","account_at":"kc"}`), subject.Opaque("session-of-someone"))
	if err != nil || got.Get("id") != "kc-1" || p.asked != 0 {
		t.Errorf("%s, %v, asked %d", got.Emit(), err, p.asked)
	}
}

// TestNameRemembers: a look-up is made once in a minute, whether or not many others came between, and what is kept is bounded.
func TestNameRemembers(t *testing.T) {
	p, n := company()
	now := time.Unix(1000, 0)
	n.Now = func() time.Time { return now }
	ask := func(address string) int {
		t.Helper()
		p.asked = 0
		if _, skip, err := n.Name(context.Background(), json.RawMessage(`{"format":"email"}`), subject.Email(address)); err != nil || skip != "" {
			t.Fatal(skip, err)
		}
		return p.asked
	}
	if got := ask("alice@example.test"); got != 1 {
		t.Errorf("at first: looked up %d times", got)
	}
	now = now.Add(memory - time.Second)
	if got := ask("alice@example.test"); got != 0 {
		t.Errorf("before it is old: looked up %d times", got)
	}
	for i := range maxKnown {
		ask("p" + strconv.Itoa(i) + "@example.test")
	}
	if got := ask("alice@example.test"); got != 0 {
		t.Errorf("after as many others: looked up %d times", got)
	}
	for i := range 2 * maxKnown {
		ask("q" + strconv.Itoa(i) + "@example.test")
	}
	if got := len(n.known) + len(n.older); got > 2*maxKnown {
		t.Errorf("%d look-ups are kept, want at most %d", got, 2*maxKnown)
	}
	if got := ask("alice@example.test"); got != 1 {
		t.Errorf("when it was forgotten: looked up %d times", got)
	}
	now = now.Add(memory)
	if got := ask("alice@example.test"); got != 1 {
		t.Errorf("when it is old: looked up %d times", got)
	}
}
