package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/event"
	"countersign/event/caep"
	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/internal/store"
	"countersign/internal/web/ssf"
	"countersign/receipt"
	"countersign/set"
	"countersign/transmitter"
)

// doors is a hub's listener with two tenants, each with streams of its own.
type doors struct {
	*house
	outsider *outsider
	door     *ssf.Door
	stores   map[string]transmitter.Store
	streams  map[string]*transmitter.Transmitter
	tokens   map[string]string // by principal
	ids      map[string]string // of streams: own, other, blue, absent
	waiting  map[string]string // jti of the SET that waits on each
}

// principals are all who may come, with the client that they are and its scopes; without client: nobody.
var principals = []struct {
	name, client string
	scopes       []string
	code         string // of WWW-Authenticate, for nobody
}{
	{name: "none"},
	{name: "garbage", code: "invalid_token"},
	{name: "expired", code: "invalid_token"},
	{name: "revoked", code: "invalid_token"},
	{name: "of a deleted client", code: "invalid_token"},
	{name: "of the other tenant", code: "invalid_token"},
	{name: "operator", code: "invalid_token"},
	{name: "a SET", code: "invalid_token"},
	{name: "an assertion", code: "invalid_token"},
	{name: "a JWT of another issuer", code: "invalid_token"},
	{name: "the client secret", code: "invalid_token"},
	{name: "in the address"},
	{name: "in the body"},
	{name: "basic", code: "invalid_token"},
	{name: "read", client: "mine", scopes: []string{"ssf.read"}},
	{name: "manage", client: "mine", scopes: []string{"ssf.manage"}},
	{name: "read and manage", client: "mine", scopes: []string{"ssf.read", "ssf.manage"}},
	{name: "receipts", client: "mine", scopes: []string{"ssf.manage.receipts"}},
	{name: "pre-shared", client: "mine", scopes: []string{"ssf.read", "ssf.manage"}},
	{name: "pre-shared to read", client: "mine", scopes: []string{"ssf.read"}},
	{name: "external", client: "mine", scopes: []string{"ssf.read", "ssf.manage"}},
	{name: "external to read", client: "mine", scopes: []string{"ssf.read"}},
	{name: "external without scope", client: "mine"},
	{name: "other receiver", client: "theirs", scopes: []string{"ssf.read", "ssf.manage"}},
	{name: "API client", client: "app"},
}

type endpoint struct {
	name, method, path, body string // %s is the stream's id, %j the jti that waits on it
	scope                    string
	good                     int
	free                     bool // names no stream
}

// endpoints are those of the stream API, and what each needs.
var endpoints = []endpoint{
	{name: "create", method: "POST", path: "/ssf/streams", body: createPoll, scope: "ssf.manage", good: 201, free: true},
	{name: "list", method: "GET", path: "/ssf/streams", scope: "ssf.read", good: 200, free: true},
	{name: "read", method: "GET", path: "/ssf/streams?stream_id=%s", scope: "ssf.read", good: 200},
	{name: "update", method: "PATCH", path: "/ssf/streams", body: `{"stream_id":"%s","description":"changed"}`, scope: "ssf.manage", good: 200},
	{name: "replace", method: "PUT", path: "/ssf/streams", body: `{"stream_id":"%s","description":"changed","delivery":{"method":"urn:ietf:rfc:8936"}}`, scope: "ssf.manage", good: 200},
	{name: "delete", method: "DELETE", path: "/ssf/streams?stream_id=%s", scope: "ssf.manage", good: 204},
	{name: "read status", method: "GET", path: "/ssf/status?stream_id=%s", scope: "ssf.read", good: 200},
	{name: "set status", method: "POST", path: "/ssf/status", body: `{"stream_id":"%s","status":"disabled"}`, scope: "ssf.manage", good: 200},
	{name: "add subject", method: "POST", path: "/ssf/subjects/add", body: `{"stream_id":"%s","subject":{"format":"opaque","id":"x"}}`, scope: "ssf.manage", good: 200},
	{name: "remove subject", method: "POST", path: "/ssf/subjects/remove", body: `{"stream_id":"%s","subject":{"format":"opaque","id":"x"}}`, scope: "ssf.manage", good: 204},
	{name: "verify", method: "POST", path: "/ssf/verify", body: `{"stream_id":"%s","state":"s"}`, scope: "ssf.manage", good: 204},
	{name: "poll", method: "POST", path: "/ssf/streams/%s/poll", body: `{"maxEvents":0,"returnImmediately":true,"ack":["%j"]}`, scope: "ssf.read", good: 200},
	{name: "receipt", method: "POST", path: "/ssf/receipts", body: "no receipt", scope: "ssf.manage.receipts", good: 400, free: true},
}

const createPoll = `{"events_requested":["https://schemas.openid.net/secevent/caep/event-type/session-revoked"],"delivery":{"method":"urn:ietf:rfc:8936"}}`

// openDoors makes the listener, its streams and a token for each principal.
func openDoors(t testing.TB, h *house) *doors {
	d := &doors{house: h, outsider: h.meet(t, false), stores: map[string]transmitter.Store{}, streams: map[string]*transmitter.Transmitter{}, tokens: map[string]string{}, ids: map[string]string{}, waiting: map[string]string{}}
	all := []string{"ssf.read", "ssf.manage", "ssf.manage.receipts"}
	for name, scopes := range map[string][]string{"default/mine": all, "default/theirs": all, "default/app": {"signals.write"}, "default/gone": all, "blue/mine": all} {
		_, client, _ := strings.Cut(name, "/")
		h.clients[name] = &Client{Spec: &hub.Client{Name: client, Auth: methodPost, Streams: "many", Scopes: scopes}, Secret: postSecret}
	}
	signer, err := set.NewSigner(set.RS256, "as-1", rsaKey())
	if err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []string{DefaultTenant, "blue"} {
		d.stores[tenant] = new(transmitter.Memory)
		if st, ok := h.store.(*store.Store); ok {
			d.stores[tenant] = st.Transmitter(tenant, nil)
		}
		d.streams[tenant], err = transmitter.New(transmitter.Config{Issuer: tenantIssuer(tenant), Signers: []*set.Signer{signer}, Registry: event.NewRegistry(caep.Vocabulary()),
			Store: d.stores[tenant], Now: h.now, Receipts: &receipt.Settings{DirectiveEvents: []string{caep.SessionRevokedURI}, Actions: []string{hub.RevokeSessions}, Algorithms: []string{"RS256"}},
			Caller: ssf.Caller(func(ctx context.Context, token string) (*ssf.Client, error) {
				g, err := h.Check(ctx, tenant, token)
				if err != nil {
					return nil, err
				}
				return &ssf.Client{Spec: g.Client, Scopes: g.Scopes}, nil
			})})
		if err != nil {
			t.Fatal(err)
		}
	}
	d.door = ssf.New(ssf.Config{OAuth: h.Server, Streams: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/t/blue/") {
			d.streams["blue"].ServeHTTP(w, r)
			return
		}
		d.streams[DefaultTenant].ServeHTTP(w, r)
	})})

	ask := func(tenant, client, scope string) string {
		prefix := strings.TrimPrefix(tenantIssuer(tenant), hubIssuer)
		a := h.do(request{path: prefix + "/oauth/token", body: form(grant, "client_id="+client, "client_secret="+postSecret, "scope="+scope)})
		if a.status != 200 {
			t.Fatalf("%s at %s: %d %s", client, tenant, a.status, a.text)
		}
		return a.body.Token
	}
	d.tokens["expired"] = ask(DefaultTenant, "mine", "")
	h.wait(time.Hour)
	d.tokens["revoked"] = ask(DefaultTenant, "mine", "")
	h.do(request{path: "/oauth/revoke", body: form("client_id=mine", "client_secret="+postSecret, "token="+d.tokens["revoked"])})
	d.tokens["of a deleted client"] = ask(DefaultTenant, "gone", "")
	h.change("default/gone", nil)
	d.tokens["of the other tenant"] = ask("blue", "mine", "")
	d.tokens["operator"] = "cs_0123456789abcdefghij-operator"
	h.preshare(d.tokens["operator"], DefaultTenant, "", 0)
	for name, scope := range map[string]string{"read": "ssf.read", "manage": "ssf.manage", "read and manage": "ssf.read ssf.manage", "receipts": "ssf.manage.receipts"} {
		d.tokens[name] = ask(DefaultTenant, "mine", scope)
	}
	d.tokens["other receiver"] = ask(DefaultTenant, "theirs", "ssf.read ssf.manage")
	d.tokens["API client"] = ask(DefaultTenant, "app", "")
	d.tokens["pre-shared"], d.tokens["pre-shared to read"] = "cs_0123456789abcdefghij-pre-shared", "cs_0123456789abcdefghij-to-read"
	h.preshare(d.tokens["pre-shared"], DefaultTenant, "mine", 0, "ssf.read", "ssf.manage")
	h.preshare(d.tokens["pre-shared to read"], DefaultTenant, "mine", 0, "ssf.read")
	at := h.accessClaims().with("client_id", "mine").with("sub", "mine")
	d.tokens["external"] = sign(t, accessHeader, at.with("scope", "ssf.read ssf.manage"), rsaKey())
	d.tokens["external to read"] = sign(t, accessHeader, at.with("scope", "ssf.read"), rsaKey())
	d.tokens["external without scope"] = sign(t, accessHeader, at.with("scope", nil), rsaKey())
	d.tokens["a JWT of another issuer"] = sign(t, accessHeader, at, otherKey())
	d.tokens["an assertion"] = sign(t, assertionHeader.with("kid", "as-1"), at, rsaKey())
	d.tokens["a SET"] = sign(t, object{"alg": "RS256", "kid": "as-1", "typ": "secevent+jwt"}, at.with("scope", "ssf.manage"), rsaKey())
	d.tokens["the client secret"] = postSecret
	d.tokens["garbage"] = "garbage"

	for name := range owners {
		d.renew(t, name)
	}
	d.ids["absent"], d.waiting["absent"] = "st_"+strings.Repeat("0", len(d.ids["own"])-3), "nothing"
	return d
}

// owners are the streams that there are: whose, at which tenant.
var owners = map[string]struct{ tenant, prefix, principal string }{
	"own": {DefaultTenant, "", "read and manage"}, "other": {DefaultTenant, "", "other receiver"}, "blue": {"blue", "/t/blue", "of the other tenant"},
}

// renew makes a stream on which one SET waits.
func (d *doors) renew(t testing.TB, name string) {
	t.Helper()
	o := owners[name]
	token := d.tokens[o.principal]
	id := d.create(t, o.prefix, token)
	if err := d.streams[o.tenant].Verification(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	rec := d.ask("POST", o.prefix+"/ssf/streams/"+id+"/poll", `{"returnImmediately":true}`, token)
	var got struct {
		Sets map[string]string `json:"sets"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || len(got.Sets) != 1 {
		t.Fatalf("%s: %d %s %v", name, rec.Code, rec.Body, err)
	}
	for jti := range got.Sets {
		d.waiting[name] = jti
	}
	d.ids[name] = id
}

// clear removes the streams of a receiver.
func (d *doors) clear(t testing.TB, receiver string) {
	t.Helper()
	st := d.stores[DefaultTenant]
	all, err := st.Streams(t.Context(), receiver)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if err := st.DeleteStream(t.Context(), receiver, all[i].ID); err != nil {
			t.Fatal(err)
		}
	}
}

func (d *doors) create(t testing.TB, prefix, token string) string {
	rec := d.ask("POST", prefix+"/ssf/streams", createPoll, token)
	var cfg struct {
		ID string `json:"stream_id"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &cfg); err != nil || rec.Code != 201 {
		t.Fatalf("create: %d %s", rec.Code, rec.Body)
	}
	return cfg.ID
}

func (d *doors) ask(method, path, body, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, hubIssuer+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if strings.HasSuffix(path, "/receipts") {
		r.Header.Set("Content-Type", "application/secevent+jwt")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	rec := httptest.NewRecorder()
	d.door.ServeHTTP(rec, r)
	return rec
}

// as asks in the way of a principal.
func (d *doors) as(principal, method, path, body string) *httptest.ResponseRecorder {
	token := d.tokens["read and manage"]
	switch principal {
	case "none":
		token = ""
	case "in the address":
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		return d.ask(method, path+sep+"access_token="+token, body, "")
	case "in the body": // RFC 6750 §2.2, which is not offered
		r := httptest.NewRequest(method, hubIssuer+path, strings.NewReader("access_token="+token))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		rec := httptest.NewRecorder()
		d.door.ServeHTTP(rec, r)
		return rec
	case "basic":
		r := httptest.NewRequest(method, hubIssuer+path, strings.NewReader(body))
		r.SetBasicAuth("mine", postSecret)
		rec := httptest.NewRecorder()
		d.door.ServeHTTP(rec, r)
		return rec
	default:
		token = d.tokens[principal]
	}
	return d.ask(method, path, body, token)
}

// state is everything that a request could have changed, read back from the stores.
func (d *doors) state(t testing.TB) string {
	t.Helper()
	var out []any
	for _, tenant := range []string{DefaultTenant, "blue"} {
		all, _, err := d.stores[tenant].AllStreams(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(all, func(a, b transmitter.Stream) int { return strings.Compare(a.ID, b.ID) })
		for _, st := range all {
			st.Active = 0 // that the receiver was here is told of each request that is its own
			counts, err := d.stores[tenant].Counts(t.Context(), st.Key)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, tenant, st, counts)
		}
	}
	b, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestEveryEndpointForEverybody asks each endpoint of the stream API as each principal, about its own stream, another
// receiver's, another tenant's, and one that there is not.
func TestEveryEndpointForEverybody(t *testing.T) {
	eachStore(t, func(t *testing.T, h *house) {
		d := openDoors(t, h)
		for _, e := range endpoints {
			t.Run(e.name, func(t *testing.T) { d.everybody(t, e) })
		}
	})
}

func (d *doors) everybody(t *testing.T, e endpoint) {
	cells := 0
	for _, p := range principals {
		bodies := map[string]string{}
		for _, target := range []string{"absent", "blue", "other", "own"} {
			if e.free && target != "own" {
				continue
			}
			fill := strings.NewReplacer("%s", d.ids[target], "%j", d.waiting[target])
			before := d.state(t)
			rec := d.as(p.name, e.method, fill.Replace(e.path), fill.Replace(e.body))
			after := d.state(t)
			what := fmt.Sprintf("%s, %s stream: %d %s", p.name, target, rec.Code, rec.Body)
			challenge := rec.Header().Get("WWW-Authenticate")
			cells++

			mine := p.client == "mine" && target == "own" || p.client == "theirs" && target == "other"
			may := slices.Contains(p.scopes, e.scope) || slices.Contains(p.scopes, "ssf.manage")
			want, header := 0, ""
			switch {
			case p.client == "" && p.code == "":
				want, header = 401, `Bearer realm="ssf"`
			case p.client == "":
				want, header = 401, `Bearer realm="ssf", error="`+p.code+`"`
			case !e.free && !mine:
				want = 404
			case !may:
				want, header = 403, `Bearer realm="ssf", error="insufficient_scope", scope="`+e.scope+`"`
			default:
				want = e.good
			}
			if rec.Code != want || challenge != header {
				t.Errorf("%s, want %d, and %q, want %q", what, want, challenge, header)
			}
			if rec.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: Cache-Control %q", what, rec.Header().Get("Cache-Control"))
			}
			if want >= 400 && before != after {
				t.Errorf("%s\nbefore %s\nafter  %s", what, before, after)
			}
			if want == 404 || want == 401 {
				// What is not yours and what is not there are told alike.
				bodies[fmt.Sprint(rec.Code)+rec.Body.String()] = target
				if len(bodies) > 1 {
					t.Errorf("%s: answers differ: %q", what, bodies)
				}
			}
			if want < 300 && e.method != "GET" {
				if before == after && e.name != "remove subject" {
					t.Errorf("%s: nothing happened", what)
				}
				d.clear(t, p.client)
				d.renew(t, map[string]string{"mine": "own", "theirs": "other"}[p.client]) // for the next
			}
			if e.name == "list" && want == 200 && strings.Contains(rec.Body.String(), d.ids[map[string]string{"mine": "other", "theirs": "own"}[p.client]]) {
				t.Errorf("%s: lists another's stream", what)
			}
		}
	}
	if want := len(principals) * 4; !e.free && cells != want || e.free && cells != len(principals) {
		t.Errorf("%d cells", cells)
	}
	req.Covers(t, "AZ-1", "AZ-2", "AZ-3", "AZ-4", "AZ-11", "IOP-40", "IOP-41", "IOP-42", "IOP-43", "IOP-44", "IOP-45")
	if e.scope == "ssf.read" {
		req.Covers(t, "IOP-37", "IOP-39")
	} else {
		req.Covers(t, "IOP-36")
	}
}

// A token shown twice, in the field and in the address, is a request that cannot be taken (RFC 6750 §3.1).
func TestTwoWaysAtOnce(t *testing.T) {
	d := openDoors(t, newHouse(t, nil))
	rec := d.ask("GET", "/ssf/streams?access_token=x", "", d.tokens["read"])
	if rec.Code != 400 || rec.Header().Get("WWW-Authenticate") != `Bearer realm="ssf", error="invalid_request"` {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
	req.Covers(t, "AZ-4", "IOP-42")
}

// While an external issuer is away, its tokens are not refused: 503 with Retry-After.
func TestIssuerAwayIs503(t *testing.T) {
	d := openDoors(t, newHouse(t, nil))
	d.fetched = nil
	d.wait(48 * time.Hour)
	at := d.accessClaims().with("client_id", "mine")
	rec := d.ask("GET", "/ssf/streams", "", sign(t, accessHeader, at, rsaKey()))
	if rec.Code != 503 || rec.Header().Get("Retry-After") == "" || rec.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("%d %v %s", rec.Code, rec.Header(), rec.Body)
	}
	if rec := d.ask("GET", "/ssf/streams", "", d.tokens["pre-shared"]); rec.Code != 200 {
		t.Errorf("a token of ours meanwhile: %d %s", rec.Code, rec.Body)
	}
}

// What a client's resource says reaches the streams that it makes.
func TestCallerOfSpec(t *testing.T) {
	d := openDoors(t, newHouse(t, nil))
	d.change("default/mine", func(c *hub.Client) {
		c.Streams, c.Subjects, c.Subject = "one", "NONE", &hub.SubjectRule{Format: "iss_sub", AccountAt: "keycloak", Otherwise: "email"}
	})
	if rec := d.ask("POST", "/ssf/streams", createPoll, d.tokens["manage"]); rec.Code != 409 {
		t.Errorf("a second stream: %d %s", rec.Code, rec.Body)
	}
	if rec := d.ask("DELETE", "/ssf/streams?stream_id="+d.ids["own"], "", d.tokens["manage"]); rec.Code != 204 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	id := d.create(t, "", d.tokens["manage"])
	st, err := d.stores[DefaultTenant].Stream(t.Context(), "mine", id)
	if err != nil || st.DefaultSubjects != "NONE" || string(st.Naming) != `{"format":"iss_sub","account_at":"keycloak","otherwise":"email"}` {
		t.Errorf("%+v %s, %v", st, st.Naming, err)
	}
}
