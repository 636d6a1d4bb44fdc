package console

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"countersign/internal/sight"
)

type visitor struct {
	t      *testing.T
	c      *Console
	cookie *http.Cookie
}

func (v *visitor) do(method, target string, form url.Values, header ...string) *http.Response {
	v.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	r.Host = "127.0.0.1:8444"
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if v.cookie != nil {
		r.AddCookie(v.cookie)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	v.c.ServeHTTP(w, r)
	res := w.Result()
	for _, ck := range res.Cookies() {
		v.cookie = ck
		if ck.MaxAge < 0 {
			v.cookie = nil
		}
	}
	return res
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	var b strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := r.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return b.String()
		}
	}
}

type clockHand struct{ t time.Time }

func (c *clockHand) now() time.Time { return c.t }

func setup(t *testing.T) (*visitor, *clockHand) {
	hand := &clockHand{time.Unix(fixtureTime, 0)}
	return &visitor{t: t, c: newTestConsole(hand.now)}, hand
}

func (v *visitor) signIn(token, to string) *http.Response {
	return v.do("POST", "/sign-in", url.Values{"token": {token}, "to": {to}}, "Sec-Fetch-Site", "same-origin")
}

func TestSignIn(t *testing.T) {
	v, _ := setup(t)
	res := v.do("GET", "/signals/sig_x?a=b", nil)
	if res.StatusCode != 303 || res.Header.Get("Location") != "/sign-in?to=%2Fsignals%2Fsig_x%3Fa%3Db" {
		t.Fatal(res.StatusCode, res.Header)
	}
	if res := v.signIn("cs_wrong", "/"); res.StatusCode != 401 || v.cookie != nil || !strings.Contains(body(t, res), "not valid, or it has expired") {
		t.Error("a wrong token signs nobody in", res.StatusCode)
	}
	res = v.signIn("  "+operatorToken+"\n", "/signals")
	if res.StatusCode != 303 || res.Header.Get("Location") != "/signals" {
		t.Fatal(res.StatusCode, res.Header)
	}
	ck := v.cookie
	if !ck.HttpOnly || ck.SameSite != http.SameSiteStrictMode || ck.Path != "/" || strings.Contains(ck.Value, operatorToken) || len(ck.Value) < 40 {
		t.Errorf("cookie %+v", ck)
	}
	if res := v.do("GET", "/", nil); res.StatusCode != 200 || res.Header.Get("Cache-Control") != "no-store" {
		t.Error(res.StatusCode, res.Header)
	}
	if res := v.do("GET", "/sign-in", nil); res.StatusCode != 303 {
		t.Error("who is signed in needs no form", res.StatusCode)
	}
	if res := v.do("POST", "/sign-out", url.Values{}, "Sec-Fetch-Site", "same-origin"); res.StatusCode != 303 || v.cookie != nil {
		t.Error(res.StatusCode)
	}
	v.cookie = ck
	if res := v.do("GET", "/", nil); res.StatusCode != 303 {
		t.Error("the old cookie still works after signing out")
	}
}

func TestSecureCookieOverHTTPS(t *testing.T) {
	cfg := newTestConsole(nil).c
	cfg.Secure = true
	v := &visitor{t: t, c: New(cfg)}
	v.signIn(operatorToken, "/")
	if v.cookie == nil || !v.cookie.Secure {
		t.Errorf("%+v", v.cookie)
	}
}

func TestSessionEnds(t *testing.T) {
	for name, leave := range map[string]func(*visitor, *clockHand){
		"idle": func(_ *visitor, h *clockHand) { h.t = h.t.Add(sessionIdle) },
		"old": func(v *visitor, h *clockHand) {
			for range 15 {
				h.t = h.t.Add(50 * time.Minute)
				v.do("GET", "/", nil)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			v, hand := setup(t)
			v.signIn(operatorToken, "/")
			hand.t = hand.t.Add(sessionIdle - time.Minute)
			if res := v.do("GET", "/", nil); res.StatusCode != 200 {
				t.Fatal("ended too early")
			}
			leave(v, hand)
			if res := v.do("GET", "/", nil); res.StatusCode != 303 {
				t.Error("the session did not end")
			}
		})
	}
}

func TestTokenWithoutScopeReadsNothing(t *testing.T) {
	v, _ := setup(t)
	v.signIn("cs_writer_only", "/")
	res := v.do("GET", "/signals/sig_06c1zr2t3v0g9m5a7k8b1n4q2e", nil)
	if text := body(t, res); res.StatusCode != 403 || strings.Contains(text, "alice") {
		t.Error(res.StatusCode)
	}
}

// Streams have a scope of their own, and who lacks it is not led to them.
func TestStreamsHaveTheirScope(t *testing.T) {
	v, _ := setup(t)
	v.signIn("cs_reader", "/")
	for path, want := range map[string]int{"/": 200, "/orders": 200, "/orders/ord-7Q2MZK4VXW3N9RTD": 200, "/streams": 403, "/streams/" + forumStream: 403, "/sources": 403, "/sources/hr": 403} {
		res := v.do("GET", path, nil)
		text := body(t, res)
		if res.StatusCode != want || want == 403 && (strings.Contains(text, "forum") || !strings.Contains(text, "resources.read")) {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
		if strings.Contains(text, `href="/streams"`) || strings.Contains(text, `href="/sources"`) {
			t.Errorf("%s leads to streams or sources", path)
		}
	}
}

func TestListsOfWhatIsTransmitted(t *testing.T) {
	v, _ := setup(t)
	v.signIn(operatorToken, "/")
	for path, want := range map[string]struct{ has, lacks string }{
		"/sources":                      {"keycloak", "evil"},
		"/sources?show=failing":         {"okta", "keycloak"},
		"/sources/keycloak":             {"5\u202f120", "s3cret"},
		"/sources/hr":                   {"invalid_audience", "s3cret"},
		"/streams":                      {"crm-receiver", "evil"},
		"/streams?show=failing":         {"payroll", ">crm<"},
		"/streams?show=paused":          {"archive", "payroll"},
		"/streams?after=6":              {"archive", "payroll"},
		"/streams?after=x&show=nothing": {"crm-receiver", "No stream"},
		"/orders?show=overdue":          {"ord-B8C1D6H2J5P9K3W4", "ord-M4N7P0R3T6Q1X8Y2"},
		"/orders?show=disputed":         {"ord-disputed", "ord-queued"},
		"/orders?after=4":               {"ord-disputed", "ord-queued"},
		"/streams/" + forumStream:       {"412", "s3cret"},
		"/streams/warehouse":            {"there is no client warehouse-receiver", "figures"},
	} {
		res := v.do("GET", path, nil)
		if text := body(t, res); res.StatusCode != 200 || !strings.Contains(text, want.has) || strings.Contains(text, want.lacks) {
			t.Errorf("%s: %d, has %v, lacks %v", path, res.StatusCode, strings.Contains(text, want.has), !strings.Contains(text, want.lacks))
		}
	}
	v.c.c.Streams = func() (sight.Streams, sight.Outbox) { return nil, nil }
	for _, path := range []string{"/streams", "/orders", "/streams/x", "/orders/x"} {
		if res := v.do("GET", path, nil); res.StatusCode != 503 {
			t.Errorf("%s while nothing is transmitted: %d", path, res.StatusCode)
		}
	}
	if res := v.do("GET", "/signals/sig_06c1zr2t3v0g9m5a7k8b1n4q2e", nil); res.StatusCode != 200 {
		t.Error("a story needs no streams", res.StatusCode)
	}
}

func TestForeignFormsAreRefused(t *testing.T) {
	v, _ := setup(t)
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
		if res := v.do("POST", "/sign-in", url.Values{"token": {operatorToken}}, header...); res.StatusCode != 403 || v.cookie != nil {
			t.Errorf("%v: %d", header, res.StatusCode)
		}
	}
}

func TestForeignHostsAreRefused(t *testing.T) {
	v, _ := setup(t)
	for host, want := range map[string]int{"localhost:8444": 200, "127.0.0.1": 200, "[::1]:8444": 200, "evil.example": 421, "evil.example:8444": 421, "": 421} {
		if res := v.do("GET", "/sign-in", nil, "Host", host); res.StatusCode != want {
			t.Errorf("host %q: %d, want %d", host, res.StatusCode, want)
		}
	}
}

func TestSafeTarget(t *testing.T) {
	for in, want := range map[string]string{
		"/signals/x?a=b": "/signals/x?a=b", "": "/", "//evil.example": "/", "https://evil.example/": "/", "/\\evil.example": "/", "javascript:alert(1)": "/", "/a\nb": "/", "/sign-out": "/", "/sign-in?to=/": "/",
	} {
		if got := safeTarget(in); got != want {
			t.Errorf("%q gives %q, want %q", in, got, want)
		}
	}
}

func TestHeadersAndAssets(t *testing.T) {
	v, _ := setup(t)
	res := v.do("GET", "/sign-in", nil)
	if res.Header.Get("Content-Security-Policy") != policy || res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Error(res.Header)
	}
	for _, banned := range []string{"unsafe", "script-src", "*", "data:"} {
		if strings.Contains(policy, banned) {
			t.Errorf("the policy says %s", banned)
		}
	}
	for path, ct := range map[string]string{stylePath: "text/css; charset=utf-8", iconPath: "image/svg+xml"} {
		res := v.do("GET", path, nil)
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != ct || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", path, res.StatusCode, res.Header)
		}
	}
	if res := v.do("GET", "/assets/0000/console.css", nil); res.StatusCode != 404 {
		t.Error("a stale path answers", res.StatusCode)
	}
}

func TestFailingPages(t *testing.T) {
	v, _ := setup(t)
	v.signIn(operatorToken, "/")
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"/signals/sig_none":  {404, "Nothing with this id is kept."},
		"/receipts/rct_none": {404, "Nothing with this id is kept."},
		"/streams/stm_none":  {404, "Nothing with this id is kept."},
		"/sources/none":      {404, "Nothing with this id is kept."},
		"/orders/ord_none":   {404, "Nothing with this id is kept."},
		"/elsewhere":         {404, "There is nothing at this address"},
		"/?after=fail":       {500, "ref_"},
	} {
		res := v.do("GET", path, nil)
		text := body(t, res)
		if res.StatusCode != want.status || !strings.Contains(text, want.text) {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
		if strings.Contains(text, "secret detail") {
			t.Errorf("%s shows the raw error", path)
		}
	}
}

func TestSessionsAreBounded(t *testing.T) {
	hand := &clockHand{time.Unix(fixtureTime, 0)}
	s := newSessions(hand.now)
	for range maxSessions + 10 {
		s.start("t")
	}
	if len(s.all) > maxSessions {
		t.Errorf("%d sessions", len(s.all))
	}
}
