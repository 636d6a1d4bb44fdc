package transmitter_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign/internal/req"
	"countersign/receipt"
	"countersign/set"
	"countersign/ssftest"
	"countersign/subject"
	"countersign/transmitter"
)

const directive = `{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"complete_by":4102444800,"receipt":{"when":"all"}}`

// till is a transmitter with two receivers that give receipts, and one order to each.
type till struct {
	*transmitter.Transmitter
	store    *transmitter.Memory
	accepted []transmitter.AcceptedReceipt
	order    *receipt.Order // to receiver a
	other    *receipt.Order // to receiver b
	signer   *set.Signer    // of receiver a
	ids      [2]string
}

func theirs(issuer string, signer *set.Signer) string {
	return `"` + settingsName + `":{"receipt_issuer":"` + issuer + `","receipt_jwks":` + string(set.MarshalJWKS([]set.Key{signer.Public()})) +
		`,"receipt_delivery":"push","capabilities":[{"action":"revoke_sessions"}]}`
}

func newTill(t testing.TB) *till { return newTillWith(t, ssftest.Signer(set.ES256, "rcpt-a")) }

// newTillWith is newTill where receiver a signs with another key.
func newTillWith(t testing.TB, signer *set.Signer) *till {
	t.Helper()
	x := &till{store: new(transmitter.Memory), signer: signer}
	cfg := newConfig(x.store)
	cfg.OnReceipt = func(_ context.Context, r transmitter.AcceptedReceipt) { x.accepted = append(x.accepted, r) }
	x.Transmitter = newTransmitter(t, cfg)
	with := func(settings string) string {
		return strings.TrimSuffix(createBody("https://r.example/in"), "}") + "," + settings + "}"
	}
	x.ids[0] = create(t, x, "token-a", with(theirs("https://a.example", x.signer)))
	x.ids[1] = create(t, x, "token-b", with(theirs("https://b.example", ssftest.Signer(set.ES256, "rcpt-b"))))
	m := message("alice")
	m.Order, m.TXN = json.RawMessage(directive), "txn-1"
	sent := mustSend(t, x.Transmitter, m)
	if len(sent.Queued) != 2 {
		t.Fatalf("sent: %+v", sent)
	}
	x.order, x.other = orderOf(t, sent.Queued[0].Input, "https://a.example"), orderOf(t, sent.Queued[1].Input, "https://b.example")
	return x
}

func orderOf(t testing.TB, input, receiptIssuer string) *receipt.Order {
	t.Helper()
	u, err := set.Parse(input + ".AA")
	if err != nil {
		t.Fatal(err)
	}
	o, err := receipt.OrderOf(u, receipt.Default())
	if err != nil {
		t.Fatal(err)
	}
	o.ReceiptIssuer, o.ReceiptAudience = receiptIssuer, issuer
	return o
}

// slip is a receipt in the making.
type slip struct {
	number     string
	seq        int
	stage      string
	supersedes string
	jti        string
	iat        int64
}

// claims makes the claims of a receipt that is right, for spoiling.
func (x *till) claims(t testing.TB, o *receipt.Order, s slip) map[string]any {
	t.Helper()
	r := &receipt.Receipt{Number: s.number, Seq: s.seq, Stage: s.stage, Order: receipt.OrderLink{ReceivedAt: o.IssuedAt}}
	line := receipt.Line{ID: "a1", Action: "revoke_sessions", Status: receipt.Succeeded, Reason: "done", CompletedAt: o.IssuedAt}
	if s.stage == receipt.StageInterim {
		line.Status, line.Reason, line.CompletedAt = receipt.Pending, "in_progress", 0
	}
	r.Lines = []receipt.Line{line}
	if s.supersedes != "" {
		r.Supersedes = &receipt.Supersedes{Seq: s.seq - 1, Hash: s.supersedes}
	}
	if s.jti == "" {
		s.jti = set.NewID()
	}
	if s.iat == 0 {
		s.iat = o.IssuedAt
	}
	payload, err := receipt.Issue(o, r, s.jti, s.iat)
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(payload, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func (x *till) sign(t testing.TB, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(plain(claims))
	if err != nil {
		t.Fatal(err)
	}
	token, err := x.signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// plain turns the floats of encoding/json back to whole numbers.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
		return v
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
		return v
	case float64:
		return int64(v)
	}
	return v
}

func eventOf(c map[string]any) map[string]any {
	return c["events"].(map[string]any)[receipt.Default().Event].(map[string]any)
}

func (x *till) give(token string) *http.Response {
	return do(x, call{method: "POST", path: "/t/blue/ssf/receipts", token: "token-a", body: token, header: http.Header{"Content-Type": {"application/secevent+jwt"}}})
}

func (x *till) kept(t testing.TB) *transmitter.SentOrder {
	t.Helper()
	o, err := x.store.Order(t.Context(), transmitter.OrderKey{Receiver: "a", ReceiptIssuer: "https://a.example", JTI: x.order.JTI})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func hashOf(token string) string {
	return set.Address(token[:strings.LastIndexByte(token, '.')])
}

func TestOrdersGoOnlyWhereReceiptsAreActive(t *testing.T) {
	x := newTill(t)
	create(t, x, "token-a", createBody("https://legacy.example/in"))
	m := message("alice")
	m.Order = json.RawMessage(directive)
	sent := mustSend(t, x.Transmitter, m)
	if len(sent.Queued) != 2 || sent.Queued[0].JTI == sent.Queued[1].JTI || sent.Queued[0].SetHash == sent.Queued[1].SetHash {
		t.Fatalf("queued: %+v", sent.Queued)
	}
	for _, q := range sent.Queued {
		if q.StreamID != x.ids[0] && q.StreamID != x.ids[1] {
			t.Errorf("an order on stream %s", q.StreamID)
		}
		token, err := x.Complete(q.Input)
		if err != nil {
			t.Fatal(err)
		}
		u, err := set.Parse(token)
		if err != nil {
			t.Fatal(err)
		}
		c := u.Claims()
		if u.Address() != q.SetHash || len(c.Audience) != 1 || len(c.Events) != 1 || string(c.Member(receipt.Default().Directive)) != directive || c.ID != q.JTI {
			t.Errorf("order %s", u.Payload())
		}
	}
	plain := mustSend(t, x.Transmitter, message("alice"))
	if len(plain.Queued) != 3 || plain.Queued[0].Input != "" {
		t.Errorf("a plain event: %+v", plain.Queued)
	}
	req.Covers(t, "AR-§3.3", "AR-§4")

	m.Streams = []string{plain.Queued[2].StreamID}
	if _, err := x.Send(t.Context(), m); !errors.Is(err, transmitter.ErrNoOrderStream) {
		t.Errorf("an order for a legacy stream: %v", err)
	}
	m.Streams = nil
	for name, d := range map[string]string{
		"malformed":      `{"obligation":"maybe"}`,
		"not an object":  `1`,
		"refused":        `{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"crit":["future"]}`,
		"reserved id":    `{"obligation":"must","actions":[{"id":"x","action":"revoke_sessions"}]}`,
		"not agreed":     `{"obligation":"must","actions":[{"id":"a1","action":"delete_account"}]}`,
		"must, silently": `{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"receipt":{"when":"exceptions"}}`,
	} {
		m.Order = json.RawMessage(d)
		if _, err := x.Send(t.Context(), m); err == nil {
			t.Errorf("%s: sent", name)
		}
	}
	m = message("alice")
	m.Payload = json.RawMessage(`{"event_timestamp":1,"` + receipt.Default().Directive + `":{}}`)
	if _, err := x.Send(t.Context(), m); err == nil {
		t.Error("a payload with a directive inside left the house")
	}
	req.Covers(t, "AR-§4", "A35")
}

// Who has checked a message is spared a second look, except at what must never leave inside a payload.
func TestACheckedMessageIsNotReadAgain(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	m := message("alice")
	id, err := subject.Parse(m.SubID)
	if err != nil {
		t.Fatal(err)
	}
	m.Checked = &id
	fast, _, err := x.Plan(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	m.Checked = nil
	slow, _, err := x.Plan(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if fast.Event.Subject != slow.Event.Subject || fast.Event.Type != slow.Event.Type {
		t.Errorf("checked before: %+v, checked here: %+v", fast.Event, slow.Event)
	}
	name := receipt.Default().Directive
	for _, spelling := range []string{name, "\\u0068" + name[1:]} { // h, and h written otherwise
		m.Checked, m.Payload = &id, json.RawMessage(`{"`+spelling+`":{}}`)
		if _, _, err := x.Plan(t.Context(), m); err == nil {
			t.Errorf("a payload with %s inside left the house", spelling)
		}
	}
}

func TestReceiptIsAccepted(t *testing.T) {
	x := newTill(t)
	interim := x.sign(t, x.claims(t, x.order, slip{number: "CS-1", seq: 1, stage: "interim"}))
	final := x.sign(t, x.claims(t, x.order, slip{number: "CS-1", seq: 2, stage: "final", supersedes: hashOf(interim)}))
	for i, token := range []string{interim, final, final, interim} {
		r := x.give(token)
		if body := text(t, r); r.StatusCode != 202 || body != "" || r.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("receipt %d: %d %s", i, r.StatusCode, body)
		}
	}
	o := x.kept(t)
	if len(o.Receipts) != 2 || o.Receipts[1].Outcome != "fulfilled" || o.Receipts[1].Compact != final || o.Receipts[1].Hash != hashOf(final) || o.Disputed != "" {
		t.Errorf("kept: %+v", o)
	}
	if len(x.accepted) != 2 || x.accepted[1].Receipt.Seq != 2 || len(x.accepted[1].Order.Receipts) != 2 || x.accepted[0].Receipt.Stage != "interim" {
		t.Errorf("told of %d receipts", len(x.accepted))
	}
	req.Covers(t, "AR-§6.2", "AR-§6.3")

	// An honest second signature over the same content is the same receipt.
	again, err := x.signer.Complete(final[:strings.LastIndexByte(final, '.')])
	if err != nil {
		t.Fatal(err)
	}
	if r := x.give(again); r.StatusCode != 202 || len(x.kept(t).Receipts) != 2 {
		t.Errorf("re-signed: %d", r.StatusCode)
	}
	amended := x.sign(t, x.claims(t, x.order, slip{number: "CS-1", seq: 3, stage: "amended", supersedes: hashOf(final)}))
	if r := x.give(amended); r.StatusCode != 202 {
		t.Errorf("amended: %d %s", r.StatusCode, text(t, r))
	}
	// Streams that stop do not stop receipts (§6.5).
	if r := do(x, call{method: "POST", path: "/t/blue/ssf/status", token: "token-a", body: `{"stream_id":"` + x.ids[0] + `","status":"disabled"}`}); r.StatusCode != 200 {
		t.Fatal(r.StatusCode)
	}
	last := x.sign(t, x.claims(t, x.order, slip{number: "CS-1", seq: 4, stage: "amended", supersedes: hashOf(amended)}))
	if r := x.give(last); r.StatusCode != 202 {
		t.Errorf("on a disabled stream: %d %s", r.StatusCode, text(t, r))
	}
	req.Covers(t, "AR-§5.4", "AR-§6.5")
}

func TestReceiptGapAndLate(t *testing.T) {
	x := newTill(t)
	one := x.sign(t, x.claims(t, x.order, slip{number: "CS-1", seq: 1, stage: "interim"}))
	two := x.sign(t, x.claims(t, x.order, slip{number: "CS-1", seq: 2, stage: "interim", supersedes: hashOf(one)}))
	three := x.sign(t, x.claims(t, x.order, slip{number: "CS-1", seq: 3, stage: "final", supersedes: hashOf(two)}))
	for _, token := range []string{one, three, two} {
		if r := x.give(token); r.StatusCode != 202 {
			t.Fatalf("%d %s", r.StatusCode, text(t, r))
		}
	}
	o := x.kept(t)
	if len(o.Receipts) != 3 || !o.Receipts[2].Gap || !o.Receipts[1].Late || o.Disputed != "" || o.Receipts[2].Stage != "final" {
		t.Errorf("kept: %+v", o.Receipts)
	}
	req.Covers(t, "AR-§6.3", "A44")
}

// TestReceiptChecks is the table of receipts design §6.2: what is spoilt, and what exactly is answered.
func TestReceiptChecks(t *testing.T) {
	b64 := base64.RawURLEncoding
	type spoil = func(t *testing.T, x *till) (token string)
	// claims spoils the claims of a good final receipt and signs them.
	claims := func(f func(x *till, c map[string]any)) spoil {
		return func(t *testing.T, x *till) string {
			c := x.claims(t, x.order, slip{number: "CS-1", seq: 1, stage: "final"})
			f(x, c)
			return x.sign(t, c)
		}
	}
	event := func(f func(e map[string]any)) spoil {
		return claims(func(_ *till, c map[string]any) { f(eventOf(c)) })
	}
	raw := func(header string, f func(string) string) spoil {
		return func(t *testing.T, x *till) string {
			payload, _ := json.Marshal(plain(x.claims(t, x.order, slip{number: "CS-1", seq: 1, stage: "final"})))
			token, err := x.signer.Complete(b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(f(string(payload)))))
			if err != nil {
				t.Fatal(err)
			}
			return token
		}
	}
	const header = `{"alg":"ES256","typ":"secevent+jwt","kid":"rcpt-a"}`
	same := func(s string) string { return s }
	// after accepts a good receipt first and then spoils the next.
	after := func(first slip, f func(t *testing.T, x *till, first string) string) spoil {
		return func(t *testing.T, x *till) string {
			token := x.sign(t, x.claims(t, x.order, first))
			if r := x.give(token); r.StatusCode != 202 {
				t.Fatalf("the first: %d %s", r.StatusCode, text(t, r))
			}
			return f(t, x, token)
		}
	}
	interim := slip{number: "CS-1", seq: 1, stage: "interim", jti: "jti-1"}

	tests := []struct {
		name   string
		spoil  spoil
		call   func(*call)
		status int
		err    string
		code   string
		kept   int // receipts of the order afterwards
		covers []string
	}{
		{name: "no token", spoil: claims(func(*till, map[string]any) {}), call: func(c *call) { c.token = "" }, status: 401, err: "unauthorized", covers: []string{"AR-§6.2"}},
		{name: "no scope", spoil: claims(func(*till, map[string]any) {}), call: func(c *call) { c.token = "read-a" }, status: 403, err: "access_denied", covers: []string{"AR-§6.2"}},
		{name: "narrow scope", spoil: claims(func(*till, map[string]any) {}), call: func(c *call) { c.token = "rcpt-a" }, status: 202, kept: 1, covers: []string{"AR-§6.2"}},
		{name: "media type", spoil: claims(func(*till, map[string]any) {}), call: func(c *call) { c.header.Set("Content-Type", "application/jwt") }, status: 415, err: "invalid_request"},
		{name: "encoded", spoil: claims(func(*till, map[string]any) {}), call: func(c *call) { c.header.Set("Content-Encoding", "gzip") }, status: 415, err: "invalid_request"},
		{name: "GET", spoil: claims(func(*till, map[string]any) {}), call: func(c *call) { c.method = "GET" }, status: 405, err: "method_not_allowed"},
		{name: "too large", spoil: func(*testing.T, *till) string { return strings.Repeat("x", 262145) }, status: 413, err: "invalid_request", covers: []string{"A42"}},
		{name: "empty", spoil: func(*testing.T, *till) string { return "" }, status: 400, err: "invalid_request", code: "malformed", covers: []string{"A36"}},
		{name: "garbage", spoil: func(*testing.T, *till) string { return "a.b.c" }, status: 400, err: "invalid_request", code: "malformed"},
		{name: "a name twice", spoil: raw(header, func(s string) string { return strings.Replace(s, `{"aud"`, `{"aud":"x","aud"`, 1) }), status: 400, err: "invalid_request", code: "malformed", covers: []string{"P-121"}},
		{name: "depth", spoil: raw(header, func(s string) string {
			return strings.TrimSuffix(s, "}") + `,"deep":` + strings.Repeat("[", 17) + strings.Repeat("]", 17) + `}`
		}), status: 400, err: "invalid_request", code: "malformed", covers: []string{"A7"}},
		{name: "line break in base64url", spoil: func(t *testing.T, x *till) string {
			s := raw(header, same)(t, x)
			return s[:10] + "\n" + s[10:]
		}, status: 400, err: "invalid_request", code: "malformed", covers: []string{"P-119"}},
		{name: "typ", spoil: raw(`{"alg":"ES256","typ":"application/secevent+jwt","kid":"rcpt-a"}`, same), status: 400, err: "invalid_request", code: "malformed", covers: []string{"A9"}},
		{name: "no kid", spoil: raw(`{"alg":"ES256","typ":"secevent+jwt"}`, same), status: 400, err: "invalid_request", code: "malformed", covers: []string{"A51"}},
		{name: "alg none", spoil: raw(`{"alg":"none","typ":"secevent+jwt","kid":"rcpt-a"}`, same), status: 400, err: "invalid_request", code: "malformed"},
		{name: "alg not on the list", spoil: raw(`{"alg":"PS256","typ":"secevent+jwt","kid":"rcpt-a"}`, same), status: 400, err: "invalid_request", code: "malformed"},
		{name: "crit", spoil: raw(`{"alg":"ES256","typ":"secevent+jwt","kid":"rcpt-a","crit":["b64"],"b64":false}`, same), status: 400, err: "invalid_request", code: "malformed", covers: []string{"A51", "P-118"}},
		{name: "another event", spoil: claims(func(_ *till, c map[string]any) { c["events"] = map[string]any{sessionRevoked: map[string]any{}} }), status: 400, err: "invalid_request", code: "malformed"},
		{name: "two events", spoil: claims(func(_ *till, c map[string]any) { c["events"].(map[string]any)[sessionRevoked] = map[string]any{} }), status: 400, err: "invalid_request", code: "malformed"},
		{name: "exp", spoil: claims(func(_ *till, c map[string]any) { c["exp"] = 4102444800 }), status: 400, err: "invalid_request", code: "malformed"},
		{name: "sub", spoil: claims(func(_ *till, c map[string]any) { c["sub"] = "alice" }), status: 400, err: "invalid_request", code: "malformed"},
		{name: "a directive", spoil: claims(func(_ *till, c map[string]any) { c[receipt.Default().Directive] = map[string]any{"obligation": "must"} }), status: 400, err: "invalid_request", code: "malformed"},
		{name: "a float", spoil: raw(header, func(s string) string { return strings.Replace(s, `"seq":1`, `"seq":1.0`, 1) }), status: 400, err: "invalid_request", code: "malformed", covers: []string{"A8"}},
		{name: "another issuer", spoil: claims(func(_ *till, c map[string]any) { c["iss"] = "https://evil.example" }), status: 400, err: "invalid_issuer", code: "wrong_issuer", covers: []string{"A36"}},
		{name: "the issuer of another receiver", spoil: claims(func(_ *till, c map[string]any) { c["iss"] = "https://b.example" }), status: 400, err: "invalid_issuer", code: "wrong_issuer"},
		{name: "another key under the kid", spoil: func(t *testing.T, x *till) string {
			evil, err := set.NewSigner(set.ES256, "rcpt-a", ssftest.Key(set.ES256, "evil"))
			if err != nil {
				t.Fatal(err)
			}
			x.signer = evil
			return x.sign(t, x.claims(t, x.order, slip{number: "CS-1", seq: 1, stage: "final"}))
		}, status: 400, err: "invalid_key", code: "bad_signature"},
		{name: "unknown kid", spoil: raw(`{"alg":"ES256","typ":"secevent+jwt","kid":"rcpt-b"}`, same), status: 400, err: "invalid_key", code: "bad_signature"},
		{name: "a key in the header", spoil: func(t *testing.T, x *till) string {
			x.signer = ssftest.Signer(set.ES256, "evil")
			jwk, _ := json.Marshal(x.signer.Public())
			return raw(`{"alg":"ES256","typ":"secevent+jwt","kid":"evil","jwk":`+string(jwk)+`}`, same)(t, x)
		}, status: 400, err: "invalid_key", code: "bad_signature", covers: []string{"P-84"}},
		{name: "another audience", spoil: claims(func(_ *till, c map[string]any) { c["aud"] = "https://ssf.example" }), status: 400, err: "invalid_audience", code: "wrong_audience"},
		{name: "two audiences", spoil: claims(func(_ *till, c map[string]any) { c["aud"] = []any{issuer, "https://x.example"} }), status: 400, err: "invalid_audience", code: "wrong_audience"},
		{name: "from the future", spoil: claims(func(_ *till, c map[string]any) { c["iat"] = time.Now().Unix() + 180 }), status: 400, err: "invalid_request", code: "bad_time"},
		{name: "older than the order", spoil: claims(func(x *till, c map[string]any) { c["iat"] = x.order.IssuedAt - 121 }), status: 400, err: "invalid_request", code: "bad_time"},
		{name: "unknown order", spoil: claims(func(_ *till, c map[string]any) { c["sub_id"].(map[string]any)["jti"] = "unknown" }), status: 400, err: "access_denied", code: "unknown_order", covers: []string{"AR-§6.2"}},
		{name: "order of another issuer", spoil: claims(func(_ *till, c map[string]any) { c["sub_id"].(map[string]any)["iss"] = "https://other.example" }), status: 400, err: "access_denied", code: "unknown_order"},
		{name: "order of another receiver", spoil: claims(func(x *till, c map[string]any) { c["sub_id"].(map[string]any)["jti"] = x.other.JTI }), status: 400, err: "access_denied", code: "unknown_order"},
		{name: "set_hash", spoil: event(func(e map[string]any) { e["order"].(map[string]any)["set_hash"] = set.Address("other") }), status: 400, err: "access_denied", code: "order_mismatch"},
		{name: "event_type", spoil: event(func(e map[string]any) { e["order"].(map[string]any)["event_type"] = credentialChange }), status: 400, err: "access_denied", code: "order_mismatch"},
		{name: "txn", spoil: claims(func(_ *till, c map[string]any) { c["txn"] = "other" }), status: 400, err: "access_denied", code: "order_mismatch", covers: []string{"A57"}},
		{name: "no txn", spoil: claims(func(_ *till, c map[string]any) { delete(c, "txn") }), status: 400, err: "access_denied", code: "order_mismatch", covers: []string{"A57"}},
		{name: "seq 1 supersedes", spoil: event(func(e map[string]any) {
			e["supersedes"] = map[string]any{"seq": 0, "hash": set.Address("x")}
		}), status: 400, err: "invalid_request", code: "sequence_conflict", covers: []string{"A25"}},
		{name: "supersedes another", spoil: after(interim, func(t *testing.T, x *till, _ string) string {
			return x.sign(t, x.claims(t, x.order, slip{number: "CS-1", seq: 2, stage: "final", supersedes: set.Address("other")}))
		}), status: 400, err: "invalid_request", code: "sequence_conflict", kept: 1, covers: []string{"AR-§6.3"}},
		{name: "another receipt_no", spoil: after(interim, func(t *testing.T, x *till, first string) string {
			return x.sign(t, x.claims(t, x.order, slip{number: "CS-2", seq: 2, stage: "final", supersedes: hashOf(first)}))
		}), status: 400, err: "invalid_request", code: "sequence_conflict", kept: 1, covers: []string{"A43"}},
		{name: "jti again, other content", spoil: after(interim, func(t *testing.T, x *till, first string) string {
			return x.sign(t, x.claims(t, x.order, slip{number: "CS-1", seq: 2, stage: "final", supersedes: hashOf(first), jti: "jti-1"}))
		}), status: 400, err: "invalid_request", code: "sequence_conflict", kept: 1},
		{name: "final after final", spoil: after(slip{number: "CS-1", seq: 1, stage: "final"}, func(t *testing.T, x *till, first string) string {
			return x.sign(t, x.claims(t, x.order, slip{number: "CS-1", seq: 2, stage: "final", supersedes: hashOf(first)}))
		}), status: 400, err: "invalid_request", code: "sequence_conflict", kept: 1},
		{name: "outcome", spoil: event(func(e map[string]any) { e["outcome"] = "partial" }), status: 400, err: "invalid_request", code: "totals_mismatch"},
		{name: "totals", spoil: event(func(e map[string]any) { e["totals"].(map[string]any)["succeeded"] = 2 }), status: 400, err: "invalid_request", code: "totals_mismatch"},
		{name: "unknown action id", spoil: event(func(e map[string]any) { e["lines"].([]any)[0].(map[string]any)["line"] = "a2" }), status: 400, err: "invalid_request", code: "totals_mismatch"},
		{name: "no lines", spoil: event(func(e map[string]any) { e["lines"] = []any{} }), status: 400, err: "invalid_request", code: "schema"},
		{name: "no receipt_no", spoil: event(func(e map[string]any) { delete(e, "receipt_no") }), status: 400, err: "invalid_request", code: "schema"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x := newTill(t)
			token := test.spoil(t, x)
			before := len(x.accepted)
			c := call{method: "POST", path: "/t/blue/ssf/receipts", token: "token-a", body: token, header: http.Header{"Content-Type": {"application/secevent+jwt"}}}
			if test.call != nil {
				test.call(&c)
			}
			r := do(x, c)
			body := text(t, r)
			var wire struct {
				Err  string `json:"err"`
				Code string `json:"receipt_error"`
			}
			if r.StatusCode != 202 {
				if err := json.Unmarshal([]byte(body), &wire); err != nil || r.Header.Get("Content-Language") == "" {
					t.Fatalf("%d %q %v", r.StatusCode, body, r.Header)
				}
			}
			if r.StatusCode != test.status || wire.Err != test.err || wire.Code != test.code {
				t.Errorf("%d %s, want %d %s/%s", r.StatusCode, body, test.status, test.err, test.code)
			}
			if o := x.kept(t); len(o.Receipts) != test.kept || o.Disputed != "" {
				t.Errorf("%d receipts are kept, disputed %q", len(o.Receipts), o.Disputed)
			}
			if told := len(x.accepted) - before; told != 0 && r.StatusCode != 202 {
				t.Error("OnReceipt was told of a refused receipt")
			}
			req.Covers(t, test.covers...)
		})
	}
}

func TestUnknownOrdersAnswerAlike(t *testing.T) {
	x := newTill(t)
	var answers []string
	for _, jti := range []string{"unknown", x.other.JTI} {
		c := x.claims(t, x.order, slip{number: "CS-1", seq: 1, stage: "final"})
		c["sub_id"].(map[string]any)["jti"] = jti
		r := x.give(x.sign(t, c))
		answers = append(answers, fmt.Sprint(r.Status, r.Header, text(t, r)))
	}
	if answers[0] != answers[1] {
		t.Errorf("%s\n%s", answers[0], answers[1])
	}
	req.Covers(t, "AR-§6.2", "AR-§10")
}

func TestEquivocationIsDisputed(t *testing.T) {
	x := newTill(t)
	first := x.sign(t, x.claims(t, x.order, slip{number: "CS-1", seq: 1, stage: "interim"}))
	second := x.sign(t, x.claims(t, x.order, slip{number: "CS-1", seq: 1, stage: "final"}))
	if r := x.give(first); r.StatusCode != 202 {
		t.Fatal(r.StatusCode)
	}
	r := x.give(second)
	if body := text(t, r); r.StatusCode != 400 || !strings.Contains(body, `"receipt_error":"sequence_conflict"`) {
		t.Errorf("%d %s", r.StatusCode, body)
	}
	o := x.kept(t)
	if o.Disputed == "" || len(o.Receipts) != 1 || o.Receipts[0].Compact != first {
		t.Errorf("kept: %+v", o)
	}
	req.Covers(t, "AR-§6.3", "AR-§10")
}

func TestOneNumberOneOrder(t *testing.T) {
	x := newTill(t)
	m := message("bob")
	m.Order, m.Streams = json.RawMessage(directive), x.ids[:1]
	second := orderOf(t, mustSend(t, x.Transmitter, m).Queued[0].Input, "https://a.example")
	if r := x.give(x.sign(t, x.claims(t, x.order, slip{number: "CS-1", seq: 1, stage: "final", jti: "j1"}))); r.StatusCode != 202 {
		t.Fatal(r.StatusCode)
	}
	for name, s := range map[string]slip{
		"receipt_no": {number: "CS-1", seq: 1, stage: "final", jti: "j2"},
		"jti":        {number: "CS-2", seq: 1, stage: "final", jti: "j1"},
	} {
		r := x.give(x.sign(t, x.claims(t, second, s)))
		if body := text(t, r); r.StatusCode != 400 || !strings.Contains(body, "sequence_conflict") {
			t.Errorf("%s of another order: %d %s", name, r.StatusCode, body)
		}
	}
	req.Covers(t, "A43", "AR-§6.2")
}

// noKeys is a key set that cannot be had.
type noKeys struct{}

func (noKeys) Find(context.Context, string) ([]set.Key, error) { return nil, set.ErrKeysUnavailable }

func TestKeysThatCannotBeHadAreNoVerdict(t *testing.T) {
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	asked := ""
	cfg.ReceiptKeys = func(uri string) set.KeySet { asked = uri; return noKeys{} }
	x := &till{store: store, signer: ssftest.Signer(set.ES256, "rcpt-a"), Transmitter: newTransmitter(t, cfg)}
	create(t, x, "token-a", strings.TrimSuffix(createBody("https://r.example/in"), "}")+`,"`+settingsName+
		`":{"receipt_issuer":"https://a.example","receipt_jwks_uri":"https://a.example/jwks.json","receipt_delivery":"push","capabilities":[{"action":"revoke_sessions"}]}}`)
	m := message("alice")
	m.Order = json.RawMessage(directive)
	x.order = orderOf(t, mustSend(t, x.Transmitter, m).Queued[0].Input, "https://a.example")
	r := x.give(x.sign(t, x.claims(t, x.order, slip{number: "CS-1", seq: 1, stage: "final"})))
	if r.StatusCode != 503 || r.Header.Get("Retry-After") == "" || asked != "https://a.example/jwks.json" {
		t.Errorf("%d, keys asked at %q", r.StatusCode, asked)
	}
	if len(x.kept(t).Receipts) != 0 {
		t.Error("kept without a key")
	}
}
