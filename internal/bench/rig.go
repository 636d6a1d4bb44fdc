package bench

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"countersign/internal/egress"
	"countersign/internal/stage"
	"countersign/receiver"
	"countersign/stream"
)

// rig is one hub process with everything around it.
type rig struct {
	opt    Options
	dir    string
	ca     *stage.CA
	cert   tls.Certificate
	hub    *stage.Hub
	public string // https://localhost:PORT
	schema string
	token  string // of the client "bench"
}

// props are what a run adds to a plain hub.
type props struct {
	ca        *stage.CA // nil: one is made
	resources string    // YAML documents after the client, each begun with ---
	secrets   map[string]string
	args, env []string
}

// newRig writes the configuration, starts the hub with the resources and makes the client's token.
func newRig(ctx context.Context, opt Options, p props) (*rig, error) {
	dir, err := os.MkdirTemp("", "countersign-bench-")
	if err != nil {
		return nil, err
	}
	g := &rig{opt: opt, dir: dir}
	if p.ca == nil {
		if p.ca, err = stage.NewCA("Countersign bench"); err != nil {
			return g, err
		}
	}
	g.ca = p.ca
	if g.cert, err = g.ca.Leaf("bench"); err != nil {
		return g, err
	}
	port, err := stage.FreePort()
	if err != nil {
		return g, err
	}
	admin, err := stage.FreePort()
	if err != nil {
		return g, err
	}
	if err := g.ca.WriteLeaf("hub", g.path("hub.crt"), g.path("hub.key")); err != nil {
		return g, err
	}
	database := ""
	if opt.Database != "" {
		u, err := url.Parse(opt.Database)
		if err != nil {
			return g, err
		}
		var b [4]byte
		rand.Read(b[:])
		g.schema = "countersign_bench_" + hex.EncodeToString(b[:])
		q := u.Query()
		q.Set("search_path", g.schema)
		u.RawQuery = q.Encode()
		database = fmt.Sprintf("database: %q\n", u.String())
	}
	if err := os.MkdirAll(g.path("secrets"), 0o700); err != nil {
		return g, err
	}
	for name, value := range p.secrets {
		if err := os.WriteFile(g.path("secrets/"+name), []byte(value), 0o600); err != nil {
			return g, err
		}
	}
	g.public = fmt.Sprintf("https://localhost:%d", port)
	config := fmt.Sprintf(`public_url: %s
listen: 127.0.0.1:%d
admin_listen: 127.0.0.1:%d
tls: {cert: %q, key: %q}
ca_file: %q
data: %q
%ssecrets_dir: %q
egress: {allow: [127.0.0.0/8, "::1/128"]}
`, g.public, port, admin, g.path("hub.crt"), g.path("hub.key"), g.path("ca.crt"), g.path("data"), database, g.path("secrets"))
	for name, text := range map[string]string{"ca.crt": string(g.ca.PEM()), "hub.yaml": config, "resources.yaml": "apiVersion: countersign/v1\n" + clientYAML(opt.Alg) + p.resources} {
		if err := os.WriteFile(g.path(name), []byte(text), 0o600); err != nil {
			return g, err
		}
	}
	if opt.Fsync > 0 {
		p.env = append(p.env, "COUNTERSIGN_BENCH_FSYNC="+opt.Fsync.String())
		p.args = append(p.args, "--dev")
	}
	g.hub = &stage.Hub{
		Exe: opt.Exe, Dir: g.path("data"), Admin: fmt.Sprintf("http://127.0.0.1:%d", admin), Roots: g.ca.Pool(), Env: p.env,
		Args: append([]string{"--config", g.path("hub.yaml"), "--apply", g.path("resources.yaml")}, p.args...),
	}
	if err := g.hub.Start(ctx); err != nil {
		return g, err
	}
	out, err := g.hub.Run(ctx, "token", "create", "--client", "bench", "--json", "--data", g.hub.Dir)
	if err != nil {
		return g, err
	}
	var made struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(out, &made); err != nil {
		return g, fmt.Errorf("token create: %w", err)
	}
	g.token = made.Token
	return g, nil
}

func clientYAML(alg string) string {
	if alg == "" {
		alg = "RS256"
	}
	return "kind: client\nname: bench\nauth: bearer\nscopes: [ssf.read, ssf.manage, signals.write, signals.read]\nstreams: many\nalg: " + alg + "\n"
}

func (g *rig) path(name string) string { return filepath.Join(g.dir, name) }

// close stops the hub and removes what the run made.
func (g *rig) close() {
	if g.hub != nil {
		g.hub.Stop()
	}
	if g.schema != "" && g.opt.DropSchema != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		g.opt.DropSchema(ctx, g.opt.Database, g.schema)
	}
	if os.Getenv("COUNTERSIGN_BENCH_KEEP") == "" {
		os.RemoveAll(g.dir)
	}
}

// streams makes n push streams at the hub through its stream API, as receivers do.
func (g *rig) streams(ctx context.Context, n int, endpoint func(i int) string, events ...string) error {
	client := &receiver.Client{
		HTTP:      g.client(),
		Authorize: func(r *http.Request) error { r.Header.Set("Authorization", "Bearer "+g.token); return nil },
	}
	md, err := client.Discover(ctx, g.public, "")
	if err != nil {
		return err
	}
	for i := range n {
		_, err := client.Create(ctx, md, &stream.Configuration{
			EventsRequested: events,
			Delivery:        &stream.Delivery{Method: stream.PushMethod, EndpointURL: endpoint(i)},
		})
		if err != nil {
			return fmt.Errorf("stream %d: %w", i, err)
		}
	}
	return nil
}

// light is a client that costs the load little, so that the two cores are the hub's: in the caller's goroutine, on
// connections that stay.
func (g *rig) light() *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: egress.Push(egress.Config{Dev: true, RootCAs: g.ca.Pool(), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}})}
}

func (g *rig) client() *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: g.ca.Pool()}, MaxIdleConnsPerHost: 512, MaxConnsPerHost: 512,
	}}
}
