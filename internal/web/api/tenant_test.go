package api

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/transmitter"
)

const spareTenant = `{"kind":"tenant","name":"spare","title":"Nothing in it"}`

// settle makes a second tenant with a client of every scope, a stream and an order, and gives its tokens.
func (b *bench) settle() (operator, client string) {
	b.t.Helper()
	b.want(200, b.post("/apply", b.operator, `{"resources":[{"kind":"tenant","name":"acme"}]}`))
	b.want(200, b.post("/apply", b.operator, `{"resources":[{"kind":"client","name":"all","auth":"bearer","scopes":["signals.read","signals.write","signals.token","resources.read","resources.write"]},`+
		`{"kind":"identity","name":"carol","emails":["carol@acme.test"]}]}`, TenantHeader, "acme"))
	var made tokenView
	b.decode(b.want(201, b.post("/tokens", b.operator, `{"client":"all"}`, TenantHeader, "acme")), &made)
	operator, _, err := Mint(b.t.Context(), b.store, "acme", "", "operator of acme", nil, start, time.Time{})
	if err != nil {
		b.t.Fatal(err)
	}
	w := b.furnish(b.signer)
	w.views = w.views[:1]
	w.views[0].Stream.ID, w.views[0].Stream.Name, w.orders[0].JTI, w.orders[0].Stream = "stm-acme", "acme-stream", "ord-acme", "stm-acme"
	w.orders = w.orders[:1]
	w.lines, w.items = w.lines[:1], nil
	w.lines[0].StreamID, w.lines[0].Reason = "stm-acme", "only acme knows this"
	b.wires["acme"] = w
	return operator, made.Token
}

// Every route × every kind of token of one tenant × the things of another: refused, and nothing of the other is told.
func TestTenantsDoNotMeet(t *testing.T) {
	b := newBench(t)
	acmeOperator, acmeClient := b.settle()
	acme := []string{"acme-stream", "stm-acme", "ord-acme", "only acme knows this", "carol"}
	ours := []string{pushID, "ord-9", "ord-10", "alice", b.signal.ID, b.receipt.ID, "the person has no account at crm", "deployer"}
	silent := func(what string, w *httptest.ResponseRecorder, words []string, but string) {
		t.Helper()
		for _, word := range words {
			if strings.Contains(w.Body.String(), word) && !strings.Contains(but, word) {
				t.Errorf("%s: %d tells of %q", what, w.Code, word)
			}
		}
	}
	for _, rt := range routes {
		if rt.open {
			continue
		}
		path, body := b.fill(rt)
		what := rt.method + " " + path
		// A client of ours, with the header.
		for client, token := range b.tokens {
			w := b.call(rt.method, path, token, body, TenantHeader, "acme")
			if w.Code != 403 {
				t.Errorf("%s by %s in another tenant: %d %s", what, client, w.Code, w.Body)
			}
			silent(what+" by "+client, w, acme, path)
		}
		// Whoever belongs to acme, with and without the header: never what is ours. The path names our things.
		for name, token := range map[string]string{"operator": acmeOperator, "client": acmeClient} {
			for _, header := range []string{"", DefaultTenant, "spare"} {
				h := []string{TenantHeader, header}
				if header == "" {
					h = nil
				}
				w := b.call(rt.method, path, token, body, h...)
				if header != "" && w.Code != 403 {
					t.Errorf("%s by acme's %s with the header %q: %d %s", what, name, header, w.Code, w.Body)
				}
				silent(what+" by acme's "+name, w, ours, path)
				if strings.Contains(rt.path, "{id}") || strings.Contains(rt.path, "{ref}") {
					if w.Code/100 == 2 {
						t.Errorf("%s by acme's %s: %d", what, name, w.Code)
					}
				}
			}
		}
	}
	if len(b.here().asked)+len(b.here().sent) != 0 {
		t.Errorf("ours was touched: %v", b.here().asked)
	}
	// What belongs together works: acme's client in acme, our operator in acme.
	var l page[StreamInfo]
	for name, w := range map[string]*httptest.ResponseRecorder{"acme's client": b.get("/streams", acmeClient), "acme's operator": b.get("/streams", acmeOperator),
		"acme's client, by name": b.call("GET", "/streams", acmeClient, "", TenantHeader, "acme"), "our operator": b.call("GET", "/streams", b.operator, "", TenantHeader, "acme")} {
		b.decode(b.want(200, w), &l)
		if len(l.Items) != 1 || l.Items[0].Name != "acme-stream" {
			t.Errorf("%s: %+v", name, l.Items)
		}
		silent(name, w, ours, "")
	}
	var who struct{ Tenant string }
	b.decode(b.want(200, b.get("/whoami", acmeClient)), &who)
	if who.Tenant != "acme" {
		t.Errorf("%+v", who)
	}
}

func TestTenantHeader(t *testing.T) {
	b := newBench(t)
	b.refused(404, hub.NotFound, `there is no tenant "nowhere"`, b.call("GET", "/streams", b.operator, "", TenantHeader, "nowhere"))
	b.refused(400, hub.Invalid, "must be one name", b.call("GET", "/streams", b.operator, "", TenantHeader, ""))
	// Who may not go elsewhere learns nothing about which tenants there are.
	b.want(200, b.post("/apply", b.operator, `{"resources":[`+spareTenant+`]}`))
	there := b.refused(403, hub.Forbidden, "another tenant", b.call("GET", "/signals", b.tokens["reader"], "", TenantHeader, "spare"))
	not := b.refused(403, hub.Forbidden, "another tenant", b.call("GET", "/signals", b.tokens["reader"], "", TenantHeader, "nowhere"))
	if there.Title != not.Title || there.Hint != not.Hint {
		t.Errorf("%+v %+v", there, not)
	}
	b.want(200, b.call("GET", "/signals", b.tokens["reader"], "", TenantHeader, DefaultTenant))
	b.refused(503, hub.Unavailable, "not open on this node", b.call("GET", "/streams", b.operator, "", TenantHeader, "spare"))
}

func TestTenants(t *testing.T) {
	b := newBench(t)
	b.cfg.Issuer = func(name string) string { return "https://hub.example.test/t/" + name }
	b.door = New(b.cfg)
	operator, client := b.settle()
	var l page[resourceView]
	b.decode(b.want(200, b.get("/tenants", b.operator)), &l)
	var names []string
	for _, r := range l.Items {
		names = append(names, r.Name)
	}
	if !slices.Equal(names, []string{"default", "acme"}) || l.Items[1].State["issuer"] != "https://hub.example.test/t/acme" || l.Items[1].State["streams"] != 1.0 {
		t.Errorf("%+v", l.Items)
	}
	var r resourceView
	b.decode(b.want(200, b.get("/tenants/default", b.operator)), &r)
	if r.Version != 0 || string(r.Spec) != `{"name":"default"}` {
		t.Errorf("%+v", r)
	}
	b.refused(403, hub.Forbidden, "of the tenant default", b.get("/tenants", operator))
	b.refused(403, hub.Forbidden, "the operator token", b.get("/tenants", client))
	b.refused(404, hub.NotFound, "there is no tenant", b.get("/tenants/nobody", b.operator))
	b.refused(409, hub.Conflict, "always there", b.call("DELETE", "/tenants/default", b.operator, ""))
	b.refused(409, hub.Conflict, "tenant acme still has client all", b.call("DELETE", "/tenants/acme", b.operator, ""))
	b.want(200, b.call("DELETE", "/clients/all", b.operator, "", TenantHeader, "acme"))
	b.want(200, b.call("DELETE", "/identities/carol", b.operator, "", TenantHeader, "acme"))
	b.refused(409, hub.Conflict, "tenant acme still has streams", b.call("DELETE", "/tenants/acme", b.operator, ""))
	b.wires["acme"].views = nil
	b.want(200, b.call("DELETE", "/tenants/acme", b.operator, ""))
	// With its tenant, a token is nothing.
	b.refused(401, hub.Unauthenticated, "not valid", b.get("/whoami", operator))
	// Tenants are the operator's, and kept in the first one.
	b.refused(403, hub.Forbidden, "tenants need the operator token", b.post("/apply", b.tokens["deployer"], `{"resources":[`+spareTenant+`]}`))
	b.want(200, b.post("/apply", b.operator, `{"resources":[`+spareTenant+`]}`))
	b.refused(400, hub.Invalid, "tenants are kept in the tenant default", b.post("/apply", b.operator, `{"resources":[{"kind":"tenant","name":"inner"}]}`, TenantHeader, "spare"))
}

func TestMetricsTellOfEveryTenant(t *testing.T) {
	b := newBench(t)
	operator, _ := b.settle()
	b.want(200, b.get("/metrics", b.operator))
	b.refused(403, hub.Forbidden, "of the tenant default", b.get("/metrics", operator))
}

func TestKeys(t *testing.T) {
	b := newBench(t)
	var k KeyInfo
	b.decode(b.want(201, b.post("/keys/rotate", b.operator, "")), &k)
	if k.Alg != "RS256" || k.State != "next" {
		t.Errorf("%+v", k)
	}
	b.decode(b.want(201, b.post("/keys/rotate", b.operator, `{"alg":"Ed25519","now":true}`)), &k)
	if k.Alg != "EdDSA" || k.State != "active" {
		t.Errorf("%+v", k)
	}
	b.refused(409, hub.Conflict, "under way already", b.post("/keys/rotate", b.operator, `{"alg":"ES256"}`))
	b.refused(400, hub.Invalid, "are not made", b.post("/keys/rotate", b.operator, `{"alg":"none"}`))
	b.refused(400, hub.Invalid, "unknown member", b.post("/keys/rotate", b.operator, `{"kid":"x"}`))
	b.decode(b.want(200, b.post("/keys/k1/retire", b.operator, `{"compromised":true}`)), &k)
	if k.State != "compromised" || k.Reissued != 3 {
		t.Errorf("%+v", k)
	}
	b.refused(404, hub.NotFound, "there is no key", b.post("/keys/k9/retire", b.operator, ""))
	b.refused(403, hub.Forbidden, "the operator token", b.post("/keys/rotate", b.tokens["deployer"], ""))
	// A hub whose keys cannot be changed still shows them, with what waits under each.
	b.cfg.KeyRing = nil
	b.door = New(b.cfg)
	var l page[KeyInfo]
	b.decode(b.want(200, b.get("/keys", b.operator)), &l)
	if len(l.Items) != 1 || l.Items[0].Waiting != 2 || l.Items[0].State != "active" {
		t.Errorf("%+v", l.Items)
	}
	b.refused(503, hub.Unavailable, "cannot be changed", b.post("/keys/rotate", b.operator, ""))
	for _, raw := range []json.RawMessage{l.Items[0].JWK} {
		if strings.Contains(string(raw), `"d"`) {
			t.Error("a private key is shown")
		}
	}
}

// An inner fault is logged with its cause, and the answer says nothing of it.
func TestStreamFaultsAreCalm(t *testing.T) {
	b := newBench(t)
	b.here().broken = errWire
	for _, path := range []string{"/streams", "/streams/gone", "/deliveries", "/orders"} {
		p := b.refused(500, hub.Internal, "something went wrong here", b.get(path, b.operator))
		if !strings.Contains(b.log.String(), p.Reference) {
			t.Errorf("%s: the reference is not in the log", path)
		}
	}
	b.here().broken = transmitter.ErrBusy
	b.refused(503, hub.Unavailable, "too much waits", b.post("/streams/"+pushID+"/each-event", b.operator, ""))
}
