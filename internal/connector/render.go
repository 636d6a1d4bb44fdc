package connector

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"countersign/internal/expr"
	"countersign/internal/hub"
)

// Request is a rendered request with its secrets masked.
type Request struct {
	Method string              `json:"method"`
	URL    string              `json:"url"`
	Header map[string][]string `json:"header,omitempty"`
	Body   string              `json:"body,omitempty"`
}

// String gives method and path, as attempts show it.
func (q Request) String() string {
	if u, err := url.Parse(q.URL); err == nil {
		return q.Method + " " + u.RequestURI()
	}
	return q.Method
}

// masked stands in the place of a secret.
const masked = "***"

// Describe renders the request that Do, Lookup or Sessions would send, masked, without sending it.
// Its error says what stops the request: a guard, or a value that does not fit its place.
func (r *Runner) Describe(app *App, op hub.Operation, in Input) (Request, error) {
	o := app.Pack.ops[op]
	if o == nil {
		return Request{}, fmt.Errorf("the pack %s has no %s", app.Pack.ID, op)
	}
	vars := inputs(app, in)
	if why := app.Pack.guard(o, vars); why != "" {
		return Request{}, fmt.Errorf("never: %s", why)
	}
	hidden := map[string]string{}
	for k := range app.Secrets {
		hidden[k] = masked
	}
	vars["secrets"] = hidden
	req, body, err := o.render(context.Background(), app, vars, in.Key)
	if err != nil {
		return Request{}, err
	}
	q := Request{Method: req.Method, URL: req.URL.String(), Header: map[string][]string{}, Body: string(body)}
	for _, k := range slices.Sorted(maps.Keys(req.Header)) {
		q.Header[http.CanonicalHeaderKey(k)] = req.Header[k]
	}
	if a := q.Header["Authorization"]; len(a) == 1 && strings.HasPrefix(a[0], "Basic ") {
		q.Header["Authorization"] = []string{"Basic " + masked}
	}
	return q, nil
}

func inputs(app *App, in Input) map[string]any {
	return map[string]any{
		"account": map[string]any{"id": in.Account}, "session": map[string]any{"id": in.Session}, "wanted": map[string]any{"email": in.Email},
		"settings": app.Settings, "secrets": app.Secrets, "looked_up": in.LookedUp, "sessions": []any{},
		"page": map[string]any{"next": in.Page, "number": int64(max(1, in.PageNumber))},
	}
}

// guard gives the never rule that holds, or "". An error counts as true.
func (p *Pack) guard(o *operation, vars map[string]any) string {
	if !o.acting {
		return ""
	}
	for _, g := range p.never {
		if hit, err := g.Bool(vars); err != nil || hit {
			return g.Source()
		}
	}
	return ""
}

// render makes the request. Nothing is sent where it fails.
func (o *operation) render(ctx context.Context, app *App, vars map[string]any, key string) (*http.Request, []byte, error) {
	base, err := baseURL(app.Settings["url"])
	if err != nil {
		return nil, nil, err
	}
	path, err := o.path.Text(vars)
	if err != nil {
		return nil, nil, err
	}
	full := strings.TrimRight(base.String(), "/") + path
	if len(o.query) > 0 {
		q, err := values(o.query, vars)
		if err != nil {
			return nil, nil, err
		}
		if o.accounts != nil { // the first page has nothing to go on from
			for k := range q {
				if q.Get(k) == "" {
					q.Del(k)
				}
			}
		}
		if len(q) > 0 {
			full += "?" + q.Encode()
		}
	}
	var body []byte
	media := ""
	switch {
	case o.json != nil:
		tree, err := fill(o.json, vars)
		if err != nil {
			return nil, nil, err
		}
		if body, err = json.Marshal(tree); err != nil {
			return nil, nil, err
		}
		media = "application/json"
	case o.form != nil:
		f, err := values(o.form, vars)
		if err != nil {
			return nil, nil, err
		}
		body, media = []byte(f.Encode()), "application/x-www-form-urlencoded"
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, o.method, full, reader)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: the address cannot be built", expr.ErrUnsafe)
	}
	if req.URL.Host != base.Host {
		return nil, nil, fmt.Errorf("%w: the address leaves the app", expr.ErrUnsafe)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "countersign")
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	for name, t := range o.headers {
		v, err := t.Text(vars)
		if err != nil {
			return nil, nil, err
		}
		req.Header.Set(name, v)
	}
	if err := app.Pack.auth.apply(req, vars); err != nil {
		return nil, nil, err
	}
	if o.acting && key != "" {
		// Written in lower case on purpose: net/http repeats a request by itself when it finds the canonical
		// form of this name (Transport, "replayable"), and an acting request is never sent twice unseen.
		req.Header["idempotency-key"] = []string{key}
	}
	return req, body, nil
}

func values(m map[string]*expr.Template, vars map[string]any) (url.Values, error) {
	out := url.Values{}
	for k, t := range m {
		v, err := t.Text(vars)
		if err != nil {
			return nil, err
		}
		out.Set(k, v)
	}
	return out, nil
}

// fill renders a JSON body. The compiled tree is shared and stays as it is.
func fill(v any, vars map[string]any) (any, error) {
	switch x := v.(type) {
	case *expr.Template:
		return x.Value(vars)
	case []any:
		out := make([]any, len(x))
		for i := range x {
			f, err := fill(x[i], vars)
			if err != nil {
				return nil, err
			}
			out[i] = f
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(x))
		for k := range x {
			f, err := fill(x[k], vars)
			if err != nil {
				return nil, err
			}
			out[k] = f
		}
		return out, nil
	}
	return v, nil
}
