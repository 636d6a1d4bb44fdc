package resource_test

import (
	"strings"
	"testing"

	"countersign/internal/hub"
	"countersign/internal/resource"
)

const head = "apiVersion: countersign/v1\n"

const whole = head + `kind: source
name: keycloak
set: acme-base
type: ssf
issuer: https://idp.example.test/realms/acme
keys: {jwks_uri: "https://idp.example.test/jwks", algs: [RS256]}
delivery: push
stream: create
auth: {method: bearer, token: {stored: kc}}
push_auth: {authorization_header: {stored: kc-push}}
correlate:
  - {format: iss_sub, iss: [https://idp.example.test/realms/acme], as: account_id, at: keycloak}
  - {format: email}
orders: {accept: [revoke_sessions, reauthenticate], at: all, mode: enforce, limits: {people: 20, per: 1h}}
receipts: {send: auto, alg: RS256}
---
kind: app
name: wiki
pack: http-sessions
settings: {url: https://wiki.example.test}
secrets: {token: {stored: wiki-token}}
accounts: {match: email}
---
kind: identity
name: alice
emails: [Alice@example.test]
labels: [contractor]
groups: [finance]
accounts: [{at: keycloak, id: 99beb27c}, {at: crm, id: "0017"}]
protect: never
---
kind: policy
name: session-revoked
order: 100
mode: enforce
on: [caep/session-revoked]
from: [keycloak]
when: 'signal.event.?initiating_entity.orValue("") != "user"'
then:
  - {action: revoke_sessions, scope: session, fallback: app, at: [wiki, crm]}
  - {action: disable_account, at: all, when: 'identity.labels.exists(l, l == "contractor")'}
  - {deny: disable_account, at: [crm]}
limits: {people: 20, per: 1h, beyond: deny}
---
kind: client
name: crm-receiver
auth: bearer
scopes: [ssf.read, ssf.manage]
streams: one
push_hosts: [crm.example.test]
---
kind: client
name: partner
auth: private_key_jwt
keys: {jwks_uri: "https://crm.example.test/jwks"}
scopes: [ssf.read]
subject: {format: email}
default_subjects: NONE
---
kind: stream
name: crm-signals
client: crm-receiver
deliver: {to: "https://crm.example.test/events", authorization_header: {stored: crm-push}}
events: [caep/session-revoked]
subject: {format: iss_sub, account_at: keycloak, otherwise: email}
alg: RS256
orders: {receipts: true, issuer: "https://crm.example.test", jwks_uri: "https://crm.example.test/jwks"}
window: 1
inactivity: 168h
---
kind: policy
name: pass-on
on: [caep/session-revoked]
then:
  - {transmit: caep/session-revoked, to: [crm-signals], order: {obligation: must, actions: [{id: a1, action: revoke_sessions}]}, within: 15m}
---
kind: tenant
name: acme
oauth: {issuer: "https://login.example.test", introspection: {endpoint: "https://login.example.test/introspect", client_id: hub, client_secret: {stored: introspection}}}
`

func TestWholeForm(t *testing.T) {
	rs, err := resource.DecodeAll([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if len(rs) != 9 || rs[0].Set != "acme-base" || rs[2].Kind != hub.KindIdentity {
		t.Fatalf("%+v", rs)
	}
	if got := string(rs[2].Spec); got != `{"name":"alice","emails":["Alice@example.test"],"labels":["contractor"],"groups":["finance"],"accounts":[{"at":"keycloak","id":"99beb27c"},{"at":"crm","id":"0017"}],"protect":"never"}` {
		t.Error(got)
	}
}

func TestRefusals(t *testing.T) {
	policy := head + "kind: policy\nname: p\non: [caep/session-revoked]\nthen: [{action: revoke_sessions, scope: app, at: all}]\n"
	source := head + "kind: source\nname: s\ntype: ssf\nissuer: https://idp.example.test\n"
	identity := head + "kind: identity\nname: i\n"
	client := head + "kind: client\nname: c\nauth: bearer\nscopes: [ssf.read]\n"
	stream := head + "kind: stream\nname: s\nclient: c\n"
	app := head + "kind: app\nname: a\npack: http-sessions\n"
	for _, c := range []struct{ name, in, want string }{
		{"except", policy + "except: 'true'\n", "line 6:1: except is not acted on by this version: write the exception into when"},
		{"approval", policy + "approval: {from: [approver]}\n", "line 6:1: approval is not acted on by this version"},
		{"hold", policy + "limits: {people: 1, per: 1h, beyond: hold}\n", "beyond: hold is not acted on by this version: write beyond: deny"},
		{"notify", strings.Replace(policy, "then: [", "then: [{notify: on-call}, ", 1), "line 5:9: notify is not acted on by this version"},
		{"transmit to nobody", strings.Replace(policy, "then: [", "then: [{transmit: caep/session-revoked}, ", 1), "line 5:8: transmit says to whom"},
		{"transmit at", strings.Replace(policy, "then: [", "then: [{transmit: caep/session-revoked, to: all, at: all}, ", 1), "transmit says to: all"},
		{"transmit order", strings.Replace(policy, "then: [", "then: [{transmit: caep/session-revoked, to: all, order: 5}, ", 1), "order is a directive"},
		{"within alone", strings.Replace(policy, "then: [", "then: [{transmit: caep/session-revoked, to: all, within: 5m}, ", 1), "within belongs to an order"},
		{"within", strings.Replace(policy, "then: [", "then: [{transmit: caep/session-revoked, to: all, order: {obligation: must}, within: 5m5}, ", 1), "within is a span"},
		{"to of an action", strings.Replace(policy, "at: all", "at: all, to: all", 1), "to belongs to transmit"},
		{"order of an action", strings.Replace(policy, "at: all", "at: all, order: {}", 1), "order belongs to transmit"},
		{"delete", strings.Replace(policy, "revoke_sessions, scope: app", "delete_account", 1), "delete_account is not acted on by this version: it always needs an approval"},
		{"unknown action", strings.Replace(policy, "revoke_sessions", "revoke_session", 1), "there is no action revoke_session: did you mean revoke_sessions?"},
		{"no scope", strings.Replace(policy, ", scope: app", "", 1), "revoke_sessions has a scope"},
		{"wrong scope", strings.Replace(policy, "scope: app", "scope: apps", 1), "did you mean app?"},
		{"fallback", strings.Replace(policy, "scope: app", "scope: app, fallback: everywhere", 1), "a fallback belongs to scope: session"},
		{"scope elsewhere", strings.Replace(policy, "revoke_sessions", "revoke_tokens", 1), "scope and fallback belong to revoke_sessions"},
		{"mode", policy + "mode: on\n", `mode is not "on"`},
		{"limits", policy + "limits: {people: 0, per: 1h}\n", "people is at least 1"},
		{"span", policy + "limits: {people: 1, per: day}\n", "per is a span"},
		{"unknown key", policy + "form: [x]\n", "the key form is not known here: did you mean from?"},
		{"both", strings.Replace(policy, "then: [", "then: [{action: record, deny: record}, ", 1), "a rule has one of action, deny and transmit"},
		{"empty from", policy + "from: []\n", "from is empty"},
		{"no then", strings.Replace(policy, "[{action: revoke_sessions, scope: app, at: all}]", "[]", 1), "what then happens"},

		{"ask", identity + "protect: ask\n", "line 4:1: protect: ask is not acted on by this version"},
		{"email", identity + "emails: [alice]\n", `line 4:10: "alice" is no e-mail address`},
		{"email of two words", identity + "emails: ['\"a b\"@example.test']\n", "is no e-mail address"},
		{"email without end", identity + "emails: [" + strings.Repeat("a", 400) + "@example.test]\n", "is no e-mail address"},
		{"number id", identity + "accounts: [{at: crm, id: 0017}]\n", "0017 is a number to YAML and text is wanted here: quote it"},

		{"poll", source + "delivery: pol\n", "did you mean poll?"},
		{"scim", strings.Replace(source, "type: ssf", "type: scim", 1), "type: scim is not acted on by this version"},
		{"adopt", source + "stream: adapt\n", "did you mean adopt?"},
		{"profile", source + "profile: keycloack\n", "line 6:10: there is no partner profile \"keycloack\"; did you mean keycloak?"},
		{"profile like none", source + "profile: acme-idp-of-our-own\n", "`countersign partners` lists them"},
		{"profile of a receiver", source + "profile: okta-itp\n", "Okta Identity Threat Protection (as receiver) only receives"},
		{"relax", source + "relax: [Q-31, Q-99]\n", "there is no quirk \"Q-99\""},
		{"relax without a switch", source + "relax: [Q-43]\n", "Q-43 (tokens without a signature by poll) has no switch: refused always"},
		{"relax the usual", source + "relax: [Q-35]\n", "is let pass everywhere and needs no switch"},
		{"relax twice", source + "relax: [Q-31, Q-31]\n", "Q-31 is there twice"},
		{"oauth", source + "auth: {method: client_secret_basic, client_id: a}\n", "the method client_secret_basic has client_secret: {stored: NAME}"},
		{"oauth alone", source + "auth: {method: private_key_jwt}\n", "the method private_key_jwt has client_id"},
		{"secret value", source + "auth: {method: bearer, token: hunter2}\n", "a mapping is wanted here"},
		{"secret twice", source + "auth: {method: bearer, token: {stored: a, file: b}}\n", "a secret is one of"},
		{"secret outside", source + "auth: {method: bearer, token: {file: ../../etc/shadow}}\n", "without .."},
		{"audience", source + "audience: [x]\n", "audience stands only with stream: none"},
		{"stream id without effect", source + "stream_id: s1\n", "stream_id names the stream to take with stream: adopt"},
		{"push credential of a poll", source + "delivery: poll\npush_auth: {authorization_header: {stored: a}}\n", "push_auth belongs to delivery: push"},
		{"verify without a stream", source + "stream: none\nverify: {every: 1h}\n", "verify needs a stream that the hub keeps"},
		{"verify all the time", source + "verify: {every: 1s}\n", "every is a span from 1m"},
		{"auth method", source + "auth: {method: client_secret_basik}\n", "did you mean client_secret_basic?"},
		{"auth field of another", source + "auth: {method: bearer, token: {stored: a}, scope: x}\n", "the method bearer has no scope"},
		{"auth field unknown", source + "auth: {method: bearer, tokn: {stored: a}}\n", "did you mean token?"},
		{"auth without a server", source + "auth: {method: client_secret_post, client_id: a, client_secret: {stored: b}}\n", "says where tokens are"},
		{"auth without consent", source + "auth: {method: refresh_token, client_id: a, token_endpoint: 'https://a.test/t'}\n", "says where people consent"},
		{"auth hmac", source + "auth: {method: client_secret_jwt, client_id: a, client_secret: {stored: b}, issuer: 'https://a.test', alg: RS256}\n", "is signed with HS256"},
		{"auth audience", source + "auth: {method: private_key_jwt, client_id: a, key: {stored: b}, issuer: 'https://a.test', audience: 'https://b.test'}\n", "needs token_endpoint"},
		{"auth jwt", source + "auth: {method: signed_jwt, key: {stored: b}, issuer: a@b.test}\n", "the method signed_jwt has audience"},
		{"two keys", source + "keys: {jwks_uri: 'https://a.test', jwks_file: b}\n", "keys has one of"},
		{"alg", source + "keys: {jwks_uri: 'https://a.test', algs: [HS256]}\n", "keys.algs[0] is not"},
		{"correlate", source + "correlate: [{format: fax_number}]\n", "there is no way for the format"},
		{"correlate case", source + "correlate: [{format: email, case: lower}]\n", "exact"},
		{"correlate case of an id", source + "correlate: [{format: opaque, case: exact}]\n", "are about e-mail addresses"},
		{"correlate is of the user", source + "correlate: [{format: opaque, is: [acme]}]\n", "write part: tenant"},
		{"correlate is with a place", source + "correlate: [{format: opaque, part: tenant, is: [acme], at: crm}]\n", "finds nobody"},
		{"correlate is of an address", source + "correlate: [{format: email, part: tenant, is: [acme]}]\n", "a way with is has the format"},
		{"correlate is nothing", source + "correlate: [{format: opaque, part: tenant, is: [\"\"]}]\n", "value 1 is empty"},
		{"correlate a part without a place", source + "correlate: [{format: opaque, part: group}]\n", "at which place"},
		{"an address twice", identity + "emails: [a@example.test, A@Example.test]\n", "stands here twice"},
		{"accept", source + "orders: {accept: [everything]}\n", "there is no action everything"},

		{"client auth", strings.Replace(client, "auth: bearer", "auth: private_key_jwd", 1), "did you mean private_key_jwt?"},
		{"keys are wanted", strings.Replace(client, "auth: bearer", "auth: private_key_jwt", 1), "auth: private_key_jwt has keys"},
		{"secret is wanted", strings.Replace(client, "auth: bearer", "auth: client_secret_post", 1), "auth: client_secret_post has client_secret"},
		{"keys without effect", client + "keys: {jwks_uri: 'https://a.test'}\n", "keys belongs to auth: private_key_jwt"},
		{"secret without effect", client + "client_secret: {stored: a}\n", "client_secret belongs to"},
		{"two places of keys", strings.Replace(client, "auth: bearer", "auth: private_key_jwt\nkeys: {jwks_uri: 'https://a.test', jwks: {keys: []}}", 1), "keys has one of jwks_uri and jwks"},
		{"push host", client + "push_hosts: ['https://a.test/x']\n", "is no host"},
		{"client alg", client + "alg: HS256\n", "alg is not"},
		{"default subjects", client + "default_subjects: SOME\n", "default_subjects is not"},
		{"subject format", client + "subject: {format: iss-sub}\n", "did you mean iss_sub?"},
		{"subject place", client + "subject: {format: opaque}\n", "opaque has account_at"},
		{"subject place of otherwise", client + "subject: {format: email, otherwise: scim}\n", "scim has account_at"},
		{"subject place without effect", client + "subject: {format: email, account_at: a}\n", "has no effect with email"},
		{"subject twice", client + "subject: {format: email, otherwise: email}\n", "otherwise is another format"},

		{"stream alone", head + "kind: stream\nname: c\n", "a stream names its client"},
		{"stream to nowhere", stream, "deliver is one of"},
		{"stream both", stream + "deliver: {to: 'https://a.test', poll: true}\n", "deliver is one of"},
		{"stream header", stream + "deliver: {poll: true, authorization_header: {stored: a}}\n", "has no effect with poll"},
		{"stream direct poll", stream + "deliver: {poll: true, direct: true}\n", "direct belongs to deliver.to"},
		{"stream direct inactivity", stream + "deliver: {to: 'https://a.test', direct: true}\ninactivity: 24h\n", "shows no activity"},
		{"stream window", stream + "deliver: {poll: true}\nwindow: -1\n", "window is 1 to 1024"},
		{"stream inactivity", stream + "deliver: {poll: true}\ninactivity: 1s\n", "inactivity is a span"},
		{"stream orders", stream + "deliver: {poll: true}\norders: {receipts: true}\n", "say whose receipts they are"},
		{"stream audience", stream + "deliver: {poll: true}\naudience: ['a b']\n", "an audience is 1 to 500 characters"},
		{"stream audience of nobody", stream + "deliver: {poll: true}\naudience: ['']\n", "an audience is 1 to 500 characters"},
		{"stream audience twice", stream + "deliver: {poll: true}\naudience: [a, a]\n", "is there twice"},
		{"stream audiences", stream + "deliver: {poll: true}\naudience: [a, b]\norders: {receipts: true, issuer: 'https://a.test', jwks_uri: 'https://a.test/k'}\n", "an order names one audience"},
		{"stream shape", stream + "deliver: {poll: true}\nshape: oktta\n", "did you mean okta?"},
		{"stream shape without api", stream + "deliver: {to: 'https://a.test'}\nshape: okta\n", "have no stream API"},
		{"subject payload", client + "subject: {format: email, payload: keep}\n", "subject.payload is not"},
		{"stream key", stream + "deliver: {poll: true}\nevent: [a]\n", "did you mean events?"},
		{"tenant name", head + "kind: tenant\nname: a.b\n", "a tenant's name is"},
		{"tenant legacy", head + "kind: tenant\nname: a\nlegacy: sse\n", "legacy is not"},
		{"tenant oauth", head + "kind: tenant\nname: a\noauth: {issuer: 'https://a.test', introspection: {endpoint: 'https://a.test'}}\n", "introspection has endpoint"},
		{"scope word", strings.Replace(client, "ssf.read", "ssf.reed", 1), "did you mean ssf.read?"},
		{"app", strings.Replace(app, "pack:", "pakc:", 1), "did you mean pack?"},
		{"match", app + "accounts: {match: name}\n", "accounts.match is not"},

		{"channel", head + "kind: channel\nname: c\n", "the kind channel is not acted on by this version"},
		{"kind", head + "kind: polcy\nname: c\n", "line 2:7: there is no kind polcy: did you mean policy?"},
		{"name", head + "kind: app\nname: A b\n", "a name is made of"},
		{"twice", identity + "---\nkind: identity\nname: i\n", "stands in this file already, at line 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := resource.DecodeAll([]byte(c.in))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}

}

func FuzzResource(f *testing.F) {
	f.Add([]byte(whole))
	for d := range strings.SplitSeq(whole, "---\n") {
		f.Add([]byte(head + strings.TrimPrefix(d, head)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rs, err := resource.DecodeAll(data)
		if err != nil {
			return
		}
		for _, r := range rs {
			if r.Name == "" || len(r.Spec) == 0 {
				t.Fatalf("%+v", r)
			}
		}
	})
}

// Profiles and single quirks are acted on.
func TestProfileOfASource(t *testing.T) {
	const head = "apiVersion: countersign/v1\nkind: source\nname: idp\ntype: ssf\nissuer: https://idp.example.test\n"
	for _, rest := range []string{"", "profile: generic\n", "profile: keycloak\n", "profile: okta\nrelax: [Q-31, Q-41/typ]\n", "relax: [Q-30]\n"} {
		if _, err := resource.DecodeAll([]byte(head + rest)); err != nil {
			t.Errorf("%q: %v", rest, err)
		}
	}
}
