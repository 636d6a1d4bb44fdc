package receiver_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"countersign/event"
	"countersign/set"
	"countersign/stream"
)

// What a real Keycloak sent, at its time, with its keys.
func TestKeycloak(t *testing.T) {
	const dir = "../set/testdata/keycloak-26/"
	jwks, err := os.ReadFile(dir + "jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := set.ParseJWKS(jwks)
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(dir + "[0-9]*.json")
	if len(files) != 10 {
		t.Fatalf("%d captures, want 10", len(files))
	}
	sessions := map[string]string{"03": "tLwSfm76yugCYBAeJTEKtUkP", "04": "ALL", "07": "tLwSfm76yugCYBAeJTEKtUkP"}
	for _, file := range files {
		number := filepath.Base(file)[:2]
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var capture struct {
				Compact string
				Payload struct {
					Iss, Aud string
					Iat      int64
				}
			}
			if err := json.Unmarshal(data, &capture); err != nil {
				t.Fatal(err)
			}
			b := newBench(t)
			b.handler.StreamID = ""
			b.handler.Policy = func(context.Context) (*set.Policy, error) {
				return &set.Policy{Issuer: capture.Payload.Iss, Audience: []string{capture.Payload.Aud}, Keys: keys,
					Now: func() time.Time { return time.Unix(capture.Payload.Iat, 0) }}, nil
			}
			w := b.do(push(capture.Compact))
			switch number {
			case "08", "09", "10": // no sub_id; a status that is an object; a logout token
				refused(t, w, 400, stream.InvalidRequest)
				want := map[string]error{"08": set.ErrClaims, "09": event.ErrInvalid, "10": set.ErrType}[number]
				if !errors.Is(b.reason, want) || len(b.kept) != 0 {
					t.Errorf("reason %v, want %v; kept %d", b.reason, want, len(b.kept))
				}
				return
			}
			if w.Code != 202 || len(b.kept) != 1 {
				t.Fatalf("answer %d %s, kept %d", w.Code, w.Body, len(b.kept))
			}
			d := b.kept[0]
			switch number {
			case "01", "02":
				if !d.StreamEvent {
					t.Error("not a stream event")
				}
			default:
				person := d.Subject
				if user, ok := d.Subject.Part("user"); ok {
					person = user
				}
				email, byEmail := person.Email()
				_, sub, byIssSub := person.IssSub()
				if !(byEmail && email == "alice@example.test") && !(byIssSub && sub == "3617b1d7-bb04-4893-86ce-6a9147b95550") {
					t.Errorf("person %s", person.Raw())
				}
				if session, ok := d.Subject.Session(); sessions[number] != "" && (!ok || session.Get("id") != sessions[number]) {
					t.Errorf("session %v %q", ok, session.Get("id"))
				}
			}
		})
	}
}
