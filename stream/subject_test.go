package stream_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"countersign/internal/req"
	"countersign/stream"
)

func TestSubjectRequest(t *testing.T) {
	var r stream.SubjectRequest
	if err := json.Unmarshal([]byte(`{"stream_id":"s","subject":{"format":"opaque","id":"1"},"future":1}`), &r); err != nil {
		t.Fatal(err)
	}
	if r.StreamID != "s" || string(r.Subject) != `{"format":"opaque","id":"1"}` || !r.IsVerified() {
		t.Errorf("%+v", r)
	}
	for in, want := range map[string]bool{`{"verified":true}`: true, `{"verified":false}`: false, `{"verified":null}`: true, `{}`: true} {
		if err := json.Unmarshal([]byte(in), &r); err != nil || r.IsVerified() != want || r.Subject != nil {
			t.Errorf("%s: %+v, %v", in, r, err)
		}
	}
	req.Covers(t, "TX-112")
	for in, want := range map[string]string{
		`[]`:                              "subject request",
		`{"stream_id":1}`:                 "stream_id is not a string",
		`{"verified":"yes"}`:              "verified is neither true nor false",
		`{"verified":1}`:                  "verified is neither true nor false",
		`{"subject":{"a":1},"subject":1}`: "repeated",
	} {
		if err := json.Unmarshal([]byte(in), &r); !errors.Is(err, stream.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want ErrInvalid with %q", in, err, want)
		}
	}
}

func FuzzSubjectRequest(f *testing.F) {
	f.Add([]byte(`{"stream_id":"s","subject":{"format":"opaque","id":"1"},"verified":false}`))
	f.Add([]byte(`{"subject":null,"verified":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		roundTrip(t, data, new(stream.SubjectRequest), new(stream.SubjectRequest))
	})
}

// A receiver that does not know whether a person is the one it means says so.
func ExampleSubjectRequest() {
	no := false
	body, err := json.Marshal(stream.SubjectRequest{StreamID: "s1", Subject: json.RawMessage(`{"format":"email","email":"mira@example.com"}`), Verified: &no})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(body))
	// Output:
	// {"stream_id":"s1","subject":{"format":"email","email":"mira@example.com"},"verified":false}
}
