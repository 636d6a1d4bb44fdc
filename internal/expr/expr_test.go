package expr_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/expr"
)

var event = expr.Shape{Members: map[string]expr.Kind{"initiating_entity": expr.Text, "reason_admin": expr.Map, "event_timestamp": expr.Int}}

func policyVars(ev map[string]any) map[string]any {
	return map[string]any{
		"signal":   map[string]any{"type": "https://x", "name": "caep/session-revoked", "event": ev},
		"identity": map[string]any{"name": "alice", "labels": []string{"contractor"}, "groups": []string{"finance"}},
		"actions":  []any{map[string]any{"action": "disable_account"}},
		"source":   "idp", "now": time.Unix(1789462800, 0),
	}
}

func TestPolicyConditions(t *testing.T) {
	env, err := expr.ForPolicy(event)
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]any{"initiating_entity": "user", "event_timestamp": int64(1789462795), "reason_admin": map[string]any{"en": "x"}}
	for _, c := range []struct {
		src  string
		ev   map[string]any
		want bool
	}{
		{`signal.event.?initiating_entity.orValue("") != "user"`, set, false},
		{`signal.event.?initiating_entity.orValue("none") == "none"`, nil, true},
		{`signal.event.initiating_entity == ""`, nil, true},
		{`has(signal.event.initiating_entity)`, nil, false},
		{`has(signal.event.initiating_entity)`, set, true},
		{`signal.event.event_timestamp > 100.5`, set, true},
		{`signal.event.event_timestamp == 0`, nil, true},
		{`"en" in signal.event.reason_admin`, nil, false},
		{`signal.event.reason_admin.en == "x"`, set, true},
		{`identity.labels.exists(l, l == "contractor")`, set, true},
		{`identity.emails.size() == 0`, set, true},
		{`actions.exists(a, a.action == "disable_account")`, set, true},
		{`source == "idp" && now > timestamp("2020-01-01T00:00:00Z")`, set, true},
		{`signal.event.initiating_entity.upperAscii().lowerAscii() == "user"`, set, true},
	} {
		p, err := env.Condition(c.src)
		if err != nil {
			t.Errorf("%s: %v", c.src, err)
			continue
		}
		if got, err := p.Bool(policyVars(c.ev)); err != nil || got != c.want {
			t.Errorf("%s: got %v %v, want %v", c.src, got, err, c.want)
		}
	}
	for src, want := range map[string]string{
		`signal.event.initiating_entitty != "user"`:     "column 13: there is no member initiating_entitty here; the event has event_timestamp, initiating_entity, reason_admin",
		`identity.nme == "x"`:                           "there is no member nme here",
		`signal.event`:                                  "true or false is wanted",
		`1 + 1`:                                         "true or false is wanted",
		`unknown_name`:                                  "undeclared reference",
		`signal.event.initiating_entity == 1`:           "no matching overload",
		`signal.event.?initiating_entity == `:           "Syntax error",
		`"` + strings.Repeat("x", expr.MaxSource) + `"`: "too long",
	} {
		if _, err := env.Condition(src); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: got %v, want %q", src, err, want)
		}
	}
	open, err := expr.ForPolicy(expr.Shape{Open: true})
	if err != nil {
		t.Fatal(err)
	}
	p, err := open.Condition(`signal.event.anything == "x"`)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.Bool(policyVars(nil)); got || err != nil {
		t.Error(got, err)
	}
}

func TestBudget(t *testing.T) {
	env, err := expr.ForRules(nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := env.Condition(`body.all(a, body.all(b, body.all(c, a + b + c >= 0)))`)
	if err != nil {
		t.Fatal(err)
	}
	body := make([]any, 1000)
	for i := range body {
		body[i] = int64(i)
	}
	if _, err := p.Bool(map[string]any{"body": body}); err == nil || !strings.Contains(err.Error(), "cost limit") {
		t.Errorf("got %v, want the cost limit", err)
	}
}

func TestRules(t *testing.T) {
	env, err := expr.ForRules([]string{"own_account"})
	if err != nil {
		t.Fatal(err)
	}
	body, err := expr.JSON([]byte(`{"users":[{"id":17,"email":"Alice@Example.test"},{"id":"b","email":"b@example.test"}],"ok":true}`))
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]any{"status": int64(404), "body": body, "looked_up": true, "wanted": map[string]any{"email": "alice@example.TEST"},
		"account": map[string]any{"id": "a"}, "session": map[string]any{"id": "s1"}, "settings": map[string]string{}, "headers": map[string]string{"retry-after": "3"},
		"sessions": []any{map[string]any{"id": "s1"}, map[string]any{"id": "s2"}}}
	for src, want := range map[string]any{
		"status == 404 && looked_up":              true,
		`!sessions.exists(s, s.id == session.id)`: false,
		`sessions.size() == 2`:                    true,
		`account.id == settings.own_account`:      false,
		`headers["retry-after"] == "3"`:           true,
		`body.ok`:                                 true,
		`body.?missing.orValue("none")`:           "none",
		`body.users.filter(u, u.email.lowerAscii() == wanted.email.lowerAscii()).map(u, {"id": u.id})`: []any{map[string]any{"id": int64(17)}},
	} {
		p, err := env.Compile(src)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if got, err := p.Value(vars); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: got %v %v, want %v", src, got, err, want)
		}
	}
	if _, err := env.Compile(`settings.own == ""`); err == nil {
		t.Error("an unknown setting passed")
	}
	if _, err := env.Compile(`secrets.token == ""`); err == nil {
		t.Error("rules know no secrets")
	}
}

func TestInterpolation(t *testing.T) {
	env, err := expr.ForRequests([]string{"url"}, []string{"token"})
	if err != nil {
		t.Fatal(err)
	}
	id := func(s string) map[string]any {
		return map[string]any{"account": map[string]any{"id": s}, "session": map[string]any{"id": s}, "settings": map[string]string{"url": s}, "secrets": map[string]string{"token": s}}
	}
	for _, c := range []struct {
		name, src string
		place     expr.Place
		slash     bool
		in, want  string
		unsafe    bool
	}{
		{"plain", "/users/${account.id}/sessions", expr.Path, false, "17", "/users/17/sessions", false},
		{"encoded", "/users/${account.id}", expr.Path, false, "auth0|a b%2e?#", "/users/auth0%7Ca%20b%252e%3F%23", false},
		{"empty", "/users/${account.id}", expr.Path, false, "", "", true},
		{"dot", "/users/${account.id}", expr.Path, false, ".", "", true},
		{"dots", "/users/${account.id}", expr.Path, false, "..", "", true},
		{"dots from parts", "/users/.${account.id}", expr.Path, false, ".", "", true},
		{"slash", "/users/${account.id}", expr.Path, false, "a/b", "", true},
		{"slash encoded", "/users/${account.id}", expr.Path, true, "a/b", "/users/a%2Fb", false},
		{"backslash", "/users/${account.id}", expr.Path, true, `a\b`, "", true},
		{"control", "/users/${account.id}", expr.Path, true, "a\x7f", "", true},
		{"newline", "/users/${account.id}", expr.Path, true, "a\n", "", true},
		{"not UTF-8", "/users/${account.id}", expr.Path, true, "a\xff", "", true},
		{"header", "Bearer ${secrets.token}", expr.Header, false, "abc", "Bearer abc", false},
		{"header CR LF", "Bearer ${secrets.token}", expr.Header, false, "a\r\nX: y", "", true},
		{"header NUL", "Bearer ${secrets.token}", expr.Header, false, "a\x00", "", true},
		{"query", "${account.id}", expr.Query, false, "a&b=c", "a&b=c", false},
		{"dollar", "$${account.id} costs $5", expr.Query, false, "x", "${account.id} costs $5", false},
		{"braces", `${{"a": account.id}.a + "}"}!`, expr.Query, false, "x", "x}!", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			tpl, err := env.Template(c.src, c.place, c.slash)
			if err != nil {
				t.Fatal(err)
			}
			got, err := tpl.Text(id(c.in))
			if errors.Is(err, expr.ErrUnsafe) != c.unsafe || got != c.want {
				t.Errorf("got %q %v, want %q", got, err, c.want)
			}
		})
	}
	if _, err := env.Template("${account.id", expr.Path, false); err == nil {
		t.Error("an open ${ passed")
	}
	tpl, err := env.Template("${[account.id]}", expr.InJSON, false)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := tpl.Value(id("x")); err != nil || !cmp.Equal(v, any([]any{"x"})) {
		t.Error(v, err)
	}
}

func FuzzInterpolate(f *testing.F) {
	env, err := expr.ForRequests(nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	path, err := env.Template("/a/${account.id}/b", expr.Path, false)
	if err != nil {
		f.Fatal(err)
	}
	slash, err := env.Template("/a/${account.id}/b", expr.Path, true)
	if err != nil {
		f.Fatal(err)
	}
	header, err := env.Template("x${account.id}", expr.Header, false)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"", ".", "..", "a/b", "%2e%2e", "a\\b", "a\r\nb", "ü", "\xff", "?x#y", "a;b", "／", "\u202e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		vars := map[string]any{"account": map[string]any{"id": s}}
		for _, tpl := range []*expr.Template{path, slash} {
			got, err := tpl.Text(vars)
			if err != nil {
				continue
			}
			u, err := url.Parse("https://app.test" + got)
			if err != nil || u.Host != "app.test" || u.RawQuery != "" || u.Fragment != "" {
				t.Fatalf("%q gave %q: %v", s, got, err)
			}
			segments := strings.Split(u.EscapedPath(), "/")
			if len(segments) != 4 || segments[1] != "a" || segments[3] != "b" {
				t.Fatalf("%q gave the path %q", s, got)
			}
			if back, err := url.PathUnescape(segments[2]); err != nil || back != s {
				t.Fatalf("%q came back as %q", s, back)
			}
		}
		if got, err := header.Text(vars); err == nil && strings.ContainsAny(got, "\r\n\x00") {
			t.Fatalf("header %q", got)
		}
	})
}

func FuzzCompile(f *testing.F) {
	env, err := expr.ForPolicy(event)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{`signal.event.initiating_entity == "x"`, `actions.exists(a, true)`, `"x".format([1])`, `lists.range(10)`, `a ? b : c`, "${", `{"a": [1]}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := env.Compile(s); err == nil {
			_, _ = p.Value(policyVars(nil))
		}
	})
}

func BenchmarkCondition(b *testing.B) {
	env, err := expr.ForPolicy(event)
	if err != nil {
		b.Fatal(err)
	}
	p, err := env.Condition(`signal.event.?initiating_entity.orValue("") != "user" && identity.labels.exists(l, l == "contractor")`)
	if err != nil {
		b.Fatal(err)
	}
	vars := policyVars(map[string]any{"initiating_entity": "admin"})
	for b.Loop() {
		if ok, err := p.Bool(vars); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func ExampleEnv_Condition() {
	env, _ := expr.ForPolicy(event)
	p, _ := env.Condition(`signal.event.initiating_entity == "policy"`)
	ok, _ := p.Bool(policyVars(map[string]any{"initiating_entity": "policy"}))
	fmt.Println(ok)
	// Output: true
}
