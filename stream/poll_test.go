package stream_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/stream"
)

func TestPollRequest(t *testing.T) {
	none := 0
	for want, req := range map[string]stream.PollRequest{
		`{}`: {},
		`{"maxEvents":0,"returnImmediately":true,"ack":["a","b"]}`: {MaxEvents: &none, ReturnImmediately: true, Ack: []string{"a", "b"}},
		`{"setErrs":{"c":{"err":"invalid_key","description":"no such key"}}}`: {
			SetErrs: map[string]stream.WireError{"c": {Err: stream.InvalidKey, Description: "no such key"}}},
	} {
		got, err := json.Marshal(req)
		if err != nil || string(got) != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}

func TestPollResponse(t *testing.T) {
	for in, want := range map[string]stream.PollResponse{
		`{"sets":{"a":"x.y.z"},"moreAvailable":true,"other":1}`: {Sets: map[string]string{"a": "x.y.z"}, MoreAvailable: true},
		`{"sets":{}}`:                        {Sets: map[string]string{}},
		`{"sets":null,"moreAvailable":null}`: {Sets: map[string]string{}},
		`{}`:                                 {Sets: map[string]string{}},
	} {
		var got stream.PollResponse
		if err := json.Unmarshal([]byte(in), &got); err != nil {
			t.Errorf("%s: %v", in, err)
		} else if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", in, d)
		}
	}
	for in, words := range map[string]string{
		`{"sets":["x.y.z"]}`:                 "sets is not an object",
		`{"sets":{"a":1}}`:                   "sets has a value that is not a string",
		`{"sets":{"a":null}}`:                "sets has a value that is not a string",
		`{"sets":{},"moreAvailable":"true"}`: "moreAvailable is neither true nor false",
		`{"sets":{},"sets":{}}`:              "poll answer",
		`[]`:                                 "poll answer",
	} {
		var got stream.PollResponse
		if err := json.Unmarshal([]byte(in), &got); !errors.Is(err, stream.ErrInvalid) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", in, err, words)
		}
	}
}

func FuzzPollResponse(f *testing.F) {
	for _, s := range []string{`{"sets":{"a":"x.y.z"},"moreAvailable":true}`, `{"sets":{"a":null}}`, `{"sets":[]}`, `{`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var p stream.PollResponse
		if err := json.Unmarshal(data, &p); err == nil && p.Sets == nil {
			t.Errorf("%q: no sets", data)
		}
	})
}
