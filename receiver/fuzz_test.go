package receiver_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"countersign/receiver"
	"countersign/stream"
)

// FuzzPush: no body panics, none that we did not sign is kept, and every answer has the form of a refusal.
func FuzzPush(f *testing.F) {
	good := sign(f, claims())
	payload, _ := claims().Marshal()
	f.Add([]byte(good[:len(good)-5]), receiver.MediaType, "", "")
	f.Add([]byte(strings.Replace(good, ".", "..", 1)), receiver.MediaType, "gzip", "")
	f.Add(payload, "application/json", "", "Bearer x")
	f.Add([]byte("eyJhbGciOiJub25lIn0.e30."), "application/secevent+jwt;a=b;a=c", "", "")
	f.Fuzz(func(t *testing.T, body []byte, media, encoding, authorization string) {
		if bytes.Equal(body, []byte(good)) {
			return
		}
		b := newBench(t)
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", media)
		if encoding != "" {
			r.Header.Set("Content-Encoding", encoding)
		}
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := b.do(r)
		var wire stream.WireError
		if err := json.Unmarshal(w.Body.Bytes(), &wire); err != nil || wire.Err == "" || w.Header().Get("Content-Language") == "" {
			t.Fatalf("answer %d %s: %v", w.Code, w.Body, err)
		}
		if len(b.kept) != 0 || w.Code < 400 || w.Code >= 500 {
			t.Fatalf("kept %d, answer %d %s", len(b.kept), w.Code, w.Body)
		}
	})
}
