package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"countersign/internal/hub"
	"countersign/internal/pgtest"
	"countersign/internal/req"
	"countersign/set"
	"countersign/stream"
)

// onBoth runs a test over both engines.
func onBoth(t *testing.T, test func(*testing.T, *world)) {
	t.Run("sqlite", func(t *testing.T) { test(t, newWorld(t)) })
	t.Run("postgres", func(t *testing.T) {
		address, schema := pgtest.URL(t)
		joint := "?"
		if strings.Contains(address, "?") {
			joint = "&"
		}
		test(t, newWorldOn(t, address+joint+"search_path="+schema))
	})
}

// applyAt applies resources, as JSON, to a tenant.
func (w *world) applyAt(tenant string, resources ...string) {
	w.t.Helper()
	if status, body := w.tryApplyAt(tenant, resources...); status != 200 {
		w.t.Fatalf("apply to %s: %d %s", tenant, status, body)
	}
}

func (w *world) tryApplyAt(tenant string, resources ...string) (int, []byte) {
	w.t.Helper()
	raw := make([]json.RawMessage, len(resources))
	for i, r := range resources {
		raw[i] = json.RawMessage(r)
	}
	return w.call("POST", "/apply", map[string]any{"resources": raw}, "Countersign-Tenant", tenant)
}

// tokenOf makes a token for a client of a tenant.
func (w *world) tokenOf(tenant, client string) string {
	w.t.Helper()
	status, body := w.call("POST", "/tokens", map[string]string{"client": client}, "Countersign-Tenant", tenant)
	var out struct{ Token string }
	if err := json.Unmarshal(body, &out); err != nil || status != 201 {
		w.t.Fatalf("token: %d %s", status, body)
	}
	return out.Token
}

// ask calls the outside listener.
func (w *world) ask(method, address, token, body string) (int, []byte) {
	w.t.Helper()
	r, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := w.admin.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	out, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, out
}

// poll takes what waits on a stream, and acknowledges it.
func (w *world) poll(address, token string) []set.Claims {
	w.t.Helper()
	var got []set.Claims
	ack := []string{}
	for {
		ask, _ := json.Marshal(map[string]any{"returnImmediately": true, "ack": ack})
		status, body := w.ask("POST", address, token, string(ask))
		if status != 200 {
			w.t.Fatalf("poll: %d %s", status, body)
		}
		var answer struct {
			Sets map[string]string `json:"sets"`
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			w.t.Fatal(err)
		}
		if len(answer.Sets) == 0 {
			return got
		}
		ack = ack[:0]
		for jti, token := range answer.Sets {
			u, err := set.Parse(token)
			if err != nil {
				w.t.Fatal(err)
			}
			got, ack = append(got, u.Claims()), append(ack, jti)
		}
	}
}

// pollStream makes a stream that is polled, over the API of a tenant, and gives its id and address.
func (w *world) pollStream(issuer, token string) (id, address string) {
	w.t.Helper()
	status, body := w.ask("POST", issuer+"/ssf/streams", token, `{"delivery":{"method":"urn:ietf:rfc:8936"},"events_requested":["`+sessionRevoked+`"]}`)
	var made stream.Configuration
	if err := json.Unmarshal(body, &made); err != nil || status != 201 {
		w.t.Fatalf("create: %d %s", status, body)
	}
	return made.StreamID, made.Delivery.EndpointURL
}

func (w *world) document(address string) map[string]any {
	w.t.Helper()
	status, body := w.ask("GET", address, "", "")
	out := map[string]any{}
	if err := json.Unmarshal(body, &out); err != nil || status != 200 {
		w.t.Fatalf("%s: %d %s", address, status, body)
	}
	return out
}

const clientMany = `{"kind":"client","name":"crm","auth":"bearer","scopes":["ssf.read","ssf.manage","ssf.manage.receipts","signals.write"],"streams":"many"}`

// Two tenants on one hub are two issuers: nothing of one can be reached with what belongs to the other.
func TestTenantsAreApart(t *testing.T) { onBoth(t, tenantsAreApart) }

func tenantsAreApart(t *testing.T, w *world) {
	home := w.srv.PublicURL()
	acme := home + "/t/acme"
	if status, _ := w.ask("GET", home+"/.well-known/ssf-configuration/t/acme", "", ""); status != 404 {
		t.Errorf("before it is made: %d", status)
	}
	w.applyAt("default", `{"kind":"tenant","name":"acme"}`)
	for _, at := range []string{home + "/.well-known/ssf-configuration/t/acme", acme + "/.well-known/ssf-configuration"} {
		md := w.document(at)
		if md["issuer"] != acme || md["jwks_uri"] != acme+"/jwks.json" || !strings.HasPrefix(md["configuration_endpoint"].(string), acme+"/") {
			t.Errorf("%s: %v", at, md)
		}
	}
	if md := w.document(home + "/.well-known/ssf-configuration"); md["issuer"] != home {
		t.Errorf("the default tenant: %v", md["issuer"])
	}
	if md := w.document(home + "/.well-known/oauth-authorization-server/t/acme"); md["issuer"] != acme {
		t.Errorf("the authorization server: %v", md)
	}
	_, ours := w.ask("GET", home+"/jwks.json", "", "")
	_, theirs := w.ask("GET", acme+"/jwks.json", "", "")
	if bytes.Equal(ours, theirs) {
		t.Error("two issuers have the same keys")
	}
	req.Covers(t, "TX-1", "TX-26")

	for _, odd := range []string{"/t/none/jwks.json", "/t/acme/../../jwks.json", "/t//jwks.json", "/t/default/jwks.json", "/.well-known/ssf-configuration/t/", "/.well-known/ssf-configuration/t/acme/x", "/t/ACME/jwks.json", "/t/acme%2Fx/jwks.json"} {
		if status, body := w.ask("GET", home+odd, "", ""); status == 200 && odd != "/t/acme/../../jwks.json" {
			t.Errorf("%s: %d %s", odd, status, body)
		}
	}

	// A client of the same name in both, a token and a stream each.
	w.applyAt("default", clientMany)
	w.applyAt("acme", clientMany)
	homeToken, acmeToken := w.tokenOf("default", "crm"), w.tokenOf("acme", "crm")
	homeID, homePoll := w.pollStream(home, homeToken)
	acmeID, acmePoll := w.pollStream(acme, acmeToken)
	if !strings.HasPrefix(acmePoll, acme+"/") {
		t.Errorf("the poll address %s", acmePoll)
	}
	type crossing struct {
		name, method, address, token, body string
		want                               int
	}
	var crossings []crossing
	for _, c := range []struct{ name, issuer, mine, other, foreignID, foreignPoll string }{
		{"acme's token at default", home, homeToken, acmeToken, acmeID, acmePoll},
		{"default's token at acme", acme, acmeToken, homeToken, homeID, homePoll},
	} {
		streams := c.issuer + "/ssf/streams"
		crossings = append(crossings,
			crossing{c.name + ": list", "GET", streams, c.other, "", 401},
			crossing{c.name + ": make", "POST", streams, c.other, `{"delivery":{"method":"urn:ietf:rfc:8936"}}`, 401},
			crossing{c.name + ": status", "GET", c.issuer + "/ssf/status?stream_id=" + c.foreignID, c.other, "", 401},
			crossing{c.name + ": verify", "POST", c.issuer + "/ssf/verify", c.other, `{"stream_id":"` + c.foreignID + `"}`, 401},
			crossing{c.name + ": receipts", "POST", c.issuer + "/ssf/receipts", c.other, "x", 401},
			crossing{c.name + ": the other's stream with one's own token", "GET", streams + "?stream_id=" + c.foreignID, c.mine, "", 404},
			crossing{c.name + ": delete it", "DELETE", streams + "?stream_id=" + c.foreignID, c.mine, "", 404},
			crossing{c.name + ": verify it", "POST", c.issuer + "/ssf/verify", c.mine, `{"stream_id":"` + c.foreignID + `"}`, 404},
			crossing{c.name + ": the other's poll address", "POST", c.foreignPoll, c.mine, `{"returnImmediately":true}`, 401},
			crossing{c.name + ": the other's poll id at one's own issuer", "POST", streams + "/" + c.foreignID + "/poll", c.mine, `{"returnImmediately":true}`, 404},
		)
	}
	for _, c := range crossings {
		if status, body := w.ask(c.method, c.address, c.token, c.body); status != c.want {
			t.Errorf("%s: %d %s, want %d", c.name, status, body, c.want)
		}
	}
	operator := w.token
	for _, c := range []struct{ token, tenant string }{{acmeToken, "default"}, {homeToken, "acme"}} {
		w.token = c.token
		status, body := w.call("POST", "/signals", signalOf("alice@example.test"), "Countersign-Tenant", c.tenant)
		if status != 403 {
			t.Errorf("a signal into another tenant: %d %s", status, body)
		}
	}
	req.Covers(t, "AZ-11", "TX-37")

	// What is transmitted in one is signed by it and reaches nobody of the other.
	w.token = acmeToken
	if status, body := w.call("POST", "/signals", signalOf("alice@example.test")); status != 201 && status != 202 {
		t.Fatalf("signal: %d %s", status, body)
	}
	w.token = operator
	got := w.poll(acmePoll, acmeToken)
	if len(got) != 1 || got[0].Issuer != acme {
		t.Errorf("acme got %+v", got)
	}
	if got := w.poll(homePoll, homeToken); len(got) != 0 {
		t.Errorf("default got %+v", got)
	}

	// A tenant goes when nothing is left in it.
	status, body := w.call("DELETE", "/tenants/acme", nil)
	if status < 400 || !strings.Contains(string(body), "still has") {
		t.Errorf("a tenant with a client: %d %s", status, body)
	}
	if status, body := w.call("DELETE", "/clients/crm", nil, "Countersign-Tenant", "acme"); status >= 300 {
		t.Fatalf("delete client: %d %s", status, body)
	}
	if status, body := w.call("DELETE", "/tenants/acme", nil); status >= 300 {
		t.Fatalf("an empty tenant: %d %s", status, body)
	}
	if status, _ := w.ask("GET", acme+"/jwks.json", "", ""); status != 404 {
		t.Errorf("after it is gone: %d", status)
	}
	// Its streams and tokens went with the client; the same name later begins anew.
	w.applyAt("default", `{"kind":"tenant","name":"acme"}`)
	w.applyAt("acme", clientMany)
	if status, _ := w.ask("GET", acme+"/ssf/streams", acmeToken, ""); status != 401 {
		t.Errorf("an old token at the new tenant: %d", status)
	}
}

func signalOf(email string) map[string]any {
	return map[string]any{"event_type": "caep/session-revoked", "sub_id": map[string]string{"format": "email", "email": email}, "event": map[string]any{"event_timestamp": 1700000000}, "do": []string{"transmit"}}
}

// A document of a tenant belongs into the tenant default.
func TestTenantInTenant(t *testing.T) {
	w := newWorld(t)
	w.applyAt("default", `{"kind":"tenant","name":"acme"}`)
	if status, body := w.tryApplyAt("acme", `{"kind":"tenant","name":"inner"}`); status != 400 && status != 422 || !strings.Contains(string(body), "tenants are kept in the tenant default") {
		t.Errorf("%d %s", status, body)
	}
}

// A source of another tenant has its own address, and what it tells stays in that tenant.
func TestSourceOfATenant(t *testing.T) {
	w := newWorld(t)
	w.applyAt("default", `{"kind":"tenant","name":"acme"}`)
	raw := fmt.Sprintf(`{"kind":"source","name":"raw","type":"ssf","issuer":%q,"delivery":"push","stream":"none","audience":["https://hub.example.test"],"keys":{"jwks":%s}}`, rawIssuer, w.jwks)
	w.applyAt("acme", raw)
	src := w.srv.of("acme").view.Load().sources["raw"]
	if src == nil || src.state == nil {
		t.Fatal("the source is not there")
	}
	r, err := http.NewRequest("POST", w.srv.receiveURL(src.state.ReceiveID), strings.NewReader(w.sign("j1", `{"format":"email","email":"alice@example.test"}`, nil)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/secevent+jwt")
	resp, err := w.admin.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 202 {
		t.Fatalf("push: %d", resp.StatusCode)
	}
	w.eventually("the signal is decided in its tenant", func() bool {
		sig, err := w.srv.store.SignalByJTI(context.Background(), "acme", "raw", "j1")
		return err == nil && sig != nil && sig.Tenant == "acme" && slices.Contains([]hub.SignalState{hub.SignalDone, hub.SignalUnresolved}, sig.State)
	})
	if sig, err := w.srv.store.SignalByJTI(context.Background(), "default", "raw", "j1"); err == nil && sig != nil {
		t.Error("the default tenant has it")
	}
}
