package hostile

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"countersign/event/caep"
	"countersign/set"
)

// patience is how long an effect may take to show, and a raw connection to be answered.
const patience = 10 * time.Second

// usualClaims are those of a good token, about somebody whom nobody knows.
const usualClaims = `{"iss":"${iss}","aud":"${aud}","iat":${now},"jti":"${jti}","txn":"${txn}","sub_id":{"format":"opaque","id":"nobody"},` +
	`"events":{"` + caep.SessionRevokedURI + `":{"event_timestamp":${now}}}}`

// reply is what came back for one request.
type reply struct {
	closed bool
	reset  bool // while the body was written
	status int
	header http.Header
	body   []byte
}

// run sends a case and judges its answers and effects.
func (h *house) run(t *testing.T, c *testCase, folder string) {
	t.Helper()
	if folder == "receipts" {
		c.bill = h.order(t)
		h.last = nil
	}
	if c.stopped {
		h.stopped.Store(int64(time.Since(h.began)))
		defer h.stopped.Store(0)
	}
	sc, b := h.scope(c), c.bill
	for i, s := range c.steps {
		before := h.last // nothing happens between two steps
		if before == nil {
			before = h.count(t)
		}
		var answers []reply
		var used uint64
		for n := range s.times {
			sc["n"] = strconv.Itoa(n + 1)
			h.prepare(t, s, sc, b)
			allocated := totalAlloc()
			answers = h.send(t, s, sc, folder)
			used = max(used, totalAlloc()-allocated)
			for j, a := range answers {
				if j < len(s.expect) && !a.reset {
					h.check(t, s, sc, folder, s.expect[j], a)
				}
			}
			if len(answers) != len(s.expect) {
				t.Errorf("step %d: %d answers, want %d", i+1, len(answers), len(s.expect))
			}
		}
		if used > s.memory {
			t.Errorf("step %d: %d bytes were allocated for one request, at most %d may be", i+1, used, s.memory)
		}
		for _, a := range answers { // a stream that was made may be named in the steps that follow
			var made struct {
				ID string `json:"stream_id"`
			}
			if json.Unmarshal(a.body, &made) == nil && made.ID != "" {
				sc["made"] = made.ID
			}
		}
		h.settle(t, before, s.effects, s.times, fmt.Sprintf("%s, step %d", c.name, i+1))
		if len(answers) > 0 {
			h.bodies[c.name] = fmt.Sprintf("%d %s", answers[len(answers)-1].status, answers[len(answers)-1].body)
		}
	}
}

// scope gives a case its own names.
func (h *house) scope(c *testCase) scope {
	sc := maps.Clone(h.vars)
	sc["jti"], sc["txn"], sc["now"], sc["case"] = c.name+"-"+set.NewID()[:8], "txn-"+c.name, strconv.FormatInt(h.now().Unix(), 10), c.name
	sc["session-revoked"] = caep.SessionRevokedURI
	if c.bill != nil {
		o := c.bill.order
		sc["order-iss"], sc["order-jti"], sc["order-hash"], sc["order-txn"], sc["order-iat"] = o.Issuer, o.JTI, o.SetHash, o.TXN, strconv.FormatInt(o.IssuedAt, 10)
	}
	sc["idp-upper"] = "/receive/" + strings.ToUpper(sc["idp"][len("/receive/"):])
	maps.Copy(sc, bulk())
	return sc
}

// bulk are the long names, the same for every case.
var bulk = sync.OnceValue(func() scope {
	var many, fields, parts strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&parts, `,"p%d":{"format":"opaque","id":"%d"}`, i, i)
	}
	opaque := make([]string, 1000)
	for i := range opaque {
		opaque[i] = fmt.Sprintf(`{"format":"opaque","id":"%d"}`, i)
	}
	for i := range 5000 {
		fmt.Fprintf(&many, `,"m%d":%d`, i, i)
	}
	for i := range 100 {
		fmt.Fprintf(&fields, "X-Field-%d: %d\r\n", i, i)
	}
	return scope{
		"objects":      strings.Repeat(`{"a":`, 30000) + "1" + strings.Repeat("}", 30000),
		"many-lines":   strings.Repeat(`{"line":"x.1","action":"record","status":"skipped","reason":"already_gone"},`, 2000),
		"many-members": many.String(), "fields-100": fields.String(),
		"ten-thousand-parts": parts.String(), "thousand-opaque": strings.Join(opaque, ","),
	}
})

// prepare makes the step's token, if it has one.
func (h *house) prepare(t testing.TB, s *step, sc scope, b *bill) {
	t.Helper()
	body, has := s.sections["body"]
	text := body + s.sections["send"]
	if (has || s.sections["send"] != "") && !strings.Contains(text, "token") && !strings.Contains(text, "size") {
		return
	}
	if !has && s.sections["send"] == "" && b == nil && !strings.HasPrefix(s.path, "${") {
		return // no body at all
	}
	var claims string
	how := s.sign
	switch {
	case s.sections["claims"] != "":
		claims = sc.expand(t, s.sections["claims"])
	case b != nil:
		now := h.now().Unix()
		sc["iat"] = strconv.FormatInt(now, 10)
		claims = b.receipt(t, s.seq, sc["jti"]+"-"+strconv.Itoa(s.seq), now)
	default:
		claims = sc.expand(t, usualClaims)
	}
	if how == "" {
		how = "RS256"
		if b != nil {
			how = "desk"
		}
	}
	if !has {
		claims = s.replaced(t, sc, claims)
	}
	token := h.keys.sign(t, how, sc.expand(t, s.jose), claims)
	sc["token"], sc["size"], sc["size-hex"] = token, strconv.Itoa(len(token)), strconv.FormatInt(int64(len(token)), 16)
	if sc["first-token"] == "" {
		sc["first-token"] = token
	}
	last := strings.LastIndexByte(token, '.')
	sc["token-cut"], sc["token-half"], sc["token-broken"] = token[:max(len(token)-10, 0)], token[:last-10], token[:last+1]+"\n"+token[last+1:]
	sc["token-spare"] = token[:len(token)-1] + sibling(token[len(token)-1])
	if strings.Contains(text, "forged") {
		forged := h.keys.sign(t, "stranger", "", claims)
		sc["forged"], sc["forged-size"] = forged, strconv.Itoa(len(forged))
	}
	if b != nil {
		if u, err := set.Parse(token); err == nil {
			b.last = u.Address()
			sc["last-hash"] = b.last
		}
	}
}

// sibling gives the letter of base64url that differs in its last bit only, which an RS256 signature does not use.
func sibling(letter byte) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(letters, letter)
	if i < 0 {
		return ""
	}
	return string(letters[i^1])
}

func totalAlloc() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// settle waits until what changed is what may have changed.
func (h *house) settle(t testing.TB, before counts, effects []effect, times int, what string) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	tick := time.NewTicker(4 * time.Millisecond)
	defer tick.Stop()
	for {
		h.last = h.count(t)
		wrong := judge(before, h.last, effects, times)
		if wrong == "" {
			return
		}
		select {
		case <-limit.C:
			h.last = nil
			t.Errorf("%s: %s", what, wrong)
			return
		case <-tick.C:
		}
	}
}

// send makes the request of a step, over HTTP or as bytes.
func (h *house) send(t testing.TB, s *step, sc scope, folder string) []reply {
	t.Helper()
	if raw, ok := s.sections["send"]; ok {
		return h.sendRaw(t, s, sc.expand(t, strings.ReplaceAll(raw, "\n", "\r\n")), sc)
	}
	body := ""
	if section, ok := s.sections["body"]; ok {
		body = sc.expand(t, s.replaced(t, sc, section))
	} else if folder == "receive" || folder == "receipts" {
		body = sc["token"]
	}
	base := h.hub.PublicURL()
	if s.admin {
		base = h.hub.AdminURL()
	}
	u, err := url.Parse(base)
	must(t, err)
	u.Opaque = sc.expand(t, s.path) // as it is written, dots and all
	req := &http.Request{Method: s.method, URL: u, Host: u.Host, Header: http.Header{}}
	if body != "" || s.method == http.MethodPost {
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}
	if s.host != "" {
		req.Host = s.host
	}
	req.Header.Set("Content-Type", map[bool]string{true: "application/secevent+jwt", false: "application/json"}[folder == "receive" || folder == "receipts"])
	h.authorize(t, req.Header, s.auth)
	seen := map[string]bool{}
	for _, f := range s.headers {
		name, value := f[0], sc.expand(t, f[1])
		switch {
		case value == "":
			req.Header.Del(name)
		case seen[name]:
			req.Header.Add(name, value)
		default:
			req.Header.Set(name, value)
		}
		seen[name] = true
	}
	resp, err := h.client.Do(req)
	if err != nil {
		if len(s.expect) == 1 && s.expect[0].closed {
			return []reply{{closed: true}}
		}
		// Whoever is still writing a body that is refused for its size may lose the answer with the connection.
		if len(s.expect) == 1 && s.expect[0].status == http.StatusRequestEntityTooLarge && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) {
			return []reply{{closed: true, reset: true}}
		}
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	must(t, err)
	return []reply{{status: resp.StatusCode, header: resp.Header, body: text}}
}

func (h *house) authorize(t testing.TB, header http.Header, who string) {
	t.Helper()
	if who == "none" {
		return
	}
	token := h.tokens[who]
	if token == "" {
		t.Fatalf("nobody is called %s", who)
	}
	header.Set("Authorization", "Bearer "+token)
}

// sendRaw writes bytes to a TLS connection and reads as many answers as are expected.
func (h *house) sendRaw(t testing.TB, s *step, text string, sc scope) (out []reply) {
	t.Helper()
	for name, token := range h.tokens {
		text = strings.ReplaceAll(text, "<"+name+">", token)
	}
	u, err := url.Parse(h.hub.PublicURL())
	must(t, err)
	conn, err := tls.Dial("tcp", u.Host, &tls.Config{RootCAs: h.ca.Pool(), ServerName: "localhost", NextProtos: []string{"http/1.1"}})
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	more := sc.expand(t, s.flood)
	written := make(chan int, 1)
	go func() {
		n, err := io.WriteString(conn, text)
		for more != "" && err == nil && n < 256<<20 {
			var m int
			m, err = io.WriteString(conn, more)
			n += m
		}
		written <- n
	}()
	br := bufio.NewReader(conn)
	switch s.hangup {
	case "yes":
		<-written
		return nil
	case "half": // we say no more, and the hub ends the connection when it is done
		<-written
		must(t, conn.CloseWrite())
		if _, err := io.Copy(io.Discard, br); err != nil {
			t.Errorf("the hub did not end the connection: %v", err)
		}
		return nil
	}
	for _, want := range s.expect {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("the connection was left open: %v", err)
				return out
			}
			if !want.closed {
				t.Errorf("no answer: %v", err)
			}
			out = append(out, reply{closed: true})
			continue
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if err != nil {
			t.Errorf("half an answer: %v", err)
		}
		out = append(out, reply{status: resp.StatusCode, header: resp.Header, body: body})
	}
	conn.Close()
	if n := <-written; more != "" && n > 32<<20 {
		t.Errorf("the hub let us write %d bytes", n)
	}
	return out
}

// check holds one answer to what is expected of it.
func (h *house) check(t testing.TB, s *step, sc scope, folder string, want answer, got reply) {
	t.Helper()
	if want.closed != got.closed {
		t.Errorf("closed is %t, want %t: %d %s", got.closed, want.closed, got.status, got.body)
		return
	}
	if got.closed {
		return
	}
	var e struct {
		Err          string `json:"err"`
		Code         string `json:"code"`
		Description  string `json:"description"`
		ReceiptError string `json:"receipt_error"`
		Title        string `json:"title"`
		Status       int    `json:"status"`
		Reference    string `json:"reference"`
	}
	media, _, _ := mime.ParseMediaType(got.header.Get("Content-Type"))
	problem := s.admin && got.status >= 400
	if s.method == http.MethodHead {
		if len(got.body) > 0 || got.status != want.status {
			t.Errorf("HEAD is answered with %d and %d bytes, want %d", got.status, len(got.body), want.status)
		}
		return
	}
	if media == "application/json" && got.status >= 400 || problem {
		if err := json.Unmarshal(got.body, &e); err != nil {
			t.Errorf("the body is no JSON: %s", got.body)
		}
	}
	code := e.Err
	if s.admin {
		code = e.Code
	}
	if got.status != want.status || code != want.err || e.ReceiptError != want.receiptError {
		t.Errorf("answered %d %s %s, want %d %s %s: %s", got.status, code, e.ReceiptError, want.status, want.err, want.receiptError, short(got.body))
	}
	switch {
	case problem:
		if media != "application/problem+json" || e.Title == "" || e.Status != got.status || e.Reference == "" {
			t.Errorf("no problem detail of RFC 9457: %s: %s", media, got.body)
		}
	case want.err != "" && want.status >= 400: // RFC 8935 §2.3
		if media != "application/json" || got.header.Get("Content-Language") != "en" || e.Description == "" {
			t.Errorf("no error of RFC 8935: %s %q: %s", media, got.header.Get("Content-Language"), got.body)
		}
	case got.status == http.StatusAccepted && folder != "api" && len(got.body) > 0: // RFC 8935 §2.2
		t.Errorf("202 with a body: %s", got.body)
	}
	if len(got.body) > 4096 && got.status >= 400 {
		t.Errorf("a refusal of %d bytes", len(got.body))
	}
	for _, field := range s.has {
		name, value, _ := strings.Cut(sc.expand(t, field), ": ")
		if !slices.Contains(got.header.Values(name), value) {
			t.Errorf("%s is %q, want %q", name, got.header.Values(name), value)
		}
	}
	for _, text := range s.body {
		if text = sc.expand(t, text); !bytes.Contains(got.body, []byte(text)) {
			t.Errorf("the body has no %q: %s", text, short(got.body))
		}
	}
	h.silent(t, s, sc, folder, got)
}

// silent looks for what no refusal may tell: a secret, and to who pushes the names that a good token needs.
func (h *house) silent(t testing.TB, s *step, sc scope, folder string, got reply) {
	t.Helper()
	secret := slices.Collect(maps.Values(h.tokens))
	secret = append(secret, idpToken, guardedAuth, h.site.AdminToken())
	if folder == "receive" && got.status >= 400 {
		secret = append(secret, sc["iss"], sc["aud"], "guarded.example.test", "hub.example.test")
	}
	for _, text := range s.hides {
		secret = append(secret, sc.expand(t, text))
	}
	var header bytes.Buffer
	must(t, got.header.Write(&header))
	for _, text := range secret {
		if bytes.Contains(got.body, []byte(text)) || strings.Contains(header.String(), text) {
			t.Errorf("the answer tells %q: %s", text, short(got.body))
		}
	}
}

func short(b []byte) string {
	if len(b) > 300 {
		return string(b[:300]) + "…"
	}
	return string(b)
}
