package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign/internal/hub"
	"countersign/internal/yaml"
)

type run struct {
	status         int
	stdout, stderr string
}

func command(t *testing.T, env map[string]string, stdin string, args ...string) run {
	t.Helper()
	var out, errs bytes.Buffer
	m := &Main{Args: args, Env: func(k string) string { return env[k] }, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs, Version: "0.1"}
	return run{m.Run(context.Background()), out.String(), errs.String()}
}

func TestToYAMLComesBack(t *testing.T) {
	for _, in := range []string{
		`{"kind":"policy","name":"p","on":["caep/session-revoked"],"then":[{"action":"revoke_sessions","scope":"app","at":"all"},{"deny":"disable_account","at":["crm","wiki"]}],"order":100}`,
		`{"a":"yes","b":"no","c":"on","d":"null","e":"1","f":"0x1","g":"2026-01-01","h":"","i":" x","j":"a: b","k":"#x","l":"- x","m":"x\ny","n":"\u2028","o":"🚀","p":"~","q":"!t","r":"&a","s":"*a","t":"1e3","u":".inf","v":"a #b","w":"a:","x":"'","y":"\"","z":"|"}`,
		`{"empty":{},"none":[],"nested":[[1,2],[{"a":[]}]],"t":true,"f":1.5,"long":["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]}`,
		`{"jwks":{"keys":[{"kty":"RSA","n":"0vx7","e":"AQAB"}]},"url":"https://wiki.example.test:8443/a?b=c","k e y":"v","on":"x"}`,
	} {
		text, err := toYAML(json.RawMessage(in))
		if err != nil {
			t.Fatal(err)
		}
		var back map[string]any
		if err := yaml.Decode(text, &back); err != nil {
			t.Errorf("%v\n%s", err, text)
			continue
		}
		if !sameValue(t, in, back) {
			t.Errorf("%s\nbecame\n%s\nwhich is\n%v", in, text, back)
		}
	}
}

func sameValue(t *testing.T, a string, b any) bool {
	t.Helper()
	var va any
	if err := json.Unmarshal([]byte(a), &va); err != nil {
		t.Fatal(err)
	}
	ca, _ := json.Marshal(va)
	cb, _ := json.Marshal(b)
	return bytes.Equal(ca, cb)
}

func FuzzToYAML(f *testing.F) {
	for _, s := range []string{"x", "yes", "a: b", "\n", "#", "\u0085", "\U0001f680", "0o7", "=", "<<"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		if strings.ContainsRune(key+value, '\ufffd') || len(key) > 500 {
			return
		}
		in, err := json.Marshal(map[string]any{"k" + key: value, "list": []string{value}})
		if err != nil {
			t.Fatal(err)
		}
		text, err := toYAML(in)
		if err != nil {
			t.Fatal(err)
		}
		var back map[string]any
		if err := yaml.Decode(text, &back); err != nil {
			return // what the strict reader refuses is refused aloud
		}
		if !sameValue(t, string(in), back) {
			t.Errorf("%s became %v", in, back)
		}
	})
}

// Text from outside cannot steer the terminal, nor look like another line.
func TestOutputIsTame(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"items": []hub.Signal{{ID: "sig_1", IdentityName: "\x1b[2Jalice\u202e\nreceipt: fulfilled", Source: "a\tb", State: hub.SignalDone}}})
	}))
	defer srv.Close()
	r := command(t, nil, "", "signal", "list", "--server", srv.URL, "--token", "t")
	if r.status != 0 || strings.ContainsAny(r.stdout, "\x1b\u202e") || strings.Count(r.stdout, "\n") != 2 {
		t.Errorf("%d %q %q", r.status, r.stdout, r.stderr)
	}
}

func TestProblemsBecomeExitCodes(t *testing.T) {
	for code, exit := range map[hub.Code]int{hub.Invalid: 2, hub.Unauthenticated: 3, hub.Forbidden: 3, hub.NotFound: 4, hub.Conflict: 4, hub.Limited: 5, hub.Unavailable: 5, hub.Internal: 1} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code.HTTP())
			json.NewEncoder(w).Encode(problem{Title: "a title\x1b[2J", Code: code, Hint: "a hint", Reference: "ref_1"})
		}))
		r := command(t, nil, "", "source", "list", "--server", srv.URL, "--token", "t")
		srv.Close()
		if r.status != exit || !strings.Contains(r.stderr, "countersign: a title") || !strings.Contains(r.stderr, "next: a hint") || strings.Contains(r.stderr, "\x1b") || r.stdout != "" {
			t.Errorf("%s: %+v", code, r)
		}
		if code == hub.Internal && !strings.Contains(r.stderr, "ref_1") {
			t.Errorf("%+v", r)
		}
	}
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	if r := command(t, nil, "", "source", "list", "--server", srv.URL, "--token", "t"); r.status != 1 || !strings.Contains(r.stderr, "does --server name the admin listener") {
		t.Errorf("%+v", r)
	}
}

func TestTokensFromTheEnvironment(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer from-env" {
			w.WriteHeader(401)
		}
		w.Write([]byte(`{"items":[]}`))
	}))
	defer srv.Close()
	if r := command(t, map[string]string{"COUNTERSIGN_SERVER": srv.URL + "/", "COUNTERSIGN_TOKEN": "from-env"}, "", "app", "list"); r.status != 0 {
		t.Errorf("%+v", r)
	}
}

func TestLocalFiles(t *testing.T) {
	dir := t.TempDir()
	secrets := filepath.Join(dir, "secrets")
	for name, text := range map[string]string{"secrets/token": "value\r\n", "secrets/empty": "\n", "outside": "x"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "outside"), filepath.Join(secrets, "link")); err != nil {
		t.Fatal(err)
	}
	l := &localFiles{env: func(k string) string { return map[string]string{EnvPrefix + "A": "from-env", "HOME": "/root"}[k] }, dir: dir, secretsDir: secrets, secrets: map[string]string{}}
	ref := &hub.Secret{File: "token"}
	if err := l.secret(ref, "app.wiki.token"); err != nil || *ref != (hub.Secret{Stored: "app.wiki.token"}) || l.secrets["app.wiki.token"] != "value" {
		t.Errorf("%v %+v %v", err, ref, l.secrets)
	}
	ref = &hub.Secret{Env: EnvPrefix + "A"}
	if err := l.secret(ref, "b"); err != nil || l.secrets["b"] != "from-env" {
		t.Errorf("%v %v", err, l.secrets)
	}
	for name, c := range map[string]struct {
		ref   hub.Secret
		words string
	}{
		"out of the folder": {hub.Secret{File: "../outside"}, "must be below"},
		"an absolute path":  {hub.Secret{File: filepath.Join(dir, "outside")}, "must be below"},
		"a link out":        {hub.Secret{File: "link"}, "link"},
		"nothing there":     {hub.Secret{File: "none"}, "none"},
		"an empty file":     {hub.Secret{File: "empty"}, "is empty"},
		"another variable":  {hub.Secret{Env: "HOME"}, "must begin with COUNTERSIGN_SECRET_"},
		"an unset variable": {hub.Secret{Env: EnvPrefix + "B"}, "is not set"},
	} {
		if err := l.secret(&c.ref, "x"); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, ok := l.secrets["x"]; ok {
		t.Error("a refused reference left a value")
	}
}

func TestSecretIsNotAnArgument(t *testing.T) {
	if r := command(t, nil, "v", "secret", "set", "name", "value"); r.status != 2 || strings.Contains(r.stderr, "value ") {
		t.Errorf("%+v", r)
	}
}

// Every command says what it is for, and stands in a group.
func TestHelpIsWhole(t *testing.T) {
	root := (&Main{Version: "x"}).root()
	for _, c := range root.Commands() {
		if c.Short == "" || !c.Hidden && c.GroupID == "" && c.Name() != "help" && c.Name() != "completion" {
			t.Errorf("%s: short %q, group %q", c.Name(), c.Short, c.GroupID)
		}
		for _, s := range c.Commands() {
			if s.Short == "" {
				t.Errorf("%s has no short help", s.CommandPath())
			}
		}
	}
}

// A token goes over plain http to this machine only, and not to a name that looks like it.
func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{"localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true,
		"127.evil.example": false, "127.0.0.1.evil.example": false, "127.1": false, "10.0.0.1": false, "": false} {
		if loopback(host) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
}

// An error ends with the next step, also where nobody wrote one for it.
func TestErrorsEndWithTheNextStep(t *testing.T) {
	for _, c := range []struct {
		args   string
		stdin  string
		status int
		next   string
	}{
		{"bench frob", "", 2, "countersign bench --help"},
		{"bench deliver ingest", "", 2, "countersign bench --help"},
		{"bench deliver --alg HS256", "", 2, "countersign bench --help"},
		{"bench deliver --fan-out 0", "", 2, "countersign bench --help"},
		{"bench deliver --seconds 0", "", 2, "countersign bench --help"},
		{"bench loop --rate -1", "", 2, "countersign bench --help"},
		{"bench kill --kills -1", "", 2, "countersign bench --help"},
		{"bench kill --database mysql://x", "", 2, "leave it out for SQLite"},
		{"demo --once --json --database mysql://x", "", 2, "leave it out for SQLite"},
		{"source list --tenant UP", "", 2, "countersign tenant list"},
		{"apply -f /nowhere/a.yaml --server http://127.0.0.1:1 --token t", "", 2, "give files that can be read"},
		{"apply -f - --server http://127.0.0.1:1 --token t", "apiVersion: countersign/v1\nkind: polcy\nname: x\n", 2, "put it right and apply again"},
		{"receipt verify /etc/hostname --policy /nowhere/p.json", "", 3, "countersign receipt verify --help"},
		{"config check --config /nowhere/hub.yaml", "", 4, "countersign config example > /nowhere/hub.yaml"},
		{"config check a --config b", "", 2, "countersign config check --help"},
		{"secret set a", "", 2, "countersign serve"},
	} {
		r := command(t, nil, c.stdin, strings.Fields(c.args)...)
		lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
		if last := lines[len(lines)-1]; r.status != c.status || !strings.HasPrefix(last, "next: ") || !strings.Contains(last, c.next) || r.stdout != "" {
			t.Errorf("%s: status %d, stdout %q, stderr %q", c.args, r.status, r.stdout, r.stderr)
		}
	}
	wrapped := hub.Errorf(hub.Invalid, "--apply: %w", hub.Errorf(hub.Invalid, "a").WithHint("b"))
	if h := hint(wrapped); h != "b" {
		t.Errorf("the hint of a wrapped error is %q", h)
	}
}
