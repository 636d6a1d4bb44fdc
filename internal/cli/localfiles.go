package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"countersign/internal/hub"
)

// localFiles resolves references on this side of the API.
type localFiles struct {
	env             func(string) string
	dir, secretsDir string
	secrets         map[string]string
}

// resolve replaces {file: …} and {env: …} by {stored: NAME}, and a jwks_file by its content.
func (l *localFiles) resolve(r *hub.Resource) error {
	switch r.Kind {
	case hub.KindSource:
		var s hub.Source
		if err := json.Unmarshal(r.Spec, &s); err != nil {
			return err
		}
		refs := s.Secrets()
		names := map[*hub.Secret]string{}
		if a := s.Auth; a != nil {
			names[a.Token], names[a.ClientSecret], names[a.Key] = ".auth", ".secret", ".key"
		}
		if s.PushAuth != nil {
			names[s.PushAuth.AuthorizationHeader] = ".push"
		}
		for _, ref := range refs {
			if err := l.secret(ref, "source."+r.Name+names[ref]); err != nil {
				return err
			}
		}
		if s.Keys != nil && s.Keys.JWKSFile != "" {
			path := s.Keys.JWKSFile
			if !filepath.IsAbs(path) {
				path = filepath.Join(l.dir, path)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("keys.jwks_file: %w", err)
			}
			if !json.Valid(data) {
				return fmt.Errorf("keys.jwks_file: %s is not JSON", path)
			}
			s.Keys.JWKS, s.Keys.JWKSFile = data, ""
		}
		return setSpec(r, s)
	case hub.KindApp:
		var s hub.App
		if err := json.Unmarshal(r.Spec, &s); err != nil {
			return err
		}
		for field, ref := range s.Secrets {
			if err := l.secret(&ref, "app."+r.Name+"."+field); err != nil {
				return err
			}
			s.Secrets[field] = ref
		}
		return setSpec(r, s)
	case hub.KindStream:
		var s hub.Stream
		if err := json.Unmarshal(r.Spec, &s); err != nil {
			return err
		}
		if err := l.secret(s.Deliver.AuthorizationHeader, "stream."+r.Name+".push"); err != nil {
			return err
		}
		return setSpec(r, s)
	case hub.KindClient:
		var s hub.Client
		if err := json.Unmarshal(r.Spec, &s); err != nil {
			return err
		}
		if err := l.secret(s.Secret, "client."+r.Name+".secret"); err != nil {
			return err
		}
		return setSpec(r, s)
	case hub.KindTenant:
		var s hub.Tenant
		if err := json.Unmarshal(r.Spec, &s); err != nil {
			return err
		}
		if s.OAuth != nil && s.OAuth.Introspection != nil {
			if err := l.secret(s.OAuth.Introspection.ClientSecret, "tenant."+r.Name+".introspection"); err != nil {
				return err
			}
		}
		return setSpec(r, s)
	}
	return nil
}

func setSpec(r *hub.Resource, v any) (err error) {
	r.Spec, err = json.Marshal(v)
	return err
}

// EnvPrefix begins the variables that {env: …} may name.
const EnvPrefix = "COUNTERSIGN_SECRET_"

func (l *localFiles) secret(ref *hub.Secret, name string) error {
	if ref == nil || ref.File == "" && ref.Env == "" {
		return nil
	}
	var value string
	if ref.Env != "" {
		if !strings.HasPrefix(ref.Env, EnvPrefix) {
			return fmt.Errorf("{env: %s}: the variable's name must begin with %s", ref.Env, EnvPrefix)
		}
		if value = l.env(ref.Env); value == "" {
			return fmt.Errorf("{env: %s}: the variable is not set", ref.Env)
		}
	} else {
		v, err := l.file(ref.File)
		if err != nil {
			return err
		}
		value = v
	}
	l.secrets[name] = value
	*ref = hub.Secret{Stored: name}
	return nil
}

// file reads a secret below the secrets folder; links that lead out of it are not followed.
func (l *localFiles) file(path string) (string, error) {
	dir := l.secretsDir
	if dir == "" {
		dir = l.dir
	}
	if filepath.IsAbs(path) {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return "", err
		}
		if path, err = filepath.Rel(abs, path); err != nil {
			return "", err
		}
	}
	if !filepath.IsLocal(path) {
		return "", fmt.Errorf("{file: …} must be below %s; name another folder with --secrets-dir", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	f, err := root.Open(path)
	if err != nil {
		return "", fmt.Errorf("{file: %s}: %w", path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 64<<10+1))
	if err != nil {
		return "", err
	}
	if len(data) > 64<<10 {
		return "", fmt.Errorf("{file: %s}: larger than 64 KiB", path)
	}
	value := strings.TrimRight(string(data), "\r\n")
	if value == "" {
		return "", errors.New("{file: " + path + "}: the file is empty")
	}
	return value, nil
}
