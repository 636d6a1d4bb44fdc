package connector_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"countersign/connectors"
	"countersign/internal/connector"
	"countersign/internal/req"
)

// Every embedded pack holds to its pairs.
func TestPairs(t *testing.T) {
	entries, err := fs.ReadDir(connectors.FS, ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Run(e.Name(), func(t *testing.T) {
			dir, err := fs.Sub(connectors.FS, e.Name())
			if err != nil {
				t.Fatal(err)
			}
			if err := connector.CheckFS(dir); err != nil {
				t.Error(err)
			}
			if e.Name() == "http-sessions" {
				req.Covers(t, "S12")
			}
		})
	}
}

func read(t testing.TB, name string) string {
	t.Helper()
	data, err := fs.ReadFile(connectors.FS, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestCheckRefuses(t *testing.T) {
	pack, pair := read(t, "demo-crm/pack.yaml"), read(t, "demo-crm/testdata/end-all.txtar")
	for _, c := range []struct {
		name string
		dir  fstest.MapFS
		want []string
	}{
		{"no pairs", fstest.MapFS{"pack.yaml": {Data: []byte(pack)}}, []string{"README.md", "end_all_sessions has no pair", "lookup_account has no pair"}},
		{"another request", fstest.MapFS{"pack.yaml": {Data: []byte(pack)}, "testdata/a.txtar": {Data: []byte(strings.Replace(pair, "users/17", "users/18", 1))}}, []string{"testdata/a.txtar:10: request: is"}},
		{"another class", fstest.MapFS{"pack.yaml": {Data: []byte(pack)}, "testdata/a.txtar": {Data: []byte(strings.Replace(pair, "class: done", "class: accepted", 1))}}, []string{"judged.done: the class is done and not accepted"}},
		{"no judgement", fstest.MapFS{"pack.yaml": {Data: []byte(pack)}, "testdata/a.txtar": {Data: []byte(strings.Replace(pair, "-- judged.lost --", "-- other --", 1))}}, []string{"has no judged.lost"}},
		{"broken pack", fstest.MapFS{"pack.yaml": {Data: []byte("id: x\ntitel: y\n")}}, []string{"pack.yaml: line 2:1: the key titel is not known here: did you mean title?"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := connector.CheckFS(c.dir)
			for _, w := range c.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("got %v, want %q", err, w)
				}
			}
		})
	}
}

func TestPackRefusals(t *testing.T) {
	base := read(t, "http-sessions/pack.yaml")
	for _, c := range []struct{ name, old, new, want string }{
		{"CEL", `"status == 204"`, `"stats == 204"`, "line 27:11: column 1: undeclared reference"},
		{"next of another", "    sessions: 'body", "    next: 'body.next'\n    sessions: 'body", "only list_accounts has next"},
		{"accounts of another", "    sessions: 'body", "    accounts: 'body'\n    sessions: 'body", "list_accounts has accounts, and nothing else has"},
		{"operation", "end_all_sessions:", "end_all_session:", "there is no operation end_all_session; did you mean end_all_sessions?"},
		{"delete", "end_all_sessions:", "delete_account:", "it always needs an approval"},
		{"auth", "kind: bearer", "kind: oauth2", "this version acts on the auth kinds bearer and basic, not oauth2"},
		{"secret in rule", `"account.id == settings.own_account"`, `"account.id == secrets.token"`, "undeclared reference"},
		{"setting", "settings.own_account", "settings.own", "there is no member own here"},
		{"repeat", "repeat: gone", "repeat: maybe", "says what a repeat does"},
		{"method", "method: GET, path: /admin/users,", "method: DELETE, path: /admin/users,", "lookup_account only reads"},
		{"path", "path: /admin/users,", "path: admin/users,", "a path begins with one /"},
		{"query in path", "path: /admin/users,", "path: '/admin/users?x=1',", "a path holds no ?"},
		{"read-back", "use: list_sessions, proven: '!", "use: end_session, proven: '!", "read_back uses list_sessions or read_account_state"},
		{"no url", "url: {type: url", "address: {type: url", "a pack has the setting url"},
		{"checked", "how: run", "how: guessed", "checked.how is run, recorded or documented"},
		{"never", "never:", "nevr:", "did you mean never?"},
		{"rule with a number", `"status == 204"`, "204", "quote it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := strings.Replace(base, c.old, c.new, 1)
			if changed == base {
				t.Fatal("nothing changed")
			}
			if _, err := connector.ParsePack([]byte(changed)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func FuzzPack(f *testing.F) {
	for _, name := range []string{"http-sessions", "demo-crm", "demo-forum"} {
		f.Add([]byte(read(f, name+"/pack.yaml")))
	}
	f.Add([]byte("id: a\ntitle: b\nchecked: {date: 2026-01-01, how: run}\nsettings: {url: {type: url, title: x}}\nauth: {kind: basic, username: a, password: '${settings.url}'}\noperations: {revoke_tokens: {request: {method: POST, path: /x, json: {a: ['${account.id}', 1]}}, done: 'true', repeat: same}}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := connector.ParsePack(data)
		if err != nil {
			return
		}
		r := connector.NewRunner(connector.Config{})
		app := &connector.App{Pack: p, Settings: map[string]string{"url": "https://app.test/base"}, Secrets: map[string]string{"token": "hush-hush"}}
		for _, op := range p.Operations() {
			q, err := r.Describe(app, op, connector.Input{Account: "a b", Session: "s", Email: "a@b.test", Key: "k"})
			if err == nil && (!strings.HasPrefix(q.URL, "https://app.test/base/") || strings.Contains(q.URL+q.Body, "hush-hush")) {
				t.Fatalf("%+v", q)
			}
		}
	})
}
