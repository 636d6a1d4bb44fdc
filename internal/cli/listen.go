package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
)

// listenFlags are those of listen.
type listenFlags struct {
	addr, cert, key, endpoint string
	pushAuth                  string

	transmitter, metadataURL string
	token, tokenFile         string
	clientID, secretFile     string
	tokenEndpoint, scope     string
	stream                   string
	events                   []string
	description              string
	poll, keep, insecure     bool
	jwks, issuer             string
	audience                 []string
	unverified               bool

	answer   string
	times    int
	receipts string
	count    int
	limit    time.Duration
}

func (a *App) listenCommand() *cobra.Command {
	var f listenFlags
	c := &cobra.Command{Use: "listen", Short: "A receiver that prints what arrives, without a hub", Args: exact(0),
		Long: "Listen takes Security Event Tokens by push, or polls for them, and prints a line for each. With --transmitter it makes a\n" +
			"stream of its own there, has it verified, and deletes it at the end unless --keep; --stream uses one that is there.\n" +
			"Tokens are verified with the issuer's keys, those of --jwks, or with --unverified not at all. It runs until Ctrl-C,\n" +
			"--count or --for.",
		Example: `  countersign listen --transmitter https://hub.example.test --token-file token --endpoint https://me.example.test/events --cert me.crt --key me.key
  countersign listen --transmitter https://hub.example.test --client-id crm --client-secret-file secret --poll --count 1 --json
  countersign listen --jwks jwks.json --iss https://idp.example.test --aud https://me.example.test --answer 503 --answer-times 2`,
		RunE: func(c *cobra.Command, _ []string) error {
			f.token = a.flags.token
			if err := f.check(); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if f.limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, f.limit)
				defer cancel()
			}
			return a.listen(ctx, f)
		}}
	s := c.Flags()
	s.StringVar(&f.addr, "addr", "127.0.0.1:0", "where to listen; port 0 takes a free one")
	s.StringVar(&f.cert, "cert", "", "certificate of the listener, PEM; without it plain http is spoken")
	s.StringVar(&f.key, "key", "", "its private key, PEM")
	s.StringVar(&f.endpoint, "endpoint", "", "the address by which the transmitter reaches us; made from --addr otherwise")
	s.StringVar(&f.pushAuth, "push-auth", "", "the Authorization value that pushes must have; a stream of our own gets one that is made up")
	s.StringVar(&f.transmitter, "transmitter", "", "issuer of a transmitter, at which a stream is made or used")
	s.StringVar(&f.metadataURL, "metadata-url", "", "where its metadata is, if not at the usual place")
	s.StringVar(&f.tokenFile, "token-file", "", "file with the access token for its stream API; --token takes the token itself")
	s.StringVar(&f.clientID, "client-id", "", "client id, for client credentials in place of a token")
	s.StringVar(&f.secretFile, "client-secret-file", "", "file with the client secret")
	s.StringVar(&f.tokenEndpoint, "token-endpoint", "", "where tokens are given; from the transmitter's metadata otherwise")
	s.StringVar(&f.scope, "scope", "ssf.manage", "scope to ask for")
	s.StringVar(&f.stream, "stream", "", "use this stream, which stays")
	s.StringSliceVar(&f.events, "events", nil, "event types to ask for, by name or URI; all that are offered otherwise")
	s.StringVar(&f.description, "description", "countersign listen", "description of the stream")
	s.BoolVar(&f.poll, "poll", false, "poll (RFC 8936) in place of taking pushes (RFC 8935)")
	s.BoolVar(&f.keep, "keep", false, "leave the stream there at the end")
	s.BoolVar(&f.insecure, "insecure-http", false, "allow http to this machine")
	s.StringVar(&f.jwks, "jwks", "", "file or URL with the issuer's keys; from the transmitter's metadata otherwise")
	s.StringVar(&f.issuer, "iss", "", "issuer, where there is no --transmitter")
	s.StringArrayVar(&f.audience, "aud", nil, "audience, where there is no --transmitter; may be repeated")
	s.BoolVar(&f.unverified, "unverified", false, "print tokens without verifying them")
	s.StringVar(&f.answer, "answer", "", "answer so, to try failures: a status, or 400:CODE, as in 503 or 400:invalid_request; not to verification events")
	s.IntVar(&f.times, "answer-times", 0, "give that answer so often, then take what comes; 0: always")
	s.StringVar(&f.receipts, "receipts", "", "negotiate receipts and answer orders, signed with a key that is thrown away: record (done for record, unsupported for other actions) or done (done for all)")
	s.Lookup("receipts").NoOptDefVal = "record"
	s.IntVar(&f.count, "count", 0, "end after so many tokens, verification events not counted")
	s.DurationVar(&f.limit, "for", 0, "end after this time, as in 30s")
	_ = c.RegisterFlagCompletionFunc("events", completeEvents)
	_ = c.RegisterFlagCompletionFunc("receipts", words("record", "done"))
	return c
}

// check refuses what does not go together before anything is done.
func (f *listenFlags) check() error {
	bad := func(format string, args ...any) error {
		return hub.Errorf(hub.Invalid, format, args...).WithHint("countersign listen --help")
	}
	switch {
	case f.transmitter == "" && (f.poll || f.stream != "" || f.receipts != ""):
		return bad("--poll, --stream and --receipts need a --transmitter")
	case f.transmitter == "" && !f.unverified && (f.jwks == "" || f.issuer == "" || len(f.audience) == 0):
		return bad("how are tokens verified? --transmitter, or --jwks with --iss and --aud, or --unverified is needed")
	case f.transmitter != "" && f.issuer != "":
		return bad("the issuer is that of --transmitter")
	case (f.cert == "") != (f.key == ""):
		return bad("--cert and --key go together")
	case f.receipts != "" && f.receipts != "record" && f.receipts != "done":
		return bad("--receipts is record or done, not %q", f.receipts)
	case f.clientID != "" && (f.token != "" || f.tokenFile != ""):
		return bad("a token or client credentials, not both")
	case f.clientID != "" && f.secretFile == "":
		return bad("--client-id needs --client-secret-file")
	case f.keep && f.stream != "":
		return bad("a stream of --stream stays anyway")
	}
	_, err := parseReply(f.answer)
	return err
}

// reply is what --answer wants.
type reply struct {
	status int
	err    string
}

// parseReply reads STATUS or STATUS:CODE; nothing is nil.
func parseReply(text string) (*reply, error) {
	if text == "" {
		return nil, nil
	}
	status, code, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(status)
	if err != nil || n < 200 || n > 599 || n == 202 {
		return nil, hub.Errorf(hub.Invalid, "--answer %q is not a status to fail with", text).WithHint("as in --answer 503 or --answer 400:invalid_request")
	}
	if code == "" && n >= 400 && n < 500 {
		code = "invalid_request"
	}
	return &reply{n, code}, nil
}

// door is an HTTP listener for pushes.
type door struct {
	net.Listener
	base string // scheme and host
}

func (f *listenFlags) open() (*door, error) {
	var config *tls.Config
	scheme := "http"
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, hub.Errorf(hub.Invalid, "--cert: %w", err).WithHint("give certificate and private key as PEM files")
		}
		config, scheme = &tls.Config{Certificates: []tls.Certificate{pair}}, "https"
	}
	l, err := net.Listen("tcp", f.addr)
	if err != nil {
		return nil, hub.Errorf(hub.Unavailable, "--addr: %w", err).WithHint("another program may have the port; --addr 127.0.0.1:0 takes a free one")
	}
	base := scheme + "://" + l.Addr().String()
	if config != nil {
		l = tls.NewListener(l, config)
	}
	return &door{l, base}, nil
}

// pushPath is where tokens come in unless --endpoint says otherwise.
const pushPath = "/events"

// listen receives until ctx ends, or as many tokens came as were asked for.
func (a *App) listen(ctx context.Context, f listenFlags) error {
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	l := &listener{a: a, f: f, enough: enough, states: map[string]chan struct{}{}}
	l.fail, _ = parseReply(f.answer)
	if err := l.prepare(ctx); err != nil {
		return err
	}
	if !f.poll {
		at, err := f.open()
		if err != nil {
			return err
		}
		if l.endpoint = f.endpoint; l.endpoint == "" {
			l.endpoint = at.base + pushPath
		}
		u, err := url.Parse(l.endpoint)
		if err != nil || u.Host == "" {
			at.Close()
			return hub.Errorf(hub.Invalid, "--endpoint %q is not a URL", l.endpoint)
		}
		mux := http.NewServeMux()
		mux.Handle(u.EscapedPath(), l.pushDoor())
		if u.Path == "" {
			mux.Handle("/", l.pushDoor())
		}
		srv := &http.Server{Handler: mux, ReadTimeout: 30 * time.Second}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(at) }()
		defer func() {
			end, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer stop()
			_ = srv.Shutdown(end)
			<-served
		}()
	}
	if f.transmitter != "" {
		if err := l.join(ctx); err != nil {
			if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
				err = nil
			}
			return errors.Join(err, l.leave(ctx))
		}
	}
	l.ready()
	var err error
	if f.poll {
		err = l.pollLoop(ctx)
	} else {
		<-ctx.Done()
	}
	l.work.Wait() // receipts that are being sent
	err = errors.Join(err, l.leave(ctx))
	if err == nil && f.count > 0 && l.seen() < f.count {
		return hub.Errorf(hub.Unavailable, "%d of %d tokens came", l.seen(), f.count).WithHint("look at the stream at the transmitter; there: countersign doctor stream NAME")
	}
	return err
}

// ready says where we listen.
func (l *listener) ready() {
	where := l.endpoint
	if l.f.poll {
		where = l.stream.Delivery.EndpointURL
	}
	if l.a.flags.json {
		line := map[string]any{"ready": true, "endpoint": where}
		if l.stream != nil {
			line["stream_id"], line["aud"] = l.stream.StreamID, l.stream.Audience
		}
		l.print(line)
		return
	}
	verb := "Listening at"
	if l.f.poll {
		verb = "Polling"
	}
	l.a.note("%s %s", verb, where)
}

// uris gives the URIs of event types that are named or written out.
func uris(names []string) ([]string, error) {
	reg := registry()
	var out []string
	for _, n := range names {
		t, ok := reg.Resolve(n)
		switch u, err := url.Parse(n); {
		case ok:
			n = t.URI
		case err != nil || u.Scheme == "":
			return nil, hub.Errorf(hub.Invalid, "the event type %q is neither a name that is known nor a URI", n).WithHint("countersign event types")
		}
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out, nil
}
