package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
	"countersign/internal/web/api"
)

// consentPath is where the browser comes back to on this machine.
const consentPath = "/callback"

func (a *App) sourceAuthorize() *cobra.Command {
	var redirect string
	var port int
	var wait time.Duration
	c := &cobra.Command{Use: "authorize NAME", Short: "Give a person's consent to a source with auth: {method: refresh_token}", Args: exact(1), ValidArgsFunction: a.sourceNames(),
		Long: "Authorize prints an address for a browser. Whoever signs in there lets the hub call the source's stream API on their behalf; the\n" +
			"browser then comes back to this machine (http://127.0.0.1:PORT" + consentPath + ", which is registered at the authorization server), and\n" +
			"the hub keeps the refresh token. Where the browser is elsewhere, give the registered --redirect-uri, and paste the address at\n" +
			"which it ends.",
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), wait)
			defer cancel()
			answer := a.pasted
			if redirect == "" {
				l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", itoa(port)))
				if err != nil {
					return hub.Errorf(hub.Unavailable, "%w", err).WithHint("give another --port, or --redirect-uri")
				}
				defer l.Close()
				redirect = "http://" + l.Addr().String() + consentPath
				answer = func(ctx context.Context) (string, error) { return comeBack(ctx, l) }
			}
			var began, done api.ConsentAnswer
			path := sourcePath(args[0], "authorize")
			if err := cl.do(ctx, "POST", path, nil, api.ConsentRequest{Redirect: redirect}, &began); err != nil {
				return err
			}
			a.note("Open this address in a browser, and sign in:")
			fmt.Fprintln(a.Stderr, plain(began.URL))
			query, err := answer(ctx)
			if err != nil {
				return err
			}
			if err := cl.do(ctx, "POST", path, nil, api.ConsentRequest{Ticket: began.Ticket, Answer: query}, &done); err != nil {
				return err
			}
			if a.flags.json {
				return a.object(map[string]any{"source": args[0], "authorized": done.Done})
			}
			a.say("the consent is kept")
			return nil
		}}
	f := c.Flags()
	f.StringVar(&redirect, "redirect-uri", "", "where the browser is sent back to, if not to this machine; then paste the address at which it ends")
	f.IntVar(&port, "port", 0, "port on this machine; any free one by default")
	f.DurationVar(&wait, "wait", 10*time.Minute, "how long to wait for the person")
	return c
}

// pasted reads the address at which the browser ended, or its query, or the code and state.
func (a *App) pasted(context.Context) (string, error) {
	a.note("Paste the address at which the browser ends:")
	line, err := bufio.NewReader(io.LimitReader(a.Stdin, 64<<10)).ReadString('\n')
	line = strings.TrimSpace(line)
	if line == "" {
		return "", hub.Errorf(hub.Invalid, "nothing was pasted: %w", err)
	}
	if _, query, ok := strings.Cut(line, "?"); ok {
		line = query
	}
	query, _, _ := strings.Cut(line, "#")
	return query, nil
}

// comeBack waits for the browser at our listener and gives the query that it brings.
func comeBack(ctx context.Context, l net.Listener) (string, error) {
	got := make(chan string, 1)
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, err := url.ParseQuery(r.URL.RawQuery)
		if r.Method != http.MethodGet || r.URL.Path != consentPath || err != nil || !q.Has("state") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		io.WriteString(w, "Thank you. What came of it stands in the terminal; this page can be closed.\n")
		select {
		case got <- r.URL.RawQuery:
		default: // the first answer counts
		}
	})}
	go srv.Serve(l)
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		srv.Shutdown(end) // the page is sent to its end
	}()
	select {
	case q := <-got:
		return q, nil
	case <-ctx.Done():
		return "", hub.Errorf(hub.Unavailable, "nobody came back: %w", ctx.Err()).WithHint("run it again; with --redirect-uri the address can be pasted")
	}
}
