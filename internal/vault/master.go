package vault

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Source says where the master key is. The first member that is set wins.
type Source struct {
	// File holds the key: base64 (either alphabet, with or without padding) of 32 bytes, or the 32 bytes.
	File string
	// Env names an environment variable with the base64 form.
	Env string
	// Made is where a key is made, with mode 0600, when neither is set, and where it is read again.
	Made string
}

// Master reads the master key, or makes it at src.Made. made reports that this call made it.
// A key file that others than its owner may read is refused, because then it protects nothing.
func Master(src Source) (key []byte, made bool, err error) {
	switch {
	case src.File != "":
		key, err = readKey(src.File)
		return key, false, err
	case src.Env != "":
		text, ok := os.LookupEnv(src.Env)
		if !ok {
			return nil, false, fmt.Errorf("vault: the environment has no %s", src.Env)
		}
		key, err = decodeKey([]byte(text))
		if err != nil {
			return nil, false, fmt.Errorf("vault: %s: %w", src.Env, err)
		}
		return key, false, nil
	case src.Made == "":
		return nil, false, errors.New("vault: no master key is configured")
	}
	key, err = readKey(src.Made)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	key = make([]byte, KeySize)
	rand.Read(key)
	err = writeOnce(src.Made, []byte(base64.StdEncoding.EncodeToString(key)+"\n"))
	if errors.Is(err, fs.ErrExist) { // another process was first
		key, err = readKey(src.Made)
		return key, false, err
	}
	if err != nil {
		return nil, false, fmt.Errorf("vault: make master key: %w", err)
	}
	return key, true, nil
}

func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("vault: master key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("vault: master key %s can be read by others (mode %#o); make it 0600", path, info.Mode().Perm())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("vault: master key: %w", err)
	}
	key, err := decodeKey(data)
	if err != nil {
		return nil, fmt.Errorf("vault: master key %s: %w", path, err)
	}
	return key, nil
}

func decodeKey(data []byte) ([]byte, error) {
	if len(data) == KeySize {
		return data, nil
	}
	text := strings.TrimRight(strings.TrimSpace(string(data)), "=")
	text = strings.NewReplacer("-", "+", "_", "/").Replace(text)
	key, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(key) != KeySize {
		return nil, fmt.Errorf("want base64 of %d bytes", KeySize)
	}
	return key, nil
}

// writeOnce makes a private file that did not exist, and is durable when it returns: losing the key
// after the first secret was sealed would lose the secret.
func writeOnce(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
