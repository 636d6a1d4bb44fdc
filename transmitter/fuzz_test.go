package transmitter_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"countersign/set"
	"countersign/ssftest"
	"countersign/transmitter"
)

// FuzzCreateStream sends any body to the configuration endpoint. Whatever it is, the answer is JSON and one of a few
// statuses, and what was kept can be read back over the API.
func FuzzCreateStream(f *testing.F) {
	f.Add(createBody("https://r.example/in"))
	f.Add(`{}`)
	f.Add(`null`)
	f.Add(`{"delivery":{"method":"urn:ietf:rfc:8936"}}`)
	f.Add(`{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://u:p@[::1]:99999/#x","authorization_header":"a\r\nb"}}`)
	f.Add(`{"events_requested":[],"description":"\u0000","delivery":null}`)
	f.Add(strings.TrimSuffix(createBody("https://r.example/in"), "}") + `,"` + settingsName + `":{"receipt_issuer":"https://r.example","receipt_jwks_uri":"https://r.example/j","receipt_delivery":"push","capabilities":[{"action":"revoke_sessions"}]}}`)
	f.Add(strings.TrimSuffix(createBody("https://r.example/in"), "}") + `,"` + settingsName + `":{"receipt_issuer":"https://r.example","receipt_jwks":{"keys":[{"kty":"oct"}]},"receipt_delivery":"push"}}`)
	f.Fuzz(func(t *testing.T, body string) {
		store := new(transmitter.Memory)
		x := newTransmitter(t, newConfig(store))
		r := do(x, call{method: "POST", path: "/t/blue/ssf/streams", token: "token-a", body: body})
		answer := text(t, r)
		if !json.Valid([]byte(answer)) {
			t.Fatalf("%d with %q", r.StatusCode, answer)
		}
		streams, err := store.Streams(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		switch r.StatusCode {
		case 201:
			if len(streams) != 1 || strings.ContainsAny(streams[0].Authorization, "\r\n\x00") || (streams[0].Method == "urn:ietf:rfc:8935") != strings.HasPrefix(strings.ToLower(streams[0].Endpoint), "https://") {
				t.Fatalf("kept %+v", streams)
			}
			read := do(x, call{method: "GET", path: "/t/blue/ssf/streams?stream_id=" + streams[0].ID, token: "token-a"})
			if again := text(t, read); again != answer {
				t.Fatalf("created %s, read %s", answer, again)
			}
			for _, method := range []string{"PATCH", "PUT"} { // read, then write back
				if r := do(x, call{method: method, path: "/t/blue/ssf/streams", token: "token-a", body: answer}); r.StatusCode != 200 {
					t.Fatalf("%s of %s: %d", method, answer, r.StatusCode)
				}
			}
		case 400, 413:
			if len(streams) != 0 {
				t.Fatalf("refused with %d and kept", r.StatusCode)
			}
		default:
			t.Fatalf("status %d for %q: %s", r.StatusCode, body, answer)
		}
	})
}

// FuzzReceiptEndpoint sends any body, and any claims under a good signature, to the receipt endpoint: nothing but a
// receipt that is right is ever kept.
func FuzzReceiptEndpoint(f *testing.F) {
	x := newTillWith(f, ssftest.Signer(set.EdDSA, "rcpt-ed")) // signs the same twice, so coverage means something
	good, err := json.Marshal(plain(x.claims(f, x.order, slip{number: "CS-1", seq: 1, stage: "final", jti: "jti-1"})))
	if err != nil {
		f.Fatal(err)
	}
	iat := strconv.FormatInt(x.order.IssuedAt, 10)
	// The seeds name the order by words, since each process has an order of its own.
	seed := strings.NewReplacer(x.order.JTI, "{JTI}", x.order.SetHash, "{HASH}", iat, "{IAT}").Replace(string(good))
	real := strings.NewReplacer("{JTI}", x.order.JTI, "{HASH}", x.order.SetHash, "{IAT}", iat)
	f.Add(seed, true)
	f.Add(strings.Replace(seed, `"seq":1`, `"seq":2`, 1), true)
	f.Add(strings.Replace(seed, `"lines":[`, `"lines":[{},`, 1), true)
	f.Add(`{"iss":"https://a.example"}`, true)
	f.Add("{HASH}", false)
	f.Add("eyJhbGciOiJFUzI1NiJ9.e30.AA", false)
	f.Fuzz(func(t *testing.T, text string, sign bool) {
		token := text
		if sign {
			var err error
			if token, err = x.signer.Sign([]byte(real.Replace(text))); err != nil {
				t.Fatal(err)
			}
		}
		r := do(x, call{method: "POST", path: "/t/blue/ssf/receipts", token: "token-a", body: token, header: http.Header{"Content-Type": {"application/secevent+jwt"}}})
		switch r.StatusCode {
		case 202:
			u, err := set.Parse(token)
			if err != nil || !sign || u.Claims().Issuer != "https://a.example" {
				t.Fatalf("accepted %q", token)
			}
		case 400, 413:
		default:
			t.Fatalf("status %d for %q", r.StatusCode, token)
		}
	})
}

// FuzzPoll sends any body to a poll address: the answer is JSON and 200 or 400, it never gives more than was asked for, and
// nothing leaves the store but what the body names.
func FuzzPoll(f *testing.F) {
	f.Add(`{"returnImmediately":true}`)
	f.Add(`{"maxEvents":1,"returnImmediately":true,"ack":["J"]}`)
	f.Add(`{"maxEvents":0,"setErrs":{"J":{"err":"invalid_key","description":"x"}}}`)
	f.Add(`{"maxEvents":-1}`)
	f.Add(`{"returnImmediately":true,"ack":null,"setErrs":null,"maxEvents":null}`)
	f.Add(`{"returnImmediately":true,"ack":["a",1]}`)
	f.Add(`{"returnImmediately":true,"setErrs":{"J":{"description":1}}}`)
	f.Fuzz(func(t *testing.T, body string) {
		store := new(transmitter.Memory)
		cfg := newConfig(store)
		cfg.PollWait = 1
		x := newTransmitter(t, cfg)
		id := create(t, x, "token-a", `{}`)
		jtis := []string{mustSend(t, x, message("alice")).Queued[0].JTI, mustSend(t, x, message("bob")).Queued[0].JTI}
		body = strings.ReplaceAll(body, `"J"`, `"`+jtis[0]+`"`)
		r := do(x, call{method: "POST", path: "/t/blue/ssf/streams/" + id + "/poll", token: "token-a", body: body})
		answer := text(t, r)
		var in struct {
			Sets map[string]string `json:"sets"`
		}
		if !json.Valid([]byte(answer)) {
			t.Fatalf("%d with %q", r.StatusCode, answer)
		}
		left := store.CountsOf(id).Waiting
		switch r.StatusCode {
		case 200:
			_ = json.Unmarshal([]byte(answer), &in)
			if int64(len(in.Sets)) > left {
				t.Fatalf("%d given, %d wait", len(in.Sets), left)
			}
		case 400, 413:
			if left != 2 {
				t.Fatalf("refused, and %d are left", left)
			}
		default:
			t.Fatalf("status %d for %q: %s", r.StatusCode, body, answer)
		}
		for _, jti := range jtis {
			if left != 2 && r.StatusCode == 200 && !strings.Contains(body, "ack") && !strings.Contains(body, "setErrs") && !strings.Contains(body, `\u`) {
				t.Fatalf("%s is gone after %q", jti, body)
			}
		}
	})
}

// FuzzSubject sends any body to the subject endpoints: nothing is kept but by 200 and 204.
func FuzzSubject(f *testing.F) {
	f.Add(`{"stream_id":"ID","subject":{"format":"email","email":"a@example.com"}}`, true)
	f.Add(`{"stream_id":"ID","subject":{"format":"complex","user":{"format":"email","email":"a@example.com"}},"verified":false}`, false)
	f.Add(`{"stream_id":"ID","subject":{"format":"opaque","id":"ID"}}`, false)
	f.Add(`{"stream_id":"ID","subject":null}`, true)
	f.Add(`{"stream_id":"ID","subject":{"format":"email"},"verified":"yes"}`, true)
	f.Fuzz(func(t *testing.T, body string, add bool) {
		store := new(transmitter.Memory)
		x := newTransmitter(t, newConfig(store))
		id := create(t, x, "token-a", `{}`)
		path, done := "/t/blue/ssf/subjects/remove", 204
		if add {
			path, done = "/t/blue/ssf/subjects/add", 200
		}
		r := do(x, call{method: "POST", path: path, token: "token-a", body: strings.ReplaceAll(body, `"ID"`, `"`+id+`"`)})
		answer := text(t, r)
		kept := store.CountsOf(id).Subjects
		switch r.StatusCode {
		case done:
			if answer != "" || kept > 1 || kept == 0 && (!add || !strings.Contains(body, "opaque")) {
				t.Fatalf("%d %q, %d kept", r.StatusCode, answer, kept)
			}
		case 400, 404, 413:
			if kept != 0 || !json.Valid([]byte(answer)) {
				t.Fatalf("%d %q, %d kept", r.StatusCode, answer, kept)
			}
		default:
			t.Fatalf("status %d for %q: %s", r.StatusCode, body, answer)
		}
	})
}
