package egress_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"countersign/internal/egress"
)

// names is a resolver that answers from a table; a second call gets the second answer.
type names struct {
	answers map[string][][]string
	calls   atomic.Int64
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	turns := n.answers[host]
	if len(turns) == 0 {
		return nil, errors.New("no such host")
	}
	i := int(n.calls.Add(1)) - 1
	var out []netip.Addr
	for _, s := range turns[min(i, len(turns)-1)] {
		out = append(out, netip.MustParseAddr(s))
	}
	return out, nil
}

func TestRefusedAddresses(t *testing.T) {
	for _, host := range []string{
		"127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "169.254.169.254", "[::ffff:169.254.169.254]", "[fd00:ec2::254]",
		"168.63.129.16", "100.100.100.200", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "0.0.0.0", "[::]", "[fe80::1]", "[fe80::1%25eth0]",
		"[fc00::1]", "[fd12::1]", "[fec0::1]", "224.0.0.1", "255.255.255.255", "[ff02::1]", "[64:ff9b::7f00:1]", "[64:ff9b::a00:1]", "[2002:7f00:1::]", "[2001::1]", "[4000::1]", "[100::1]", "192.0.0.192",
	} {
		t.Run(host, func(t *testing.T) {
			for _, c := range []*http.Client{egress.Client(egress.Config{}), egress.Client(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("10.255.0.0/16")}})} {
				_, err := c.Get("https://" + host + ":1/")
				if !errors.Is(err, egress.ErrRefused) {
					t.Errorf("got %v, want a refusal", err)
				}
			}
		})
	}
}

// Forms of 127.0.0.1 that are names to us: whatever a resolver makes of them is checked.
func TestOddHostForms(t *testing.T) {
	for _, host := range []string{"2130706433", "0177.0.0.1", "0x7f.0.0.1", "127.1", "0x7f000001", "localhost", "localtest.example"} {
		t.Run(host, func(t *testing.T) {
			n := &names{answers: map[string][][]string{host: {{"127.0.0.1"}}}}
			_, err := egress.Client(egress.Config{Resolver: n}).Get("https://" + host + "/")
			if !errors.Is(err, egress.ErrRefused) {
				t.Errorf("got %v, want a refusal", err)
			}
			if n.calls.Load() != 1 {
				t.Errorf("resolved %d times", n.calls.Load())
			}
		})
	}
}

func TestSchemes(t *testing.T) {
	n := &names{answers: map[string][][]string{"a.test": {{"127.0.0.1"}}}}
	for _, u := range []string{"http://a.test/", "ftp://a.test/", "https://user:pw@a.test/"} {
		if _, err := egress.Client(egress.Config{Resolver: n}).Get(u); !errors.Is(err, egress.ErrRefused) {
			t.Errorf("%s: got %v", u, err)
		}
	}
	if n.calls.Load() != 0 {
		t.Error("a refused scheme asked the name service")
	}
}

func serve(t *testing.T, h http.HandlerFunc) (*httptest.Server, *x509.CertPool, string) {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	u, _ := url.Parse(s.URL)
	return s, pool, u.Port()
}

func TestAllowedAndRebinding(t *testing.T) {
	var hits atomic.Int64
	s, pool, port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		if r.URL.Path == "/redirect" {
			http.Redirect(w, r, "https://169.254.169.254/", http.StatusFound)
			return
		}
		io.WriteString(w, "hello")
	})
	allow := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	c := egress.Client(egress.Config{Allow: allow, RootCAs: pool})
	resp, err := c.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()

	resp, err = c.Get(s.URL + "/redirect")
	if err != nil || resp.StatusCode != http.StatusFound {
		t.Fatalf("a redirect is an answer and not followed: %v %v", resp, err)
	}
	resp.Body.Close()

	// Without the certificate's authority nothing is sent.
	before := hits.Load()
	if _, err := egress.Client(egress.Config{Allow: allow}).Get(s.URL); err == nil || hits.Load() != before {
		t.Error("an unknown authority was accepted")
	}

	// The name answers an allowed address first and a closed one at the second look: each connection is
	// checked on the address it goes to.
	n := &names{answers: map[string][][]string{"example.com": {{"127.0.0.1"}, {"10.0.0.7"}}}}
	c = egress.Client(egress.Config{Allow: allow, RootCAs: pool, Resolver: n})
	resp, err = c.Get("https://example.com:" + port)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	c.CloseIdleConnections()
	if _, err := c.Get("https://example.com:" + port); !errors.Is(err, egress.ErrRefused) {
		t.Errorf("rebinding got %v, want a refusal", err)
	}
	// A list that mixes closed and open addresses uses the open ones only.
	n = &names{answers: map[string][][]string{"example.com": {{"10.0.0.7", "127.0.0.1"}}}}
	c = egress.Client(egress.Config{Allow: allow, RootCAs: pool, Resolver: n})
	if resp, err = c.Get("https://example.com:" + port); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

func TestDev(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer s.Close()
	resp, err := egress.Client(egress.Config{Dev: true}).Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if _, err := egress.Client(egress.Config{Dev: true}).Get("http://10.0.0.1/"); !errors.Is(err, egress.ErrRefused) {
		t.Errorf("dev opens loopback only: %v", err)
	}
}

func TestBound(t *testing.T) {
	s, pool, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		chunk := []byte(strings.Repeat("x", 1<<20))
		for range 9 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	resp, err := egress.Client(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, RootCAs: pool}).Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if !errors.Is(err, egress.ErrTooLarge) || n != egress.MaxBody {
		t.Errorf("read %d, %v", n, err)
	}
}

func TestClosed(t *testing.T) {
	cfg := egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
	for host, closed := range map[string]bool{
		"169.254.169.254": true, "10.2.0.1": true, "::ffff:10.2.0.1": true, "127.0.0.1": true, "0.0.0.0": true, "fd00:ec2::254": true,
		"10.1.2.3": false, "::ffff:10.1.2.3": false, "93.184.215.14": false, "events.example.test": false, "2852039166": false,
	} {
		if got := egress.Closed(cfg, host) != ""; got != closed {
			t.Errorf("%s is closed: %t", host, got)
		}
	}
	if egress.Closed(egress.Config{Dev: true}, "127.0.0.1") != "" {
		t.Error("loopback is closed in development")
	}
}
