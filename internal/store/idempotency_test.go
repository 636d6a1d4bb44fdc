package store

import (
	"testing"
	"time"

	"countersign/internal/hub"
)

func TestForgetKeys(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		keep := func(jti, key, body string) hub.KeptStatus {
			t.Helper()
			k, err := s.Keep(ctx, newSignal(jti), "print-"+jti, nil, &Idempotency{Client: "c", Key: key, BodyHash: body})
			must(t, err)
			return k.Status
		}
		keep("j1", "k1", "a")
		keep("j2", "k2", "a")
		if n, err := s.ForgetKeys(ctx, hub.At(time.Now().Add(-time.Hour)), 10); err != nil || n != 0 {
			t.Fatalf("%d, %v", n, err)
		}
		if got := keep("j3", "k1", "a"); got != hub.KeptRepeat {
			t.Fatalf("within a day: %v", got)
		}
		if n, err := s.ForgetKeys(ctx, hub.At(time.Now().Add(time.Hour)), 1); err != nil || n != 1 {
			t.Fatalf("%d, %v", n, err)
		}
		if n, err := s.ForgetKeys(ctx, hub.At(time.Now().Add(time.Hour)), 10); err != nil || n != 1 {
			t.Fatalf("%d, %v", n, err)
		}
		if got := keep("j4", "k1", "another body"); got != hub.KeptNew {
			t.Errorf("after a day: %v", got)
		}
	})
}
