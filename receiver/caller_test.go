package receiver_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"countersign/internal/req"
	"countersign/stream"
)

func TestCaller(t *testing.T) {
	const secret = "Bearer push-4c1f"
	tests := []struct {
		name   string
		fields []string
		ok     bool
		covers []string
	}{
		{"the one value", []string{secret}, true, []string{"RX-72"}},
		{"none", nil, false, []string{"RX-73"}},
		{"empty", []string{""}, false, []string{"RX-73"}},
		{"another", []string{"Bearer push-4c1e"}, false, []string{"RX-73"}},
		{"other case", []string{"bearer push-4c1f"}, false, []string{"RX-72"}},
		{"a prefix", []string{"Bearer push"}, false, []string{"RX-72"}},
		{"longer", []string{secret + "x"}, false, []string{"RX-72"}},
		{"twice", []string{secret, secret}, false, []string{"P-127"}},
		{"the right one second", []string{"x", secret}, false, []string{"P-127"}},
		{"the right one first", []string{secret, "x"}, false, []string{"P-127"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.handler.Authorization = secret
			c := claims()
			if !tt.ok { // a good reason to name the audience, were the caller known
				c.Audience = []string{"elsewhere"}
			}
			r := push(sign(t, c))
			r.Header["Authorization"] = tt.fields
			w := b.do(r)
			req.Covers(t, tt.covers...)
			if tt.ok {
				if w.Code != 202 || len(b.kept) != 1 {
					t.Errorf("answer %d %s, kept %d", w.Code, w.Body, len(b.kept))
				}
				return
			}
			req.Covers(t, "P-76", "Q-52")
			refused(t, w, 400, stream.AuthenticationFailed)
			if w.Header().Get("WWW-Authenticate") != "" || strings.Contains(w.Body.String(), "elsewhere") || strings.Contains(w.Body.String(), "4c1f") || len(b.kept) != 0 {
				t.Errorf("answer %v %s, kept %d", w.Header(), w.Body, len(b.kept))
			}
		})
	}
	t.Run("in the query", func(t *testing.T) {
		b := newBench(t)
		b.handler.Authorization = secret
		r := push(sign(t, claims()))
		r.URL.RawQuery = "access_token=push-4c1f&authorization=Bearer+push-4c1f"
		refused(t, b.do(r), 400, stream.AuthenticationFailed)
	})
	t.Run("before the body is read", func(t *testing.T) {
		b := newBench(t)
		b.handler.Authorization = secret
		r := push("")
		r.Body = io.NopCloser(failing{errors.New("the body was read")})
		req.Covers(t, "RX-72")
		refused(t, b.do(r), 400, stream.AuthenticationFailed)
	})
}
