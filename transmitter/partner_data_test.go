package transmitter_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign/ssftest"
	"countersign/transmitter"
)

// partnerFile is what a partner was seen to ask, and to answer, as data. $stream_id and $jti stand for the stream that was
// made and for the SET that was offered last.
type partnerFile struct {
	Partner, Seen string
	Asks          []partnerAsk
	Pushes        []partnerPush
}

type partnerAsk struct {
	What, Method, Path string
	Body               json.RawMessage
	Send               int // events that are sent before it asks
	Times              int // how often it asks; 0: once
	Status             int
	Keep               string         // member of the answer that is kept under its name
	Answer             map[string]any // members that the answer has
	Without            []string       // members that it has not
	Sets, List         *int           // SETs of a poll, elements of a list
}

type partnerPush struct {
	What   string
	Status int
	Body   json.RawMessage
	Then   string // what becomes of the SET: delivered, waiting, dead
}

func TestPartnersAsSeen(t *testing.T) {
	files, err := filepath.Glob("testdata/partners/*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var p partnerFile
		dec := json.NewDecoder(strings.NewReader(string(data)))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&p); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(name), ".json"), func(t *testing.T) {
			playAsks(t, p.Asks)
			for _, push := range p.Pushes {
				t.Run(push.What, func(t *testing.T) { playPush(t, push) })
			}
		})
	}
}

func playAsks(t *testing.T, asks []partnerAsk) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	known := map[string]string{}
	for _, a := range asks {
		for range a.Send {
			mustSend(t, x, message("alice"))
		}
		fill := func(s string) string {
			for name, value := range known {
				s = strings.ReplaceAll(s, "$"+name, value)
			}
			return s
		}
		for range max(a.Times, 1) {
			r := do(x, call{method: a.Method, path: "/t/blue" + fill(a.Path), token: "token-a", body: fill(string(a.Body))})
			body := text(t, r)
			if r.StatusCode != a.Status {
				t.Fatalf("%s: %d %s, want %d", a.What, r.StatusCode, body, a.Status)
			}
			checkAnswer(t, a, body, known, fill)
		}
	}
}

func checkAnswer(t *testing.T, a partnerAsk, body string, known map[string]string, fill func(string) string) {
	t.Helper()
	if a.List != nil {
		var list []json.RawMessage
		if err := json.Unmarshal([]byte(body), &list); err != nil || len(list) != *a.List {
			t.Fatalf("%s: %s: %v", a.What, body, err)
		}
		return
	}
	if a.Keep == "" && a.Answer == nil && a.Without == nil && a.Sets == nil {
		return
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("%s: %s: %v", a.What, body, err)
	}
	if a.Keep != "" {
		known[a.Keep] = got[a.Keep].(string)
	}
	for member, want := range a.Answer {
		if s, ok := want.(string); ok {
			want = fill(s)
		}
		if got[member] != want {
			t.Errorf("%s: %s is %v, want %v", a.What, member, got[member], want)
		}
	}
	for _, member := range a.Without {
		if _, there := got[member]; there {
			t.Errorf("%s: %s is in %s", a.What, member, body)
		}
	}
	if a.Sets != nil {
		sets := got["sets"].(map[string]any)
		if len(sets) != *a.Sets {
			t.Errorf("%s: %d SETs, want %d: %s", a.What, len(sets), *a.Sets, body)
		}
		for jti := range sets {
			known["jti"] = jti
		}
	}
}

func playPush(t *testing.T, p partnerPush) {
	x, r, store := pushing(t)
	answer := ssftest.Answer{Status: p.Status}
	if p.Body != nil {
		answer.Body, answer.Header = strings.NewReader(string(p.Body)), http.Header{"Content-Type": {"application/json"}}
	}
	r.Always(ssftest.Answer{Status: 202})
	r.Answer(answer)
	st := putStream(t, store, "partner", r.URL)
	mustSend(t, x, message("alice"))
	r.Wait(t, 1)
	eventually(t, p.What, func() bool {
		v, err := x.View(t.Context(), st.ID)
		if err != nil {
			t.Fatal(err)
		}
		switch p.Then {
		case "delivered":
			return v.Counts.Delivered == 1 && v.Counts.Waiting == 0
		case "dead":
			return v.Counts.Dead == 1 && v.Counts.Waiting == 0
		case "waiting": // and an operator is told why
			return v.Counts.Waiting == 1 && v.Counts.Dead == 0 && len(v.Warnings) > 0 && v.Last.Status == p.Status
		}
		t.Fatalf("what is %q?", p.Then)
		return false
	})
}
