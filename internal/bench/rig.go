package bench

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
	plain  bool   // its doors speak http

	database string // line of the configuration file
}

// props are what a run adds to a plain hub.
type props struct {
	ca        *stage.CA // nil: one is made
	resources string    // YAML documents after the client, each begun with ---
	secrets   map[string]string
	args, env []string
	dir       string // where everything lies; empty: a temporary folder
	named     bool   // the client's streams call people by a name of its own, and the people are known
	plain     bool   // TLS ends at a proxy before the hub
	config    string // lines added to the configuration file
}

// newRig writes the configuration, starts the hub with the resources and makes the client's token.
func newRig(ctx context.Context, opt Options, p props) (*rig, error) {
	dir, err := os.MkdirTemp(p.dir, "countersign-bench-")
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
	g.public, g.database = fmt.Sprintf("https://localhost:%d", port), database
	g.plain = p.plain
	config := g.config("one", port, admin, "") + p.config
	for name, text := range map[string]string{"ca.crt": string(g.ca.PEM()), "hub.yaml": config, "resources.yaml": "apiVersion: countersign/v1\n" + clientYAML(opt.Alg, p.named) + p.resources} {
		if err := os.WriteFile(g.path(name), []byte(text), 0o600); err != nil {
			return g, err
		}
	}
	if opt.Fsync > 0 {
		p.env = append(p.env, "COUNTERSIGN_BENCH_FSYNC="+opt.Fsync.String())
		p.args = append(p.args, "--dev")
	}
	g.hub = &stage.Hub{
		Exe: opt.Exe, Dir: g.path("data-one"), Admin: fmt.Sprintf("http://127.0.0.1:%d", admin), Roots: g.ca.Pool(), Env: p.env,
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

func clientYAML(alg string, named bool) string {
	if alg == "" {
		alg = "RS256"
	}
	text := "kind: client\nname: bench\nauth: bearer\nscopes: [ssf.read, ssf.manage, signals.write, signals.read]\nstreams: many\nalg: " + alg + "\n"
	if !named {
		return text
	}
	// The signals name people by an address; the receiver is told an id of its own place.
	var b strings.Builder
	b.WriteString(text + "subject: {format: opaque, account_at: directory}\n---\nkind: source\nname: directory\ntype: ssf\nissuer: https://directory.example\n" +
		"stream: none\naudience: [https://hub.example]\nkeys: {jwks: " + directoryKeys + "}\n")
	for i := range people {
		fmt.Fprintf(&b, "---\nkind: identity\nname: p%d\nemails: [p%d@example.test]\naccounts: [{at: directory, id: d%d}]\n", i, i, i)
	}
	return b.String()
}

// config is the configuration file of one node.
func (g *rig) config(node string, port, admin int, more string) string {
	ends := fmt.Sprintf("tls: {cert: %q, key: %q}", g.path("hub.crt"), g.path("hub.key"))
	if g.plain {
		ends = `trusted_proxies: [127.0.0.0/8, "::1/128"]`
	}
	return fmt.Sprintf(`public_url: %s
listen: 127.0.0.1:%d
admin_listen: 127.0.0.1:%d
%s
ca_file: %q
node: %s
data: %q
%ssecrets_dir: %q
egress: {allow: [127.0.0.0/8, "::1/128"]}
transmitter: {max_streams: 20000}
%s`, g.public, port, admin, ends, g.path("ca.crt"), node, g.path("data-"+node), g.database, g.path("secrets"), more)
}

// another starts a second node on the same database.
func (g *rig) another(ctx context.Context, p props) (*stage.Hub, error) {
	port, err := stage.FreePort()
	if err != nil {
		return nil, err
	}
	admin, err := stage.FreePort()
	if err != nil {
		return nil, err
	}
	config := g.config("two", port, admin, fmt.Sprintf("master_key: {file: %q}\n", g.path("data-one/master.key")))
	if err := os.WriteFile(g.path("two.yaml"), []byte(config), 0o600); err != nil {
		return nil, err
	}
	h := &stage.Hub{Exe: g.opt.Exe, Dir: g.path("data-two"), Admin: fmt.Sprintf("http://127.0.0.1:%d", admin), Roots: g.ca.Pool(), Env: p.env, Args: []string{"--config", g.path("two.yaml")}}
	return h, h.Start(ctx)
}

// directoryKeys is a key of the place where people have their ids; nothing is signed with it.
const directoryKeys = `{keys: [{kty: OKP, crv: Ed25519, kid: d1, alg: EdDSA, use: sig, x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`

// people is how many different ones the signals are about.
const people = 5000

// restful is how long a hub without load takes to give back the memory that an earlier load left behind, and some more.
const restful = 9 * time.Second

// rest lets the hub rest and gives its resident memory, in MB.
func (g *rig) rest() float64 {
	time.Sleep(restful)
	_, rss := usage(g.hub.PID())
	return rss
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
	_, err := g.makeStreams(ctx, n, func(i int) *stream.Configuration {
		return &stream.Configuration{EventsRequested: events, Delivery: &stream.Delivery{Method: stream.PushMethod, EndpointURL: endpoint(i)}}
	})
	return err
}

// makers is how many streams are made at once.
const makers = 8

// makeStreams makes n streams as want says.
func (g *rig) makeStreams(ctx context.Context, n int, want func(i int) *stream.Configuration) ([]*stream.Configuration, error) {
	client, md, err := g.api(ctx)
	if err != nil {
		return nil, err
	}
	made := make([]*stream.Configuration, n)
	errs := make([]error, makers)
	var work sync.WaitGroup
	for w := range makers {
		work.Go(func() {
			for i := w; i < n && errs[w] == nil; i += makers {
				var err error
				if made[i], err = client.Create(ctx, md, want(i)); err != nil {
					errs[w] = fmt.Errorf("stream %d: %w", i, err)
				}
			}
		})
	}
	work.Wait()
	return made, errors.Join(errs...)
}

// api is the hub's stream API as the bench's client sees it.
func (g *rig) api(ctx context.Context) (*receiver.Client, *stream.Metadata, error) {
	client := g.caller()
	md, err := client.Discover(ctx, g.public, "")
	return client, md, err
}

func (g *rig) caller() *receiver.Client {
	return &receiver.Client{HTTP: g.client(), Authorize: func(r *http.Request) error { r.Header.Set("Authorization", "Bearer "+g.token); return nil }}
}

// light is a client that costs the load little, so that the two cores are the hub's: in the caller's goroutine, on
// connections that stay.
func (g *rig) light() *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: egress.Push(egress.Config{Dev: true, RootCAs: g.ca.Pool(), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}})}
}

func (g *rig) client() *http.Client {
	var t http.RoundTripper = &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: g.ca.Pool()}, MaxIdleConnsPerHost: 512, MaxConnsPerHost: 512,
	}
	if g.plain {
		t = proxy{t}
	}
	return &http.Client{Timeout: 30 * time.Second, Transport: t}
}

// proxy is what a proxy that ends TLS is to the hub.
type proxy struct{ http.RoundTripper }

// RoundTrip passes a request on without TLS.
func (p proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme = "http"
	return p.RoundTripper.RoundTrip(r)
}
