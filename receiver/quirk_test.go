package receiver_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/req"
	"countersign/receiver"
)

// row is a file under testdata/quirks: a token as a partner writes it.
type row struct {
	About     string          `json:"about"`
	Payload   json.RawMessage `json:"payload"`
	Header    map[string]any  `json:"header"` // in place of {"typ": "secevent+jwt"}
	MediaType string          `json:"media_type"`
	Strict    struct {
		Status int    `json:"status"`
		Err    string `json:"err"`
	} `json:"strict"`
	Needs []string        `json:"needs"` // the switches that make it 202; null: nothing does
	Uses  []string        `json:"uses"`  // what is noticed then, where that is more
	SubID json.RawMessage `json:"sub_id"`
	Event json.RawMessage `json:"event"`
	TXN   string          `json:"txn"`
}

func (r *row) token(t *testing.T) string {
	t.Helper()
	header := map[string]any{"typ": "secevent+jwt"}
	if r.Header != nil {
		header = r.Header
	}
	header["alg"], header["kid"] = "ES256", "k1"
	raw, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	input := base64.RawURLEncoding.EncodeToString(raw) + "." + base64.RawURLEncoding.EncodeToString(r.Payload)
	compact, err := newSigner().Complete(input)
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func rows(t *testing.T) map[string]*row {
	t.Helper()
	files, err := filepath.Glob("testdata/quirks/*.json")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d rows, %v", len(files), err)
	}
	all := map[string]*row{}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		r := new(row)
		if err := json.Unmarshal(raw, r); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".json")] = r
	}
	return all
}

// Strict refuses, and names what would let pass; with exactly these switches it is kept in the standard form; with any of
// them missing it is refused again.
func TestQuirks(t *testing.T) {
	proven := map[string]bool{}
	for name, r := range rows(t) {
		t.Run(name, func(t *testing.T) {
			try := func(q receiver.Quirks) (*bench, int, string) {
				b := newBench(t)
				b.handler.Quirks = q
				request := push(r.token(t))
				if r.MediaType != "" {
					request.Header.Set("Content-Type", r.MediaType)
				}
				w := b.do(request)
				var answer struct {
					Err string `json:"err"`
				}
				_ = json.Unmarshal(w.Body.Bytes(), &answer) // a 202 has no body
				return b, w.Code, answer.Err
			}
			b, status, code := try(receiver.Quirks{})
			if status != r.Strict.Status || code != r.Strict.Err {
				t.Fatalf("strict: %d %s, want %d %s: %v", status, code, r.Strict.Status, r.Strict.Err, b.reason)
			}
			named, _ := errors.AsType[*receiver.QuirkError](b.reason)
			switch {
			case r.Needs == nil && named != nil:
				t.Errorf("strict: %v are said to let it pass, and nothing does", named.IDs)
			case len(r.Needs) > 0 && (named == nil || !slices.Equal(named.IDs, r.Needs)):
				t.Errorf("strict: the reason %v does not name %v", b.reason, r.Needs)
			}
			var all receiver.Quirks
			for _, k := range receiver.QuirkTable {
				if err := all.Set(k.ID); err != nil {
					t.Fatal(err)
				}
			}
			if r.Needs == nil {
				if _, status, code := try(all); status != r.Strict.Status || code != r.Strict.Err {
					t.Errorf("with everything let pass: %d %s, want %d %s", status, code, r.Strict.Status, r.Strict.Err)
				}
				return
			}
			var q receiver.Quirks
			for _, id := range r.Needs {
				if err := q.Set(id); err != nil {
					t.Fatal(err)
				}
			}
			if r.TXN != "" {
				q.TXNInEvent = true
			}
			b, status, _ = try(q)
			if status != 202 || len(b.kept) != 1 {
				t.Fatalf("let pass: %d: %v", status, b.reason)
			}
			d := b.kept[0]
			sameJSON(t, "sub_id", d.SubID, r.SubID)
			sameJSON(t, "event", d.Event.Payload, r.Event)
			if d.TXN != r.TXN {
				t.Errorf("txn %q, want %q", d.TXN, r.TXN)
			}
			uses := r.Uses
			if uses == nil {
				uses = r.Needs
			}
			if r.MediaType == "" && !slices.Equal(sorted(d.Quirks), sorted(uses)) {
				t.Errorf("noticed %v, want %v", d.Quirks, uses)
			}
			if string(d.Token.Payload()) != string(r.Payload) {
				t.Error("the token's own bytes were changed")
			}
			for _, id := range r.Needs {
				proven[id] = true
				var less receiver.Quirks
				for _, other := range r.Needs {
					if other != id {
						_ = less.Set(other)
					}
				}
				if _, status, _ := try(less); status == 202 {
					t.Errorf("without %s it is let pass all the same", id)
				}
			}
			for _, id := range uses {
				proven[id] = true
			}
		})
	}
	for _, k := range receiver.QuirkTable {
		if !proven[k.ID] && !clientQuirk[k.ID] && k.ID != "Q-34" { // ALL is the correlation's
			t.Errorf("no row shows %s", k.ID)
		}
	}
	req.Covers(t, "RX-56", "RX-68", "LEG-10", "LEG-11", "LEG-12", "LEG-13", "LEG-17", "LEG-27", "EV-14",
		"Q-22", "Q-30", "Q-30/sub", "Q-31", "Q-32", "Q-35", "Q-36", "Q-37", "Q-38", "Q-39", "Q-41", "Q-41/exp", "Q-41/aud", "Q-41/typ", "Q-45", "Q-53", "L-8")
}

// clientQuirk are those about the stream API.
var clientQuirk = map[string]bool{"Q-01": true, "Q-14/query": true, "Q-18/create": true, "Q-54/token": true}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

func sameJSON(t *testing.T, what string, got, want json.RawMessage) {
	t.Helper()
	if want == nil {
		return
	}
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		t.Errorf("%s: %s: %v", what, got, err)
	}
	if err := json.Unmarshal(want, &b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, a); diff != "" {
		t.Errorf("%s: (-want +got)\n%s", what, diff)
	}
}

// FuzzQuirks: whatever the payload, nothing panics, and what strict takes is taken with every switch on as well, but for
// subjects in two places.
func FuzzQuirks(f *testing.F) {
	files, _ := filepath.Glob("testdata/quirks/*.json")
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		var r row
		if err := json.Unmarshal(raw, &r); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(r.Payload))
	}
	var all receiver.Quirks
	for _, k := range receiver.QuirkTable {
		_ = all.Set(k.ID)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		r := row{Payload: payload}
		compact := r.token(t)
		strict, relaxed := newBench(t), newBench(t)
		relaxed.handler.Quirks = all
		a, b := strict.do(push(compact)).Code, relaxed.do(push(compact)).Code
		if a == 202 && b != 202 {
			t.Errorf("strict %d, relaxed %d: %v", a, b, relaxed.reason)
		}
	})
}
