package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"countersign/internal/config"
	"countersign/internal/hub"
)

// client calls the admin API of a running hub.
type client struct {
	base, token string
	tenant      string // of Countersign-Tenant; empty: the token's own
	http        *http.Client
}

// address is what serve writes for commands on the same machine.
type address struct {
	Admin  string `json:"admin"`
	Public string `json:"public"`
}

// client finds the hub: flags, then the environment, then the data folder.
func (a *App) client() (*client, error) {
	c := &client{base: a.flags.server, token: a.flags.token}
	data := a.flags.data
	if c.base == "" && data == "" {
		c.base = a.Env("COUNTERSIGN_SERVER")
	}
	if c.token == "" && data == "" {
		c.token = a.Env("COUNTERSIGN_TOKEN")
	}
	if data == "" && (c.base == "" || c.token == "") {
		if _, err := os.Stat(filepath.Join("data", config.AddressFile)); err == nil {
			data = "data"
		}
	}
	pool, err := a.roots()
	if err != nil {
		return nil, err
	}
	if data != "" {
		if c.base == "" {
			raw, err := os.ReadFile(filepath.Join(data, config.AddressFile))
			var ad address
			if err != nil || json.Unmarshal(raw, &ad) != nil || ad.Admin == "" {
				return nil, hub.Errorf(hub.Unavailable, "no hub runs with the data folder %s", data).WithHint("countersign serve --data %s", data)
			}
			c.base = ad.Admin
		}
		if c.token == "" {
			raw, err := os.ReadFile(filepath.Join(data, config.TokenFile))
			if err != nil {
				return nil, hub.Errorf(hub.Unauthenticated, "operator token: %w", err).WithHint("give a token with --token or COUNTERSIGN_TOKEN")
			}
			c.token = strings.TrimSpace(string(raw))
		}
		if pem, err := os.ReadFile(filepath.Join(data, config.CertFile)); err == nil {
			pool.AppendCertsFromPEM(pem)
		}
	}
	if c.base == "" {
		return nil, hub.Errorf(hub.Invalid, "which hub?").WithHint("give --data DIR of a hub on this machine, or --server URL and --token TOKEN; to start one: countersign serve")
	}
	u, err := url.Parse(c.base)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, hub.Errorf(hub.Invalid, "--server %q is not a URL", c.base).WithHint("as in --server https://hub.example.test:8444")
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, hub.Errorf(hub.Invalid, "a token is not sent over http to %s", u.Host).WithHint("use https")
	}
	found := newClient(strings.TrimSuffix(c.base, "/"), c.token, pool)
	found.tenant = a.flags.tenant
	return found, nil
}

func newClient(base, token string, roots *x509.CertPool) *client {
	return &client{base: base, token: token, http: &http.Client{Timeout: 60 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, Proxy: http.ProxyFromEnvironment},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// loopback reports whether a host is this machine. A name that only begins like such an address is not.
func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// problem is an RFC 9457 answer of the hub.
type problem struct {
	Title     string   `json:"title"`
	Status    int      `json:"status"`
	Code      hub.Code `json:"code"`
	Hint      string   `json:"hint"`
	Reference string   `json:"reference"`
}

// do calls the API. body and out may be nil; headers come in pairs.
func (c *client) do(ctx context.Context, method, path string, q url.Values, body, out any, headers ...string) error {
	raw, err := c.raw(ctx, method, path, q, body, headers...)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return hub.Errorf(hub.Internal, "the answer of %s cannot be read: %w", c.base, err).WithHint("does --server name the admin listener of a hub?")
	}
	return nil
}

func (c *client) raw(ctx context.Context, method, path string, q url.Values, body any, headers ...string) ([]byte, error) {
	var rd io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		rd = bytes.NewReader(b)
	}
	target := c.base + "/api/v1" + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, rd)
	if err != nil {
		return nil, hub.Errorf(hub.Invalid, "%w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.tenant != "" {
		req.Header.Set("Countersign-Tenant", c.tenant)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, hub.Errorf(hub.Unavailable, "the hub at %s does not answer: %w", c.base, err).WithHint("is it running? countersign serve")
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, hub.Errorf(hub.Unavailable, "the answer of %s broke off: %w", c.base, err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return data, nil
	}
	var p problem
	if json.Unmarshal(data, &p) != nil || p.Code == "" {
		return nil, hub.Errorf(hub.Internal, "%s answered %s", c.base, resp.Status).WithHint("does --server name the admin listener of a hub?")
	}
	e := &hub.Error{Code: p.Code, Message: p.Title, Hint: p.Hint}
	if p.Code == hub.Internal {
		e.Message += " (reference " + p.Reference + ")"
	}
	return nil, e
}

// list reads pages until limit items came; 0 reads all. more reports that there is more.
func (c *client) list(ctx context.Context, path string, q url.Values, limit int) (items []json.RawMessage, more bool, err error) {
	if q == nil {
		q = url.Values{}
	}
	for {
		size := 500
		if limit > 0 && limit-len(items) < size {
			size = limit - len(items)
		}
		if q.Get("unpaged") == "" {
			q.Set("limit", itoa(size))
		}
		var page struct {
			Items []json.RawMessage `json:"items"`
			Next  string            `json:"next"`
		}
		send := url.Values{}
		for k, v := range q {
			if k != "unpaged" {
				send[k] = v
			}
		}
		if err := c.do(ctx, "GET", path, send, nil, &page); err != nil {
			return nil, false, err
		}
		items = append(items, page.Items...)
		if page.Next == "" {
			return items, false, nil
		}
		if limit > 0 && len(items) >= limit {
			return items, true, nil
		}
		q.Set("after", page.Next)
	}
}
