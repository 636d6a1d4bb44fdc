package receipt

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/req"
	"countersign/set"
)

// A case of testdata/checks is one rule of design §6.2-6.3, with what has to come of it. order, receipt and
// known start from a worked example of design §12 and are patched. In a patch "/" begins a path in the claims
// and "@/" one in the directive (order) or the receipt event; "-" appends to an array. The harness fills
// order.set_hash, and the supersedes.hash of what is known at seq - 1, before it applies patches.
type checkCase struct {
	Rules  []string `json:"rules"`
	Expect struct {
		Disposition  string `json:"disposition"`
		Check        int    `json:"check"`
		Err          string `json:"err"`
		ReceiptError string `json:"receipt_error"`
		Disputed     bool   `json:"disputed"`
	} `json:"expect"`
	Order   patched   `json:"order"`
	Receipt patched   `json:"receipt"`
	Known   []patched `json:"known"`
	Now     int64     `json:"now"` // 0: iat of the receipt
}

type patched struct {
	Of        string         `json:"of"`
	Patch     []patch        `json:"patch"`
	Header    map[string]any `json:"header"`
	Attach    []attached     `json:"attach"`
	Elsewhere bool           `json:"elsewhere"`
}

type attached struct {
	patched
	Line int `json:"line"` // whose downstream.hash names it; -1: none
}

type patch struct {
	Set        string          `json:"set"`
	To         json.RawMessage `json:"to"`
	Raw        string          `json:"raw"` // a value JSON libraries would rewrite
	Remove     string          `json:"remove"`
	Supersedes bool            `json:"supersedes"` // fill supersedes.hash here, after the patches before
}

func TestChecks(t *testing.T) {
	files, err := filepath.Glob("testdata/checks/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 60 {
		t.Fatalf("%d cases; each rule has an accepting and a rejecting one", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var c checkCase
			d := json.NewDecoder(bytes.NewReader(data))
			d.DisallowUnknownFields()
			if err := d.Decode(&c); err != nil {
				t.Fatal(err)
			}
			runCheck(t, &c)
			req.Covers(t, c.Rules...)
		})
	}
}

func runCheck(t *testing.T, c *checkCase) {
	t.Helper()
	event, directive := Default().Event, Default().Directive
	order := build(t, &c.Order, "t1", []string{directive}, nil)
	o, err := OrderOf(order, Default())
	if err != nil {
		t.Fatal(err)
	}
	var known []Known
	link := func(p *patched) func(claims map[string]any) {
		return func(claims map[string]any) {
			r := at(claims, []string{"events", event}).(map[string]any)
			r["order"].(map[string]any)["set_hash"] = o.SetHash
			for _, k := range known {
				if s, ok := r["supersedes"].(map[string]any); ok && fmt.Sprint(s["seq"]) == strconv.Itoa(k.Seq) {
					s["hash"] = k.Hash
				}
			}
			for _, a := range p.Attach {
				u := build(t, &a.patched, "c1", []string{"events", event}, nil)
				list, _ := r["attachments"].([]any)
				r["attachments"] = append(list, u.Compact())
				if a.Line >= 0 {
					at(r, []string{"lines", strconv.Itoa(a.Line), "downstream"}).(map[string]any)["hash"] = u.Address()
				}
			}
		}
	}
	for i := range c.Known {
		u := build(t, &c.Known[i], "r1", []string{"events", event}, link(&c.Known[i]))
		r, _ := parseReceipt(u.Claims().Events[0].Payload)
		k := KnownOf(u, r)
		k.Elsewhere = c.Known[i].Elsewhere
		known = append(known, k)
	}
	u := build(t, &c.Receipt, "r1", []string{"events", event}, link(&c.Receipt))
	now := c.Now
	if now == 0 {
		now = u.Claims().IssuedAt
	}
	r, d, p := Check(o, u, known, now, Default())
	got := c.Expect
	got.Disposition, got.Check, got.Err, got.ReceiptError, got.Disputed = "", 0, "", "", false
	if p != nil {
		got.Check, got.Err, got.ReceiptError, got.Disputed = p.Check, p.Err, p.ReceiptError, p.Disputed
	} else {
		got.Disposition = d.String()
		if r == nil {
			t.Error("accepted without a receipt")
		}
	}
	if diff := cmp.Diff(c.Expect, got); diff != "" {
		t.Errorf("(-want +got):\n%s\nproblem: %v", diff, p)
	}
}

// build makes a token, with a signature that nobody looks at, from a patched example.
func build(t *testing.T, p *patched, kid string, inner []string, link func(map[string]any)) *set.Unverified {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(example(t, p.Of)))
	d.UseNumber()
	var claims map[string]any
	if err := d.Decode(&claims); err != nil {
		t.Fatal(err)
	}
	if link != nil {
		link(claims)
	}
	raw := map[string]string{}
	for i, x := range p.Patch {
		path := x.Set + x.Remove
		steps := strings.Split(strings.TrimPrefix(strings.TrimPrefix(path, "@"), "/"), "/")
		for j := range steps {
			steps[j] = strings.NewReplacer("~1", "/", "~0", "~").Replace(steps[j])
		}
		if strings.HasPrefix(path, "@") {
			steps = append(append([]string{}, inner...), steps...)
		}
		switch {
		case x.Supersedes:
			link(claims)
		case x.Remove != "":
			edit(t, claims, steps, nil, true)
		case x.Raw != "":
			mark := fmt.Sprintf("@raw%d@", i)
			raw[strconv.Quote(mark)] = x.Raw
			edit(t, claims, steps, mark, false)
		default:
			var v any
			d := json.NewDecoder(bytes.NewReader(x.To))
			d.UseNumber()
			if err := d.Decode(&v); err != nil {
				t.Fatal(err)
			}
			edit(t, claims, steps, v, false)
		}
	}
	payload, err := marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	for mark, text := range raw {
		payload = bytes.ReplaceAll(payload, []byte(mark), []byte(text))
	}
	if original := example(t, p.Of); sameJSON(payload, original) {
		payload = original // member order kept, and with it the content address that design §12 prints
	}
	h := []byte(`{"alg":"EdDSA","typ":"secevent+jwt","kid":"` + kid + `"}`)
	if p.Header != nil {
		if h, err = marshal(p.Header); err != nil {
			t.Fatal(err)
		}
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return parse(t, b64(h)+"."+b64(payload)+"."+b64([]byte("signature")))
}

func at(v any, steps []string) any {
	for _, s := range steps {
		switch x := v.(type) {
		case map[string]any:
			v = x[s]
		case []any:
			i, _ := strconv.Atoi(s)
			v = x[i]
		}
	}
	return v
}

func edit(t *testing.T, root map[string]any, steps []string, v any, remove bool) {
	t.Helper()
	parent := at(root, steps[:len(steps)-1])
	last := steps[len(steps)-1]
	switch x := parent.(type) {
	case map[string]any:
		if remove {
			delete(x, last)
		} else {
			x[last] = v
		}
	case []any:
		if i, err := strconv.Atoi(last); err == nil && !remove {
			x[i] = v
			return
		}
		grand := at(root, steps[:len(steps)-2]).(map[string]any)
		if remove {
			i, _ := strconv.Atoi(last)
			grand[steps[len(steps)-2]] = append(x[:i:i], x[i+1:]...)
		} else {
			grand[steps[len(steps)-2]] = append(x, v)
		}
	default:
		t.Fatalf("no such path: %v", steps)
	}
}
