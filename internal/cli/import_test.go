package cli

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hubOf answers one path with lines, and keeps what it was asked.
func hubOf(t *testing.T, status int, answer string) (address string, asked *[]string) {
	t.Helper()
	asked = &[]string{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*asked = append(*asked, r.Method+" "+r.URL.String()+" "+r.Header.Get("Content-Type")+" "+string(body))
		if status != http.StatusOK {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
		}
		io.WriteString(w, answer)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, asked
}

func TestIdentityImport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "people.csv")
	if err := os.WriteFile(file, []byte("userName\nalice\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url, asked := hubOf(t, 200, `{"progress":{"phase":"check","rows":1}}
{"bad":{"line":3,"reason":"emails[0]: \u001b[2J is no e-mail address"}}
{"change":{"op":"update","kind":"identity","name":"alice","fields":["emails"]}}
{"done":{"dry_run":true,"written":false,"set":"hr","rows":2,"created":0,"updated":1,"unchanged":0,"deleted":0,"bad":1,"took_ms":20,"ignored_columns":["Cost Centre"]}}
`)
	r := command(t, nil, "", "identity", "import", file, "--set", "hr", "--map", "userName=name", "--dry-run", "--skip-bad", "--server", url, "--token", "t")
	if r.status != 0 || !strings.Contains(r.stdout, "update    alice (emails)") || !strings.Contains(r.stdout, "Nothing was written. 2 rows of the set hr: 0 created, 1 updated, 0 deleted, 0 unchanged, 1 wrong") ||
		!strings.Contains(r.stderr, "line 3: emails[0]") || !strings.Contains(r.stderr, "Left out: the columns Cost Centre.") || strings.Contains(r.stderr, "\x1b") {
		t.Errorf("%d %q %q", r.status, r.stdout, r.stderr)
	}
	want := "POST /api/v1/import/identities?dry_run=true&map=userName%3Dname&set=hr&skip_bad=true text/csv userName\nalice\n"
	if len(*asked) != 1 || (*asked)[0] != want {
		t.Errorf("asked %q", *asked)
	}
	// A trial fails where the import itself would.
	r = command(t, nil, "name\nx\n", "identity", "import", "-", "--dry-run", "--server", url, "--token", "t")
	if r.status != 2 || !strings.Contains(r.stderr, "1 of 2 rows are wrong: without --skip-bad nothing would be written") {
		t.Errorf("%d %q", r.status, r.stderr)
	}
	// Wrong rows without --skip-bad are a failure that says what to do.
	url, _ = hubOf(t, 200, `{"done":{"dry_run":false,"written":false,"set":"import","rows":2,"created":1,"updated":0,"unchanged":0,"deleted":0,"bad":1,"took_ms":1}}`+"\n")
	r = command(t, nil, "name\nx\n", "identity", "import", "-", "--server", url, "--token", "t")
	if r.status == 0 || !strings.Contains(r.stderr, "nothing was written: 1 of 2 rows are wrong") || !strings.Contains(r.stderr, "--skip-bad") {
		t.Errorf("%d %q", r.status, r.stderr)
	}
	for name, c := range map[string]struct {
		status             int
		answer, want, next string
	}{
		"refused":    {400, `{"title":"the file cannot be read","code":"invalid","hint":"map it"}`, "the file cannot be read", "map it"},
		"broken off": {200, `{"progress":{"phase":"write","rows":1}}` + "\n", "broke off", "run the import again"},
		"failed":     {200, `{"error":{"title":"the app does not answer","code":"unavailable","hint":"later"}}` + "\n", "the app does not answer", "later"},
	} {
		url, _ := hubOf(t, c.status, c.answer)
		r := command(t, nil, "name\nx\n", "identity", "import", "-", "--server", url, "--token", "t")
		if r.status == 0 || !strings.Contains(r.stderr, c.want) || !strings.Contains(r.stderr, c.next) {
			t.Errorf("%s: %d %q", name, r.status, r.stderr)
		}
	}
	if r := command(t, nil, "", "identity", "import", file, "--prune", "--server", url, "--token", "t"); r.status == 0 || !strings.Contains(r.stderr, "--yes") {
		t.Errorf("prune without a yes: %d %q", r.status, r.stderr)
	}
}

func TestAccountCommands(t *testing.T) {
	url, asked := hubOf(t, 200, `{"done":{"dry_run":false,"written":true,"set":"import-wiki","rows":3,"created":1,"updated":0,"unchanged":1,"deleted":0,"bad":0,"unmatched":1,"took_ms":1}}`+"\n")
	r := command(t, nil, "", "account", "import", "--app", "wiki", "--server", url, "--token", "t")
	if r.status != 0 || !strings.Contains(r.stdout, "3 accounts of the set import-wiki: 1 created") || !strings.Contains(r.stderr, "1 accounts are nobody's yet") || !strings.HasSuffix((*asked)[0], `application/json {"app":"wiki"}`) {
		t.Errorf("%d %q %q %q", r.status, r.stdout, r.stderr, *asked)
	}
	if r := command(t, nil, "", "account", "import", "--server", url, "--token", "t"); r.status == 0 || !strings.Contains(r.stderr, "--app is needed") {
		t.Errorf("%d %q", r.status, r.stderr)
	}
	url, asked = hubOf(t, 200, `{"items":[{"at":"wiki","id":"1","identity":"alice","set":"import-wiki","imported_at":1789462800000000},{"at":"wiki","id":"1","identity":"bob"}]}`)
	r = command(t, nil, "", "account", "list", "--at", "wiki", "--server", url, "--token", "t")
	if r.status != 0 || !strings.Contains(r.stdout, "set import-wiki") || !strings.Contains(r.stdout, "the identity") {
		t.Errorf("%d %q %q", r.status, r.stdout, r.stderr)
	}
	r = command(t, nil, "", "account", "show", "wiki", "a/b", "--server", url, "--token", "t")
	if r.status != 0 || !strings.Contains(r.stderr, "ambiguous") || !strings.Contains((*asked)[1], "/accounts/wiki/a%2Fb") {
		t.Errorf("%d %q %q", r.status, r.stderr, *asked)
	}
}

func TestSignalRedrive(t *testing.T) {
	url, asked := hubOf(t, 200, `{"queued":2}`)
	r := command(t, nil, "", "signal", "redrive", "sig_1", "sig_2", "--server", url, "--token", "t")
	if r.status != 0 || !strings.Contains(r.stdout, "2 signals are looked at again") || !strings.HasSuffix((*asked)[0], `{"ids":["sig_1","sig_2"]}`) {
		t.Errorf("%d %q %q", r.status, r.stdout, *asked)
	}
	for _, args := range [][]string{{"signal", "redrive"}, {"signal", "redrive", "sig_1", "--unresolved"}, {"signal", "list", "--unresolved", "--state", "done"}} {
		if r := command(t, nil, "", append(args, "--server", url, "--token", "t")...); r.status == 0 {
			t.Errorf("%v was taken", args)
		}
	}
}
