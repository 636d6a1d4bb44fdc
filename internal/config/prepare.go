package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"countersign/internal/hub"
)

// Names of the files that the hub makes in its data folder.
const (
	CertFile     = "self-signed.pem"
	KeyFile      = "self-signed-key.pem"
	MasterFile   = "master.key"
	DatabaseFile = "countersign.db"
	TokenFile    = "operator.token"
	AddressFile  = "address.json" // {"admin": URL, "public": URL}: where a running hub is
)

// Prepared is what Prepare found or made.
type Prepared struct {
	Certificate *tls.Certificate // nil where both listeners speak plain http
	Database    string           // for store.Open: "sqlite:PATH" or "postgres://…"
	Notes       []string         // sentences for the operator: what was made, what to change before others rely on it
}

// Prepare makes the data folder (0700), and in it a self-signed certificate where the settings name
// none. What is there is used again. Call Check first. The master key is internal/vault's to read or
// make, at MasterPath; Prepare only refuses a data folder that has lost it.
func (c *Config) Prepare(now time.Time) (*Prepared, error) {
	p := &Prepared{Database: c.Database}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, hub.Errorf(hub.Invalid, "data folder: %w", err).WithHint("give a folder that can be written with --data DIR")
	}
	if p.Database == "" {
		p.Database = "sqlite:" + filepath.Join(c.Data, DatabaseFile)
	}
	if err := c.checkMaster(); err != nil {
		return nil, err
	}
	if c.Plain() && c.AdminPlain() {
		return p, nil
	}
	certPath, keyPath := c.TLS.Cert, c.TLS.Key
	if certPath == "" {
		certPath, keyPath = filepath.Join(c.Data, CertFile), filepath.Join(c.Data, KeyFile)
		made, err := selfSigned(certPath, keyPath, now)
		if err != nil {
			return nil, fmt.Errorf("self-signed certificate: %w", err)
		}
		if made {
			p.Notes = append(p.Notes, "made a self-signed certificate for localhost in "+certPath+"; set public_url and tls before other systems call")
		} else {
			p.Notes = append(p.Notes, "uses the self-signed certificate "+certPath)
		}
	}
	pair, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err != nil {
		return nil, hub.Errorf(hub.Invalid, "tls: %w", err).WithHint("check that cert and key are PEM files that belong together")
	}
	p.Certificate = &pair
	return p, nil
}

// URL is the public URL where the settings name none: localhost with the port that was bound.
func (c *Config) URL(bound net.Addr) string {
	if c.PublicURL != "" {
		return strings.TrimSuffix(c.PublicURL, "/")
	}
	_, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return "https://localhost"
	}
	return "https://localhost:" + port
}

// AdminURL is where people and the command line reach the admin listener.
func (c *Config) AdminURL(bound net.Addr) string {
	scheme := "https"
	if c.AdminPlain() {
		scheme = "http"
	}
	host, _, err := net.SplitHostPort(c.AdminListen)
	if err != nil || host == "" || host == "0.0.0.0" || host == "::" {
		host = "localhost"
	}
	_, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return scheme + "://" + host
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// checkMaster refuses to start a database without its key with a new one: nothing in it could be opened.
func (c *Config) checkMaster() error {
	if c.MasterKey.File != "" || c.MasterKey.Env != "" {
		return nil
	}
	path := c.MasterPath()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(filepath.Join(c.Data, DatabaseFile)); err == nil {
		return hub.Errorf(hub.Invalid, "the master key %s is gone, but the database is there", path).WithHint("put the key back, or name it with master_key")
	}
	return nil
}

// MasterPath is where a master key is made when the settings name none.
func (c *Config) MasterPath() string { return filepath.Join(c.Data, MasterFile) }

// writePrivate writes a new file of mode 0600 and never over an old one.
func writePrivate(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
