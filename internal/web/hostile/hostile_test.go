package hostile

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"countersign/event/caep"
	"countersign/internal/pgtest"
	"countersign/internal/req"
	"countersign/subject"
	"countersign/transmitter"
)

// What a whole run may leave behind in a hub that still runs.
const (
	heapBound      = 24 << 20
	goroutineBound = 24
)

// TestHostile sends every case to a hub on SQLite over HTTP/1.1, and to one on PostgreSQL over HTTP/2. What
// stalls does so on a third hub beside them.
func TestHostile(t *testing.T) {
	began := runtime.NumGoroutine()
	t.Run("doors", func(t *testing.T) {
		slow := startSlow(t)
		t.Run("sqlite", func(t *testing.T) { everything(t, "", false) })
		t.Run("postgres", func(t *testing.T) {
			address, schema := pgtest.URL(t)
			u, err := url.Parse(address)
			must(t, err)
			q := u.Query()
			q.Set("search_path", schema)
			u.RawQuery = q.Encode()
			everything(t, u.String(), true)
		})
		t.Run("slow", slow)
	})
	// Everything is closed now. What is left over belongs to the standard library and to database drivers.
	for limit := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > began+goroutineBound && time.Now().Before(limit); {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > began+goroutineBound {
		stacks := make([]byte, 1<<20)
		t.Errorf("%d goroutines before, %d after:\n%s", began, n, stacks[:runtime.Stack(stacks, true)])
	}
}

// everything sends all cases but the slow ones to one hub.
func everything(t *testing.T, database string, http2 bool) {
	vectors := readVectors(t)
	h := build(t, database, http2, func(h *house) []any { return vectorSources(t, vectors) })
	h.good(t)
	heap, goroutines := measure()
	t.Run("vectors", func(t *testing.T) {
		for _, v := range vectors {
			t.Run(v.name, func(t *testing.T) { h.vector(t, v) })
		}
		req.Covers(t, "RX-47", "RX-48", "RX-49", "RX-50", "RX-51", "RX-52", "RX-53", "RX-54", "RX-55", "RX-56", "RX-57")
	})
	for _, folder := range []struct {
		name    string
		atLeast int
	}{{"receive", 180}, {"receipts", 80}, {"streams", 300}, {"api", 120}} {
		t.Run(folder.name, func(t *testing.T) {
			cases := readCases(t, folder.name, folder.atLeast)
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) { h.run(t, c, folder.name) })
				req.Covers(t, ids(c.clause)...)
			}
			for _, c := range cases {
				like := c.steps[len(c.steps)-1].sameAs
				if mine, theirs := h.bodies[c.name], h.bodies[like]; like != "" && mine != "" && theirs != "" && mine != theirs {
					t.Errorf("%s is answered with %s, %s with %s", c.name, mine, like, theirs)
				}
			}
		})
	}
	h.good(t)
	if h.trapped.Load() != 0 {
		t.Errorf("%d connections came to the listener that tokens point at", h.trapped.Load())
	}
	for until := time.Now().Add(5 * time.Second); ; {
		heapNow, goroutinesNow := measure()
		if heapNow < heap+heapBound && goroutinesNow <= goroutines+goroutineBound {
			t.Logf("heap %+d KiB, goroutines %+d", (int64(heapNow)-int64(heap))>>10, goroutinesNow-goroutines)
			break
		}
		if time.Now().After(until) {
			t.Errorf("heap from %d to %d bytes, goroutines from %d to %d", heap, heapNow, goroutines, goroutinesNow)
			break
		}
	}
	h.silentLog(t)
}

// measure gives the heap and the goroutines after everything idle was let go.
func measure() (heap uint64, goroutines int) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, runtime.NumGoroutine()
}

var idForm = regexp.MustCompile(`\b(?:RX|TX|SUB|AZ|IOP)-\d+\b|\b[AB]\d+\b`)

// ids are the requirements that a clause names.
func ids(clause string) []string { return idForm.FindAllString(clause, -1) }

// good has the issuer order something real, and wants the person signed out and a receipt taken.
func (h *house) good(t *testing.T) {
	t.Helper()
	h.last = nil
	h.site.SignInAs("u-alice")
	before, answers := h.count(t), h.answers.Load()
	order, err := json.Marshal(map[string]any{"obligation": "must", "complete_by": h.now().Add(time.Hour).Unix(),
		"actions": []any{map[string]any{"id": "a1", "action": "revoke_sessions", "params": map[string]string{"reach": "global"}}}})
	must(t, err)
	sent, err := h.idp.Send(t.Context(), transmitter.Message{Type: caep.SessionRevokedURI, SubID: subject.Email("alice@example.test").Raw(),
		Payload: fmt.Appendf(nil, `{"event_timestamp":%d}`, h.now().Unix()), Order: order})
	must(t, err)
	if len(sent.Queued) != 1 {
		t.Fatalf("the order went to %d streams", len(sent.Queued))
	}
	eventually(t, "the receipt of a good order", func() bool { return h.answers.Load() == answers+1 })
	if n := h.site.Live("u-alice"); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	eventually(t, "the hub to be at rest", func() bool { return h.count(t)["jobs"] == before["jobs"] })
	after := h.count(t)
	if got := after["push{new}"] - before["push{new}"]; got != 1 || after["signals"]-before["signals"] != 1 || after["receipts"]-before["receipts"] != 1 {
		t.Errorf("a good order: %v before, %v after", before, after)
	}
}

// silentLog holds the log to what it may tell: no token, no secret, no subject.
func (h *house) silentLog(t *testing.T) {
	t.Helper()
	text := h.log.String()
	if text == "" {
		t.Error("nothing was logged")
	}
	for _, secret := range append(valuesOf(h.tokens), idpToken, guardedAuth, h.site.AdminToken(), "eyJhbGciOi", "eyJ0eXAiOi", "eyJraWQiOi", "alice@example.test", "mira@") {
		if i := strings.Index(text, secret); i >= 0 {
			start := max(strings.LastIndexByte(text[:i], '\n'), 0)
			line, _, _ := strings.Cut(text[start+1:], "\n")
			t.Errorf("the log tells %q: %s", secret, short([]byte(line)))
		}
	}
}

func valuesOf(m map[string]string) (out []string) {
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// vectorFile is one token file of package set, and what the push door answers to it.
type vectorFile struct {
	name, policy, token string
	want                answer
}

// readVectors reads vectors.txt and the token files that it names.
func readVectors(t *testing.T) (out []vectorFile) {
	t.Helper()
	const folder = "../../../set/testdata/vectors"
	table, err := os.ReadFile("testdata/vectors.txt")
	must(t, err)
	named := map[string]bool{}
	for line := range strings.Lines(string(table)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		named[words[0]] = true
		if words[1] == "-" {
			continue
		}
		want, err := readExpect(strings.Join(words[1:], " "))
		must(t, err)
		v := vectorFile{name: words[0], want: want[0]}
		text, err := os.ReadFile(filepath.Join(folder, v.name+".txt"))
		must(t, err)
		head, token, _ := strings.Cut(string(text), "\n\n")
		v.token = strings.TrimSuffix(token, "\n")
		if strings.HasPrefix(v.token, `"`) {
			v.token, err = strconv.Unquote(v.token)
			must(t, err)
		}
		for line := range strings.Lines(head) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch name {
			case "policy":
				v.policy = value
			case "pad":
				n, err := strconv.Atoi(value)
				must(t, err)
				v.token += strings.Repeat("A", n)
			}
		}
		out = append(out, v)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	must(t, err)
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".txt"); !named[name] {
			t.Errorf("vectors.txt does not say what %s is answered with", name)
		}
	}
	return out
}

// vectorSources gives each token file a source of its own, since many have the same jti.
func vectorSources(t *testing.T, all []vectorFile) (out []any) {
	t.Helper()
	jwks, err := os.ReadFile("../../../set/testdata/vectors/jwks.json")
	must(t, err)
	for _, v := range all {
		keys := map[string]any{"jwks": json.RawMessage(jwks)}
		if v.policy == "rs256-only" {
			keys["algs"] = []string{"RS256"}
		}
		out = append(out, map[string]any{"kind": "source", "name": "vector-" + v.name, "type": "ssf", "issuer": "https://idp.example.com/ssf",
			"delivery": "push", "stream": "none", "audience": []string{"https://hub.example.net/in/1"}, "keys": keys,
			"correlate": []any{map[string]any{"format": "iss_sub", "as": "account_id"}}})
	}
	return out
}

func (h *house) vector(t *testing.T, v vectorFile) {
	c := &testCase{name: v.name, steps: []*step{{method: "POST", path: h.receivePath(t, "vector-"+v.name), auth: "none", times: 1, seq: 1, memory: 8 << 20,
		expect: []answer{v.want}, sections: map[string]string{"body": ""}}}}
	if v.want.status == 202 {
		c.steps[0].effects = []effect{{name: "signals", n: 1}, {name: "push{new}", n: 1}}
	} else {
		c.steps[0].effects = []effect{{name: "refused{" + v.want.err + "}", n: 1}}
	}
	h.vars["vector"] = v.token
	c.steps[0].sections["body"] = "${vector}"
	h.run(t, c, "receive")
}
