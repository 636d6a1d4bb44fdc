package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"countersign/internal/config"
	"countersign/internal/hub"
	"countersign/set"
	"countersign/stream"
)

// plainGet reads an address of the admin listener that needs no token, and gives the hub's clock as its answer says it.
func (c *client) plainGet(ctx context.Context, path string, into any) (time.Time, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return time.Time{}, hub.Errorf(hub.Invalid, "%w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return time.Time{}, reached("the hub at "+c.base, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	date, _ := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return date, reached("the hub at "+c.base, err)
	}
	if resp.StatusCode != http.StatusOK {
		return date, hub.Errorf(hub.Unavailable, "%s answered %s", path, resp.Status)
	}
	if into != nil && json.Unmarshal(body, into) != nil {
		return date, hub.Errorf(hub.Internal, "%s is not the admin listener of a hub", c.base).WithHint("give --server, or --data of a hub on this machine")
	}
	return date, nil
}

// clock compares the hub's clock with ours.
func (d *doctor) clock(date time.Time) {
	if date.IsZero() {
		d.add("clock", checkNot, "the hub does not say what time it is", "")
		return
	}
	u, _ := url.Parse(d.cl.base)
	off := time.Since(date).Truncate(time.Second) // the answer says whole seconds
	switch {
	case off > 5*time.Second || off < -5*time.Second:
		d.add("clock", checkWarn, fmt.Sprintf("the hub's clock and this one are %s apart", off.Abs()), "set both by a time server; receivers refuse tokens from the future")
	case u != nil && loopback(u.Hostname()):
		d.add("clock", checkNot, "the hub is on this machine, so there is no other clock to compare with: "+date.UTC().Format(time.RFC3339), "see that a time server sets it")
	default:
		d.add("clock", checkOK, "the hub's clock and this one agree", "")
	}
}

// outside looks at the hub as other systems see it.
func (d *doctor) outside(ctx context.Context, public string) {
	if public == "" {
		d.add("certificate", checkNot, "the public address is not known here", "run it with --data on the hub's machine")
		return
	}
	u, err := url.Parse(public)
	if err != nil {
		d.add("certificate", checkFail, err.Error(), "")
		return
	}
	if u.Scheme == "http" {
		d.add("certificate", checkWarn, public+" is http, which is for development and for a proxy that ends TLS", "give tls, or see that the proxy speaks https")
	} else {
		d.certificate(ctx, u)
	}
	d.discovery(ctx, public)
}

// certificate looks at what the public listener shows.
func (d *doctor) certificate(ctx context.Context, u *url.URL) {
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), "443")
	}
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	// What is shown is looked at by us, so that an untrusted one can be described.
	dialer := tls.Dialer{Config: &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: true}}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		d.add("certificate", checkFail, fmt.Sprintf("%s cannot be reached: %v", u.Host, err), "see that the name leads here and that a firewall lets it through")
		return
	}
	defer conn.Close()
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	leaf := chain[0]
	left := time.Until(leaf.NotAfter)
	opt := x509.VerifyOptions{DNSName: u.Hostname(), Intermediates: x509.NewCertPool(), CurrentTime: time.Now()}
	for _, c := range chain[1:] {
		opt.Intermediates.AddCert(c)
	}
	if opt.Roots, err = d.a.roots(); err != nil {
		d.add("certificate", checkFail, err.Error(), "")
		return
	}
	until := "for " + u.Hostname() + ", until " + leaf.NotAfter.UTC().Format("2006-01-02")
	_, err = leaf.Verify(opt)
	var unknown x509.UnknownAuthorityError
	switch {
	case left <= 0:
		d.add("certificate", checkFail, "it ended on "+leaf.NotAfter.UTC().Format("2006-01-02"), "renew it and start the hub again")
	case errors.As(err, &unknown):
		d.add("certificate", checkWarn, until+"; its issuer is not trusted by this machine, and receivers may not trust it either", "use one of a public authority, or give receivers yours; to check it here: --ca-file")
	case err != nil:
		d.add("certificate", checkFail, err.Error(), "get one for "+u.Hostname())
	case left < 14*24*time.Hour:
		d.add("certificate", checkWarn, until, "renew it and start the hub again")
	default:
		d.add("certificate", checkOK, until, "")
	}
}

// discovery reads metadata and keys as a receiver does.
func (d *doctor) discovery(ctx context.Context, public string) {
	pool, err := d.a.roots()
	if err != nil {
		d.add("discovery", checkFail, err.Error(), "")
		return
	}
	if pem, err := os.ReadFile(filepath.Join(d.data, config.CertFile)); err == nil {
		pool.AppendCertsFromPEM(pem)
	}
	cl := newClient(public, "", pool)
	cl.http.Timeout = 10 * time.Second
	u, err := stream.MetadataURL(public)
	if err != nil {
		d.add("discovery", checkFail, err.Error(), "public_url is the issuer of the hub")
		return
	}
	var md stream.Metadata
	if err := cl.fetch(ctx, u, &md); err != nil {
		d.add("discovery", checkFail, err.Error(), "see that "+u+" is served from outside as well")
		return
	}
	if md.Issuer != public {
		d.add("discovery", checkFail, "the metadata names the issuer "+md.Issuer+", not "+public, "set public_url")
		return
	}
	var raw json.RawMessage
	if err := cl.fetch(ctx, md.JWKSURI, &raw); err != nil {
		d.add("discovery", checkFail, "keys: "+err.Error(), "")
		return
	}
	keys, err := set.ParseJWKS(raw)
	if err != nil || len(keys) == 0 {
		d.add("discovery", checkFail, md.JWKSURI+" has no keys", "countersign key list")
		return
	}
	d.add("discovery", checkOK, fmt.Sprintf("%s, %d keys published", u, len(keys)), "")
}

// fetch reads a document of the public listener.
func (c *client) fetch(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return hub.Errorf(hub.Invalid, "%w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return reached(address, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		return hub.Errorf(hub.Unavailable, "%s answered %s", address, resp.Status)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return hub.Errorf(hub.Invalid, "%s is not what it should be: %w", address, err)
	}
	return nil
}

const (
	diskLow  = 1 << 30
	diskFull = 100 << 20
)

// files looks at the data folder: who can read it, where the master key is, how much room there is.
func (d *doctor) files() {
	if info, err := os.Stat(d.data); d.data == "" || err != nil || !info.IsDir() {
		d.add("files", checkNot, "there is no data folder on this machine", "run it with --data on the hub's machine")
		return
	}
	open := ""
	for _, name := range []string{"", config.TokenFile, config.MasterFile, config.KeyFile, config.DatabaseFile} {
		info, err := os.Stat(filepath.Join(d.data, name))
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			open = filepath.Join(d.data, name)
		}
	}
	if open != "" {
		d.add("files", checkFail, open+" can be read by others", "chmod go= "+open)
	} else {
		d.add("files", checkOK, d.data+" is its owner's alone", "")
	}
	if _, err := os.Stat(filepath.Join(d.data, config.MasterFile)); err == nil {
		d.add("master key", checkWarn, "it stands in the data folder, so every copy of the folder carries the key to its own secrets", "move it elsewhere and name it with master_key")
	} else {
		d.add("master key", checkOK, "it is not in the data folder", "")
	}
	free, total, err := diskSpace(d.data)
	seen := fmt.Sprintf("%s of %s free", size(free), size(total))
	switch {
	case err != nil:
		d.add("disk", checkNot, err.Error(), "")
	case free < diskFull:
		d.add("disk", checkFail, seen, "make room: a hub that cannot write takes nothing in")
	case free < diskLow:
		d.add("disk", checkWarn, seen, "make room before it is used up")
	default:
		d.add("disk", checkOK, seen, "")
	}
}

// size is a number of bytes for people.
func size(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
