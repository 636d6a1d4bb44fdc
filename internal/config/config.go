package config

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"countersign/internal/hub"
	"countersign/internal/yaml"
)

// Config is the configuration file. Each key has a default; a flag of serve wins over the file.
type Config struct {
	// The address other systems know us by, and the issuer of the default tenant: an https URL without
	// a path. Empty: https://localhost and the port of listen, under a self-signed certificate.
	PublicURL string `json:"public_url"`
	// Where the doors for other systems listen: discovery, streams, receive, receipts in.
	Listen string `json:"listen"`
	// Where people and operators come in: the admin API, the console, health and metrics.
	// Plain http on a loopback address, https with the certificate of tls anywhere else.
	AdminListen string `json:"admin_listen"`
	// More host names under which the admin listener may be called, besides its own address and
	// localhost. A request with another Host header is refused.
	AdminHosts []string `json:"admin_hosts"`
	// Certificate and key of the listeners, as PEM files. They are read at the start.
	TLS TLS `json:"tls"`
	// Networks of proxies that end TLS before us; the listener then speaks plain http and takes the
	// caller's address from X-Forwarded-For. Only connections from these networks are answered.
	TrustedProxies []string `json:"trusted_proxies"`
	// A PEM file with more roots for outgoing calls, besides those of the system.
	CAFile string `json:"ca_file"`
	// The folder where the hub keeps what it must not lose: the SQLite database, and what it made at
	// the first start (certificate, master key, operator token).
	Data string `json:"data"`
	// A postgres:// URL. Empty: SQLite in the data folder.
	Database string `json:"database"`
	// The name of this node, which must stay the same over restarts. Several hubs on one PostgreSQL
	// database have several names. Empty: the name of the host.
	Node string `json:"node"`
	// The key under which secrets and signing keys are kept, 32 bytes as base64, in a file or a
	// variable. Empty: a key made in the data folder. Keep it apart from the backups.
	MasterKey Reference `json:"master_key"`
	// Signing keys of your own. Without them the hub makes its keys itself, as it does for other tenants.
	Keys Keys `json:"keys"`
	// The folder below which {file: …} in files given to serve --apply is read.
	SecretsDir string `json:"secrets_dir"`
	// A folder with connector packs of your own, one folder each.
	Packs string `json:"packs"`
	// What the hub may call besides public addresses.
	Egress Egress `json:"egress"`
	// The merchant's name as receipts print it.
	Name string `json:"name"`
	// How the hub transmits to receivers.
	Transmitter Transmitter `json:"transmitter"`
	// Where traces are sent, by OTLP over HTTP, such as http://127.0.0.1:4318. Empty: where the variable
	// OTEL_EXPORTER_OTLP_ENDPOINT says, and nowhere without it.
	OTLPEndpoint string `json:"otlp_endpoint"`
	// What is logged.
	Log Log `json:"log"`

	// Dev opens http and loopback targets, refuses listeners that are not loopback, and marks
	// receipts. It comes from the flag --dev only.
	Dev bool `json:"-"`
}

// TLS names the certificate of the listeners. Both or none.
type TLS struct {
	// The certificate chain.
	Cert string `json:"cert"`
	// Its private key.
	Key string `json:"key"`
}

// Reference says where a secret is; at most one member is set.
type Reference struct {
	// The path of a file.
	File string `json:"file"`
	// The name of an environment variable.
	Env string `json:"env"`
}

// Keys are signing keys from outside.
type Keys struct {
	// PEM files with a private key each: RSA for RS256, P-256 for ES256, Ed25519 for EdDSA. They are read at the start,
	// sealed with the master key and kept in the database, for the tenant default. A further one of the same algorithm
	// is a rotation: it is published first and signs ten minutes later.
	Files []string `json:"files"`
}

// Transmitter says how the hub transmits. Spans are written as in 30s, 15m or 168h; an empty one is none.
type Transmitter struct {
	// How long a token waits for its receiver before it is set aside.
	Retention string `json:"retention"`
	// How long the history of deliveries, and what was set aside, is kept.
	History string `json:"history"`
	// How long a poll is held while there is nothing to give.
	PollWait string `json:"poll_wait"`
	// Whether a new stream takes events about everybody, or about nobody until its receiver adds people: ALL or NONE.
	DefaultSubjects string `json:"default_subjects"`
	// A new stream whose receiver is silent for so long is paused.
	Inactivity string `json:"inactivity"`
	// How long events about a person are still sent after the receiver removed that person from its stream.
	RemovalGrace string `json:"removal_grace"`
	// The least time between two verification requests of a receiver on one stream.
	MinVerification string `json:"min_verification"`
	// How many people a receiver may add to one stream.
	MaxSubjects int64 `json:"max_subjects"`
	// How many streams a client with streams: many may have.
	MaxStreams int64 `json:"max_streams"`
}

// Egress bounds outgoing calls.
type Egress struct {
	// Private or loopback networks that may be called over https. Everything private is refused otherwise.
	Allow []string `json:"allow"`
}

// Log says what is logged, and how.
type Log struct {
	// debug, info, warn or error.
	Level string `json:"level"`
	// text or json.
	Format string `json:"format"`
}

// Default gives the settings that hold where a file says nothing.
func Default() Config {
	return Config{
		Listen:      "127.0.0.1:8443",
		AdminListen: "127.0.0.1:8444",
		Data:        "./data",
		Name:        "Countersign",
		Transmitter: Transmitter{Retention: "168h", History: "720h", PollWait: "30s", DefaultSubjects: "ALL", MaxSubjects: 10_000_000, MaxStreams: 100},
		Log:         Log{Level: "info", Format: "text"},
	}
}

//go:embed example.yaml
var example []byte

// Example is the whole configuration file: every key with its comment and its default.
func Example() []byte { return bytes.Clone(example) }

// Load reads a file over the defaults. Relative paths in it are relative to the file. It does not check the values.
func Load(path string) (Config, error) {
	c := Default()
	data, err := os.ReadFile(path)
	if err != nil {
		code := hub.Invalid
		if errors.Is(err, fs.ErrNotExist) {
			code = hub.NotFound
		}
		return c, hub.Errorf(code, "configuration: %w", err).WithHint("countersign config example > %s", path)
	}
	if err := Parse(data, &c); err != nil {
		return c, hub.Errorf(hub.Invalid, "%s: %w", path, err).WithHint("countersign config example")
	}
	dir := filepath.Dir(path)
	for _, p := range []*string{&c.TLS.Cert, &c.TLS.Key, &c.CAFile, &c.Data, &c.MasterKey.File, &c.SecretsDir, &c.Packs} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	for i, p := range c.Keys.Files {
		if !filepath.IsAbs(p) {
			c.Keys.Files[i] = filepath.Join(dir, p)
		}
	}
	return c, nil
}

// Parse reads a file's text into c: members that are not there keep their value, unknown ones are
// an error with line, column and the nearest key.
func Parse(data []byte, c *Config) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	if err := yaml.Decode(data, c); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return nil
}
