package hostile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"countersign/event/caep"
	"countersign/internal/cli"
	"countersign/internal/req"
	"countersign/receipt"
)

// TestEvilContent has a transmitter with a good key say things that are meant for whoever reads them: markup, what terminals
// act on, what looks like an instruction, a path or a statement. What is taken is shown as text everywhere, and does nothing:
// on pages, on the command line, in logs, in refusals and in receipts.
func TestEvilContent(t *testing.T) {
	h := build(t, "", false, nil)
	h.good(t)
	before := h.count(t)
	cookie := h.signIn(t)
	texts := evilTexts(t)
	shown := 0
	for name, text := range texts {
		quoted, err := json.Marshal(text)
		must(t, err)
		for place, claims := range evilClaims(string(quoted)) {
			if status := h.pushEvil(t, claims); status != 202 && status != 400 && status != 413 {
				t.Errorf("%s in %s: %d", name, place, status)
			}
		}
	}
	h.pushEvil(t, strings.Replace(usualClaims, `{"format":"opaque","id":"nobody"}`, `{"format":"complex"${ten-thousand-parts}}`, 1))
	h.pushEvil(t, strings.Replace(usualClaims, `{"format":"opaque","id":"nobody"}`, `{"format":"aliases","identifiers":[${thousand-opaque}]}`, 1))
	eventually(t, "the hub to be at rest", func() bool { return h.count(t)["jobs"] == before["jobs"] })
	h.hub.Refusals(t.Context()) // what was refused is written down

	var signals, receipts, refusals struct {
		Items []json.RawMessage `json:"items"`
	}
	h.call(t, "GET", "/api/v1/signals?limit=500", nil, &signals)
	h.call(t, "GET", "/api/v1/receipts?limit=500", nil, &receipts)
	h.call(t, "GET", "/api/v1/sources/idp/refusals?limit=500", nil, &refusals)
	if len(signals.Items) < len(texts) || len(refusals.Items) == 0 || len(receipts.Items) == 0 {
		t.Fatalf("%d signals, %d refusals, %d receipts: too little to look at", len(signals.Items), len(refusals.Items), len(receipts.Items))
	}
	inert := func(where, text string, markup bool) {
		t.Helper()
		shown++
		if r, at := acted(text); r != 0 {
			t.Errorf("%s has %U: …%q…", where, r, text[max(0, at-60):min(len(text), at+60)])
		}
		if !markup {
			return
		}
		for _, bad := range []string{"<script>alert", "<img src=x", "<svg onload", "onfocus=alert('evil') x=\"\"", "href=\"javascript:", "</system><user>"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s has %q", where, bad)
			}
		}
	}
	for _, path := range []string{"/", "/signals", "/signals?limit=500", "/receipts", "/actions", "/sources/idp"} {
		if status, page := h.page(t, cookie, path); status == 200 {
			inert("the page "+path, page, true)
		} else if status >= 500 {
			t.Errorf("the page %s: %d", path, status)
		}
	}
	for _, words := range [][]string{{"signal", "list"}, {"receipt", "list"}, {"action", "list"}, {"source", "refused", "idp"}, {"source", "show", "idp"}} {
		inert("the command "+strings.Join(words, " "), h.command(t, words...), false)
	}
	for _, raw := range signals.Items {
		var sig struct {
			ID string `json:"id"`
		}
		must(t, json.Unmarshal(raw, &sig))
		status, page := h.page(t, cookie, "/signals/"+sig.ID)
		if status != 200 {
			t.Errorf("the page of a signal: %d", status)
		}
		inert("the page of a signal", page, true)
		inert("the command signal show", h.command(t, "signal", "show", sig.ID), false)
	}
	for _, raw := range receipts.Items {
		var r struct {
			ID string `json:"id"`
		}
		must(t, json.Unmarshal(raw, &r))
		_, page := h.page(t, cookie, "/receipts/"+r.ID)
		inert("the page of a receipt", page, true)
		inert("the command receipt show", h.command(t, "receipt", "show", r.ID), false)
	}
	for _, raw := range append(refusals.Items, receipts.Items...) {
		inert("the API", string(raw), false)
	}
	for line := range strings.Lines(h.log.String()) {
		inert("the log", strings.TrimSuffix(line, "\n"), false)
		if !strings.HasPrefix(line, "time=") {
			t.Errorf("a line of the log that is none of ours: %q", line)
		}
	}
	after := h.count(t)
	if after["trap"] != before["trap"] || after["resources"] != before["resources"] || after["tokens"] != before["tokens"] || after["app"]-before["app"] > 4*len(texts) {
		t.Errorf("before %v, after %v", before, after)
	}
	if shown < 3*len(texts) {
		t.Errorf("only %d things were looked at", shown)
	}
	h.good(t)
	h.silentLog(t)
	req.Covers(t, "RX-106")
}

// evilClaims are payloads with a text in every place that one may hold.
func evilClaims(text string) map[string]string {
	in := func(from, to string) string { return strings.Replace(usualClaims, from, to, 1) }
	return map[string]string{
		"a reason":   in(`{"event_timestamp"`, `{"reason_admin":{"en":`+text+`,"de":`+text+`},"reason_user":{"en":`+text+`},"event_timestamp"`),
		"a member":   in(`{"event_timestamp"`, `{`+text+`:`+text+`,"event_timestamp"`),
		"the jti":    in(`"jti":"${jti}"`, `"jti":`+text),
		"the txn":    in(`"txn":"${txn}"`, `"txn":`+text),
		"a subject":  in(`{"format":"opaque","id":"nobody"}`, `{"format":"opaque","id":`+text+`}`),
		"an address": in(`{"format":"opaque","id":"nobody"}`, `{"format":"email","email":`+text+`}`),
		"an account": in(`{"format":"opaque","id":"nobody"}`, `{"format":"iss_sub","iss":"${iss}","sub":`+text+`}`),
		"a device":   in(`{"format":"opaque","id":"nobody"}`, `{"format":"complex","user":{"format":"email","email":"alice@example.test"},"device":{"format":"opaque","id":`+text+`},"session":{"format":"opaque","id":`+text+`}}`),
		"a type":     strings.Replace(usualClaims, caep.SessionRevokedURI, "urn:evil:"+strings.Trim(text, `"`), 1),
		"an order": strings.Replace(in(`{"format":"opaque","id":"nobody"}`, `{"format":"email","email":"alice@example.test"}`), `"txn":"${txn}"`,
			fmt.Sprintf(`"txn":"${txn}",%q:{"obligation":"must","complete_by":${now+600},"actions":[{"id":"a1","action":"revoke_sessions","params":{"reach":"global"},"note":%s}],"reason":%s}`, receipt.Default().Directive, text, text), 1),
		"an issuer": in(`"iss":"${iss}"`, `"iss":`+text),
		"an aud":    in(`"aud":"${aud}"`, `"aud":`+text),
	}
}

// evilTexts reads testdata/evil/texts.txt.
func evilTexts(t *testing.T) map[string]string {
	t.Helper()
	raw, err := os.ReadFile("testdata/evil/texts.txt")
	must(t, err)
	out := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, quoted, _ := strings.Cut(line, " ")
		text, err := strconv.Unquote(strings.TrimSpace(quoted))
		must(t, err)
		if rest, n, ok := strings.Cut(text, "${repeat "); ok {
			count, what, _ := strings.Cut(strings.TrimSuffix(n, "}"), " ")
			times, err := strconv.Atoi(count)
			must(t, err)
			text = rest + strings.Repeat(what, times)
		}
		out[name] = text
	}
	if len(out) < 30 {
		t.Fatalf("%d texts", len(out))
	}
	return out
}

// pushEvil signs a payload with the issuer's key and pushes it.
func (h *house) pushEvil(t *testing.T, claims string) int {
	t.Helper()
	sc := h.scope(&testCase{name: "evil"})
	token := h.keys.sign(t, "RS256", "", sc.expand(t, claims))
	r, err := http.NewRequest("POST", h.hub.PublicURL()+h.vars["idp"], strings.NewReader(token))
	must(t, err)
	r.Header.Set("Content-Type", "application/secevent+jwt")
	resp, err := h.client.Do(r)
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) { // the answer to a token that is too large was lost
		return http.StatusRequestEntityTooLarge
	}
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	if r, _ := acted(string(body)); r != 0 || strings.Contains(string(body), "<script>") {
		t.Errorf("the answer quotes it: %q", body)
	}
	return resp.StatusCode
}

// acted finds a character that a terminal or a reader's eye acts on.
func acted(text string) (rune, int) {
	for i, r := range text {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' || r == '\u200b' || r == '\ufeff') {
			return r, i
		}
	}
	return 0, 0
}

// signIn gives the operator's cookie for the pages.
func (h *house) signIn(t *testing.T) *http.Cookie {
	t.Helper()
	form := url.Values{"token": {h.tokens["operator"]}, "to": {"/"}}
	r, err := http.NewRequest("POST", h.hub.AdminURL()+"/sign-in", strings.NewReader(form.Encode()))
	must(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	resp, err := h.client.Do(r)
	must(t, err)
	resp.Body.Close()
	if len(resp.Cookies()) != 1 {
		t.Fatalf("signing in gave %d and %d cookies", resp.StatusCode, len(resp.Cookies()))
	}
	return resp.Cookies()[0]
}

func (h *house) page(t *testing.T, cookie *http.Cookie, path string) (int, string) {
	t.Helper()
	r, err := http.NewRequest("GET", h.hub.AdminURL()+path, nil)
	must(t, err)
	r.AddCookie(cookie)
	resp, err := h.client.Do(r)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(body)
}

// command runs the program as an operator does, and gives all that it writes.
func (h *house) command(t *testing.T, words ...string) string {
	t.Helper()
	var out bytes.Buffer
	m := &cli.Main{Args: append(words, "--server", h.hub.AdminURL(), "--token", h.tokens["operator"], "--ca-file", h.dir+"/ca.crt"), Env: func(string) string { return "" },
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Version: "test"}
	if status := m.Run(t.Context()); status != 0 {
		t.Errorf("%s: status %d: %s", strings.Join(words, " "), status, short(out.Bytes()))
	}
	return out.String()
}
