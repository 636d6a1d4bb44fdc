package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/set"
)

func open(t *testing.T, seed byte) *Vault {
	t.Helper()
	v, err := Open(bytes.Repeat([]byte{seed}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSealedBlobOpensOnlyInItsPlace(t *testing.T) {
	v := open(t, 1)
	sealed := v.Seal("secret", "default/wiki", []byte("s3cret"))
	if bytes.Contains(sealed, []byte("s3cret")) {
		t.Fatal("the ciphertext holds the plain text")
	}
	if bytes.Equal(sealed, v.Seal("secret", "default/wiki", []byte("s3cret"))) {
		t.Error("two seals of one value are equal")
	}
	got, err := v.Open("secret", "default/wiki", sealed)
	if err != nil || string(got) != "s3cret" {
		t.Fatalf("Open = %q, %v", got, err)
	}
	cut := bytes.Clone(sealed)
	cut[len(cut)-1] ^= 1
	for name, try := range map[string]func() ([]byte, error){
		"another purpose": func() ([]byte, error) { return v.Open("signing-key", "default/wiki", sealed) },
		"another name":    func() ([]byte, error) { return v.Open("secret", "default/crm", sealed) },
		"shifted border":  func() ([]byte, error) { return v.Open("secretdefault", "/wiki", sealed) },
		"another key":     func() ([]byte, error) { return open(t, 2).Open("secret", "default/wiki", sealed) },
		"a changed byte":  func() ([]byte, error) { return v.Open("secret", "default/wiki", cut) },
		"nothing":         func() ([]byte, error) { return v.Open("secret", "default/wiki", nil) },
		"another version": func() ([]byte, error) {
			return v.Open("secret", "default/wiki", append([]byte{2}, sealed[1:]...))
		},
	} {
		if _, err := try(); !errors.Is(err, ErrSealed) {
			t.Errorf("%s: %v, want ErrSealed", name, err)
		}
	}
}

func TestPseudonymSecretIsOnePerTenantAndStays(t *testing.T) {
	v := open(t, 1)
	if !bytes.Equal(v.Pseudonym("a"), open(t, 1).Pseudonym("a")) {
		t.Error("a restart changes the secret")
	}
	if bytes.Equal(v.Pseudonym("a"), v.Pseudonym("b")) || bytes.Equal(v.Pseudonym("a"), open(t, 2).Pseudonym("a")) {
		t.Error("two tenants, or two hubs, share a secret")
	}
}

func TestMaster(t *testing.T) {
	dir := t.TempDir()
	made := filepath.Join(dir, "data", "master.key")
	key, isNew, err := Master(Source{Made: made})
	if err != nil || !isNew || len(key) != KeySize {
		t.Fatalf("Master = %d bytes, %v, %v", len(key), isNew, err)
	}
	if info, err := os.Stat(made); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	again, isNew, err := Master(Source{Made: made})
	if err != nil || isNew || !bytes.Equal(key, again) {
		t.Fatalf("a second start gave another key (%v, %v)", isNew, err)
	}
	t.Setenv("TEST_MASTER", base64.RawURLEncoding.EncodeToString(key))
	if got, _, err := Master(Source{Env: "TEST_MASTER", Made: made}); err != nil || !bytes.Equal(got, key) {
		t.Errorf("from the environment: %v", err)
	}
	if got, _, err := Master(Source{File: made, Env: "NOT_SET"}); err != nil || !bytes.Equal(got, key) {
		t.Errorf("from a file: %v", err)
	}
	open := filepath.Join(dir, "open.key")
	if err := os.WriteFile(open, key, 0o644); err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(dir, "short.key")
	if err := os.WriteFile(short, []byte("c2hvcnQ="), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		src  Source
		want string
	}{
		"readable by others": {Source{File: open}, "can be read by others"},
		"too short":          {Source{File: short}, "want base64 of 32 bytes"},
		"not there":          {Source{File: filepath.Join(dir, "none")}, "no such file"},
		"no variable":        {Source{Env: "NOT_SET_AT_ALL"}, "the environment has no"},
		"nothing":            {Source{}, "no master key is configured"},
	} {
		if _, _, err := Master(tc.src); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

type memory struct {
	secrets map[string][]byte
	keys    []KeyRow
}

func (m *memory) PutSecret(_ context.Context, tenant, name string, sealed []byte) error {
	m.secrets[tenant+"/"+name] = sealed
	return nil
}
func (m *memory) Secret(_ context.Context, tenant, name string) ([]byte, error) {
	if s, ok := m.secrets[tenant+"/"+name]; ok {
		return s, nil
	}
	return nil, hub.Errorf(hub.NotFound, "there is no secret")
}
func (m *memory) DeleteSecret(_ context.Context, tenant, name string) error {
	delete(m.secrets, tenant+"/"+name)
	return nil
}
func (m *memory) PutKey(_ context.Context, k KeyRow) error { m.keys = append(m.keys, k); return nil }
func (m *memory) SetKeyState(_ context.Context, tenant, kid, state string, at time.Time) error {
	for i := range m.keys {
		if k := &m.keys[i]; k.Tenant == tenant && k.KID == kid {
			k.State, k.Changed = state, at
			return nil
		}
	}
	return hub.Errorf(hub.NotFound, "no such key")
}
func (m *memory) Keys(_ context.Context, tenant string) (out []KeyRow, err error) {
	for _, k := range m.keys {
		if k.Tenant == tenant {
			out = append(out, k)
		}
	}
	return out, nil
}

func TestSecrets(t *testing.T) {
	m := &memory{secrets: map[string][]byte{}}
	s := NewSecrets(open(t, 1), m)
	ctx := context.Background()
	if err := s.Set(ctx, "default", "wiki-token", []byte("abc")); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Value(ctx, "default", "wiki-token"); err != nil || string(v) != "abc" {
		t.Fatalf("Value = %q, %v", v, err)
	}
	// A row that was moved to another name or tenant does not open there.
	m.secrets["default/crm-token"] = m.secrets["default/wiki-token"]
	m.secrets["other/wiki-token"] = m.secrets["default/wiki-token"]
	for _, at := range [][2]string{{"default", "crm-token"}, {"other", "wiki-token"}} {
		if _, err := s.Value(ctx, at[0], at[1]); !errors.Is(err, ErrSealed) {
			t.Errorf("%v: %v, want ErrSealed", at, err)
		}
	}
	for _, name := range []string{"", "Upper", "../up", "a b", strings.Repeat("a", 64)} {
		if err := s.Set(ctx, "default", name, []byte("x")); hub.CodeOf(err) != hub.Invalid {
			t.Errorf("name %q: %v, want invalid", name, err)
		}
	}
	if err := s.Set(ctx, "default", "empty", nil); hub.CodeOf(err) != hub.Invalid {
		t.Errorf("an empty value: %v, want invalid", err)
	}
	if err := s.Delete(ctx, "default", "wiki-token"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Value(ctx, "default", "wiki-token"); hub.CodeOf(err) != hub.NotFound {
		t.Errorf("after delete: %v, want not_found", err)
	}
}

func TestKeysAreMadeOnceAndSignForEver(t *testing.T) {
	m := &memory{secrets: map[string][]byte{}}
	ctx := context.Background()
	k := NewKeys(open(t, 1), m, nil)
	if err := k.Ensure(ctx, "default"); err != nil {
		t.Fatal(err)
	}
	var algs []set.Algorithm
	for _, s := range k.Signers("default") {
		algs = append(algs, s.Algorithm())
	}
	if len(algs) != 3 || algs[0] != set.RS256 || algs[1] != set.ES256 || algs[2] != set.EdDSA {
		t.Fatalf("signers %v", algs)
	}
	for _, row := range m.keys {
		if bytes.Contains(row.Public, []byte(`"d"`)) {
			t.Errorf("the public part of %s holds a private member", row.Alg)
		}
	}
	again := NewKeys(open(t, 1), m, nil)
	if err := again.Ensure(ctx, "default"); err != nil {
		t.Fatal(err)
	}
	if len(m.keys) != 3 {
		t.Fatalf("%d keys after a second start", len(m.keys))
	}
	first := k.Signer("default", set.ES256)
	payload := []byte(`{"iss":"https://hub.example","aud":"a","iat":1,"jti":"j","sub_id":{"format":"opaque","id":"x"},"events":{"https://e.example/t":{}}}`)
	token, err := again.Complete("default", first.KeyID(), first.Input(payload))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Parse(token); err != nil {
		t.Errorf("the token cannot be read: %v", err)
	}
	if _, err := again.Complete("default", "nobody", "x.y"); err == nil {
		t.Error("signed with a key that is not there")
	}
	if err := NewKeys(open(t, 2), m, nil).Ensure(ctx, "default"); !errors.Is(err, ErrSealed) {
		t.Errorf("with another master key: %v, want ErrSealed", err)
	}
	if len(k.Known("default")) != 3 || k.Known("other") != nil {
		t.Error("public keys are those of one tenant")
	}
}
