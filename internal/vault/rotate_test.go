package vault

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/set"
)

// ringOf opens a tenant's keys with a clock of the test.
func ringOf(t *testing.T) (*memory, *Keys, *time.Time) {
	t.Helper()
	m := &memory{secrets: map[string][]byte{}}
	now := time.Unix(1_700_000_000, 0)
	k := NewKeys(open(t, 1), m, func() time.Time { return now })
	if err := k.Ensure(context.Background(), "default"); err != nil {
		t.Fatal(err)
	}
	return m, k, &now
}

func states(k *Keys) string {
	var out []string
	for _, r := range k.Rows("default") {
		if r.Alg == set.ES256 {
			out = append(out, r.State)
		}
	}
	return strings.Join(out, " ")
}

func TestRotation(t *testing.T) {
	ctx := context.Background()
	_, k, now := ringOf(t)
	first := k.Signer("default", set.ES256).KeyID()
	next, err := k.Rotate(ctx, "default", set.ES256, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := states(k); got != "active next" || len(k.Next("default")) != 1 || k.Next("default")[0].ID != next.KID {
		t.Fatalf("after rotate: %s", got)
	}
	if _, err := k.Rotate(ctx, "default", set.ES256, false); hub.CodeOf(err) != hub.Conflict {
		t.Errorf("a second rotation: %v", err)
	}
	if _, err := k.Rotate(ctx, "default", "HS256", false); hub.CodeOf(err) != hub.Invalid {
		t.Errorf("another algorithm: %v", err)
	}
	idle := func(string) (bool, error) { return false, nil }
	*now = now.Add(9 * time.Minute)
	if changed, err := k.Step(ctx, "default", 10*time.Minute, idle); changed || err != nil {
		t.Errorf("it signs before verifiers could learn it: %v", err)
	}
	*now = now.Add(time.Minute)
	if changed, err := k.Step(ctx, "default", 10*time.Minute, idle); !changed || err != nil || k.Signer("default", set.ES256).KeyID() != next.KID {
		t.Errorf("it does not sign after its time: %v, %s", err, states(k))
	}
	if got := states(k); got != "retiring active" {
		t.Errorf("after the change: %s", got)
	}
	// The old one signs what was planned under it, stays published, and goes when nothing needs it and the time is over.
	input := k.ring("default").all[first].Input([]byte(`{"jti":"x"}`))
	if _, err := k.Complete("default", first, input); err != nil {
		t.Error(err)
	}
	busy := true
	used := func(kid string) (bool, error) { return kid == first && busy, nil }
	*now = now.Add(Overlap - time.Second)
	busy = false
	if _, err := k.Step(ctx, "default", 10*time.Minute, used); err != nil || states(k) != "retiring active" {
		t.Errorf("before the overlap: %v %s", err, states(k))
	}
	*now = now.Add(time.Second)
	busy = true
	if _, err := k.Step(ctx, "default", 10*time.Minute, used); err != nil || states(k) != "retiring active" {
		t.Errorf("while rows wait: %v %s", err, states(k))
	}
	busy = false
	if _, err := k.Step(ctx, "default", 10*time.Minute, used); err != nil || states(k) != "retired active" {
		t.Errorf("after all: %v %s", err, states(k))
	}
	published := len(k.Signers("default")) + len(k.Next("default"))
	if published != 3 || len(k.Known("default")) != 4 {
		t.Errorf("%d published, %d known", published, len(k.Known("default")))
	}
	if _, err := k.Complete("default", first, input); err != nil { // a receipt cut under it may still be waiting
		t.Error(err)
	}
}

func TestRetire(t *testing.T) {
	ctx := context.Background()
	_, k, _ := ringOf(t)
	first := k.Signer("default", set.ES256).KeyID()
	if _, err := k.Retire(ctx, "default", first); hub.CodeOf(err) != hub.Conflict {
		t.Errorf("the only key of an algorithm: %v", err)
	}
	if _, err := k.Retire(ctx, "default", "nobody"); hub.CodeOf(err) != hub.NotFound {
		t.Errorf("no key: %v", err)
	}
	next, err := k.Rotate(ctx, "default", set.ES256, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Retire(ctx, "default", next.KID); err != nil || states(k) != "active retired" {
		t.Errorf("a next one that shall not sign: %v %s", err, states(k))
	}
}

func TestCompromise(t *testing.T) {
	ctx := context.Background()
	m, k, _ := ringOf(t)
	first := k.Signer("default", set.ES256).KeyID()
	input := k.Signer("default", set.ES256).Input([]byte(`{"jti":"x"}`))
	if r, err := k.Withdraw(ctx, "default", first); err != nil || r.State != Compromised {
		t.Fatal(err, r.State)
	}
	if got := states(k); got != "compromised active" {
		t.Fatal(got)
	}
	for _, s := range k.Signers("default") {
		if s.KeyID() == first {
			t.Error("it is still published")
		}
	}
	for _, key := range k.Known("default") {
		if key.ID == first {
			t.Error("evidence may still be verified with it")
		}
	}
	if _, err := k.Complete("default", first, input); !errors.Is(err, ErrCompromised) {
		t.Errorf("it signs: %v", err)
	}
	// Another node sees it.
	other := NewKeys(open(t, 1), m, nil)
	if err := other.Ensure(ctx, "default"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Rotate(ctx, "default", set.EdDSA, true); err != nil {
		t.Fatal(err)
	}
	if changed, err := other.Reload(ctx, "default"); !changed || err != nil || other.Signer("default", set.EdDSA).KeyID() != k.Signer("default", set.EdDSA).KeyID() {
		t.Errorf("the other node: %v", err)
	}
	if changed, err := other.Reload(ctx, "default"); changed || err != nil {
		t.Errorf("nothing changed, and yet: %v", err)
	}
}

func TestImport(t *testing.T) {
	ctx := context.Background()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	file := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	// A fresh tenant signs with it at once, and the same file is the same key.
	m := &memory{secrets: map[string][]byte{}}
	fresh := NewKeys(open(t, 1), m, nil)
	r, err := fresh.Import(ctx, "default", file)
	if err != nil {
		t.Fatal(err)
	}
	if err := fresh.Ensure(ctx, "default"); err != nil || fresh.Signer("default", set.EdDSA).KeyID() != r.KID || len(m.keys) != 3 {
		t.Errorf("%v, %d keys", err, len(m.keys))
	}
	if again, err := fresh.Import(ctx, "default", file); err != nil || again.KID != r.KID || len(m.keys) != 3 {
		t.Errorf("a second start: %v, %d keys", err, len(m.keys))
	}
	// One that has signed before publishes it first.
	_, k, _ := ringOf(t)
	if r, err := k.Import(ctx, "default", file); err != nil || r.State != Next {
		t.Errorf("%v %s", err, r.State)
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := x509.MarshalECPrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"no PEM":      {[]byte("x"), "holds no PEM block"},
		"certificate": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE"}), "not a private key"},
		"broken":      {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), "cannot be read"},
		"curve":       {pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: curve}), "only P-256"},
	} {
		if _, err := k.Import(ctx, "default", c.file); hub.CodeOf(err) != hub.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// FuzzImport: no file of bytes makes it panic.
func FuzzImport(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if alg, key, err := parseKey(file); err == nil && (alg == "" || key == nil) {
			t.Fatal("no key and no error")
		}
	})
}
