package stream_test

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"countersign/internal/req"
	"countersign/set"
	"countersign/stream"
	"countersign/subject"
)

func TestErrorFor(t *testing.T) {
	tests := []struct {
		err    error
		want   string
		covers []string
	}{
		{set.ErrMalformed, stream.InvalidRequest, []string{"RX-47"}},
		{set.ErrTooLarge, stream.InvalidRequest, nil},
		{set.ErrType, stream.InvalidRequest, []string{"RX-48"}},
		{set.ErrAlgorithm, stream.InvalidKey, []string{"RX-49"}},
		{set.ErrKeyUnknown, stream.InvalidKey, []string{"RX-50"}},
		{set.ErrKeyUnfit, stream.InvalidKey, []string{"RX-50"}},
		{set.ErrSignature, stream.InvalidKey, []string{"RX-51"}},
		{set.ErrIssuer, stream.InvalidIssuer, []string{"RX-52"}},
		{set.ErrAudience, stream.InvalidAudience, []string{"RX-53"}},
		{set.ErrClaims, stream.InvalidRequest, []string{"RX-54", "RX-55", "RX-56"}},
		{set.ErrTime, stream.InvalidRequest, []string{"RX-57"}},
		{subject.ErrInvalid, stream.InvalidRequest, nil},
		{set.ErrKeysUnavailable, stream.Unavailable, nil},
		{errors.New("disk full"), stream.Unavailable, []string{"RX-81"}},
		{stream.WireError{Err: stream.AccessDenied}, stream.AccessDenied, nil},
	}
	req.Covers(t, "RX-77")
	for _, tt := range tests {
		got := stream.ErrorFor(fmt.Errorf("wrapped with https://issuer.example: %w", tt.err))
		req.Covers(t, tt.covers...)
		if got.Err != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got.Err, tt.want)
		}
		if strings.Contains(got.Description, "issuer.example") {
			t.Errorf("%v: the description quotes the error: %s", tt.err, got.Description)
		}
	}
}

func TestWriteError(t *testing.T) {
	w := httptest.NewRecorder()
	stream.WriteError(w, 400, stream.WireError{Err: stream.InvalidAudience, Description: "another <audience>"})
	req.Covers(t, "RX-75", "RX-76")
	for field, want := range map[string]string{"Content-Type": "application/json", "Content-Language": "en", "Cache-Control": "no-store"} {
		if got := w.Header().Get(field); got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
	if w.Code != 400 || w.Body.String() != `{"err":"invalid_audience","description":"another \u003caudience\u003e"}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	stream.WriteError(w, 400, stream.WireError{Err: stream.InvalidRequest, Description: "d", ReceiptError: "seq_conflict"})
	if !strings.Contains(w.Body.String(), `"receipt_error":"seq_conflict"`) {
		t.Errorf("%s", w.Body)
	}
}
