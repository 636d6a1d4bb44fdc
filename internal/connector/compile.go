package connector

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"countersign/internal/expr"
	"countersign/internal/hub"
	"countersign/internal/yaml"
)

var (
	packName  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
	fieldName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	dateForm  = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)
	methods   = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "LIST"}
	ownHeader = []string{"authorization", "idempotency-key", "host", "content-length", "transfer-encoding", "connection"}
)

// ParsePack reads and compiles a pack.yaml. Errors carry line and column.
func ParsePack(data []byte) (*Pack, error) {
	doc, err := yaml.One(data)
	if err != nil {
		return nil, err
	}
	var f packFile
	if err := doc.Decode(&f); err != nil {
		return nil, err
	}
	c := &compiler{doc: doc, file: &f, pack: &Pack{ID: f.ID, Title: f.Title, Links: f.Links, Checked: f.Checked, ops: map[hub.Operation]*operation{}, redact: map[string]bool{}}}
	if err := c.run(); err != nil {
		return nil, err
	}
	return c.pack, nil
}

type compiler struct {
	doc             yaml.Doc
	file            *packFile
	pack            *Pack
	rules, requests *expr.Env
}

func (c *compiler) run() error {
	f := c.file
	switch {
	case !packName.MatchString(f.ID):
		return c.doc.Errorf("id", "id is lower-case letters, digits and dashes")
	case f.Title == "":
		return c.doc.Errorf("title", "a pack has a title")
	case !dateForm.MatchString(f.Checked.Date):
		return c.doc.Errorf("checked.date", "checked.date is a date such as 2026-11-22")
	case !slices.Contains([]string{"run", "recorded", "documented"}, f.Checked.How):
		return c.doc.Errorf("checked.how", "checked.how is run, recorded or documented")
	case len(f.Operations) == 0:
		return c.doc.Errorf("operations", "a pack has operations")
	}
	var err error
	if c.pack.settings, err = c.fields("settings", f.Settings); err != nil {
		return err
	}
	if c.pack.secrets, err = c.fields("secrets", f.Secrets); err != nil {
		return err
	}
	if s, ok := f.Settings["url"]; !ok || s.Type != "url" || s.Optional {
		return c.doc.Errorf("settings", "a pack has the setting url, of type url: paths are below it")
	}
	if c.rules, err = expr.ForRules(slices.Sorted(maps.Keys(f.Settings))); err != nil {
		return err
	}
	if c.requests, err = expr.ForRequests(slices.Sorted(maps.Keys(f.Settings)), slices.Sorted(maps.Keys(f.Secrets))); err != nil {
		return err
	}
	if c.pack.auth, err = c.auth(); err != nil {
		return err
	}
	for i, src := range f.Never {
		p, err := c.rules.Condition(src)
		if err != nil {
			return c.doc.Errorf(fmt.Sprintf("never[%d]", i), "%v", err)
		}
		c.pack.never = append(c.pack.never, p)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Operations)) {
		o, err := c.operation(hub.Operation(name), f.Operations[name])
		if err != nil {
			return err
		}
		c.pack.ops[o.name] = o
	}
	for name, o := range c.pack.ops {
		if o.back != nil && !c.pack.Offers(o.back.Use) {
			return c.doc.Errorf("operations."+string(name)+".read_back.use", "the pack has no %s", o.back.Use)
		}
	}
	if c.pack.residue, err = c.span("residue.access_token", f.Residue.AccessToken, 0); err != nil {
		return err
	}
	if f.Rates != (ratesFile{}) {
		if f.Rates.Requests < 1 {
			return c.doc.Errorf("rates.requests", "rates.requests is at least 1")
		}
		c.pack.requests = f.Rates.Requests
		if c.pack.per, err = c.span("rates.per", f.Rates.Per, time.Second); err != nil {
			return err
		}
	}
	for _, r := range f.Redact {
		c.pack.redact[r] = true
	}
	return nil
}

func (c *compiler) fields(at string, m map[string]fieldFile) ([]Field, error) {
	var out []Field
	for _, name := range slices.Sorted(maps.Keys(m)) {
		f := m[name]
		switch {
		case !fieldName.MatchString(name):
			return nil, c.doc.Errorf(at+"."+name, "a name is lower-case letters, digits and _")
		case f.Title == "":
			return nil, c.doc.Errorf(at+"."+name, "%s has no title", name)
		case at == "settings" && f.Type != "url" && f.Type != "text":
			return nil, c.doc.Errorf(at+"."+name+".type", "the type of a setting is url or text")
		case at == "secrets" && f.Type != "":
			return nil, c.doc.Errorf(at+"."+name+".type", "a secret has no type")
		}
		out = append(out, Field{Name: name, Type: f.Type, Title: f.Title, Optional: f.Optional})
	}
	return out, nil
}

func (c *compiler) span(at, s string, def time.Duration) (time.Duration, error) {
	if s == "" {
		return def, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > 48*time.Hour {
		return 0, c.doc.Errorf(at, "%q is no span such as 200ms, 15m or 1h", s)
	}
	return d, nil
}

func (c *compiler) template(at, src string, place expr.Place, slash bool) (*expr.Template, error) {
	t, err := c.requests.Template(src, place, slash)
	if err != nil {
		return nil, c.doc.Errorf(at, "%v", err)
	}
	return t, nil
}

func (c *compiler) templates(at string, m map[string]string, place expr.Place) (map[string]*expr.Template, error) {
	out := map[string]*expr.Template{}
	for k, v := range m {
		t, err := c.template(at+"."+k, v, place, false)
		if err != nil {
			return nil, err
		}
		out[k] = t
	}
	return out, nil
}

func (c *compiler) operation(name hub.Operation, f opFile) (*operation, error) {
	at := "operations." + string(name)
	if why := later[name]; why != "" {
		return nil, c.doc.Errorf(at, "%s", why)
	}
	if !slices.Contains(vocabulary, name) {
		words := make([]string, len(vocabulary))
		for i, v := range vocabulary {
			words[i] = string(v)
		}
		near := yaml.Nearest(string(name), words)
		if near == "" {
			near = strings.Join(words, ", ")
		}
		return nil, c.doc.Errorf(at, "there is no operation %s; did you mean %s?", name, near)
	}
	o := &operation{name: name, acting: !reading(name), method: f.Request.Method, repeat: Repeat(f.Repeat)}
	if err := c.request(at+".request", o, f.Request); err != nil {
		return nil, err
	}
	for _, r := range []struct {
		class Class
		key   string
		src   string
	}{{Done, "done", f.Done}, {AlreadyDone, "already_done", f.AlreadyDone}, {Accepted, "accepted", f.Accepted}, {Refused, "refused", f.Refused}, {Retry, "retry", f.Retry}} {
		if r.src == "" && r.class == Done && !o.acting {
			r.src = "status == 200"
		}
		if r.src == "" {
			continue
		}
		if !o.acting && (r.class == AlreadyDone || r.class == Accepted) {
			return nil, c.doc.Errorf(at+"."+r.key, "%s only reads: %s has no meaning here", name, r.key)
		}
		p, err := c.rules.Condition(r.src)
		if err != nil {
			return nil, c.doc.Errorf(at+"."+r.key, "%v", err)
		}
		o.rules = append(o.rules, rule{r.class, p})
	}
	for _, e := range []struct {
		key, src string
		owner    hub.Operation
		to       **expr.Program
	}{{"found", f.Found, hub.OpLookupAccount, &o.found}, {"sessions", f.Sessions, hub.OpListSessions, &o.sessions}, {"accounts", f.Accounts, hub.OpListAccounts, &o.accounts}} {
		if (e.src == "") == (name == e.owner) {
			return nil, c.doc.Errorf(at+"."+e.key, "%s has %s, and nothing else has", e.owner, e.key)
		}
		if e.src != "" {
			p, err := c.rules.Compile(e.src)
			if err != nil {
				return nil, c.doc.Errorf(at+"."+e.key, "%v", err)
			}
			*e.to = p
		}
	}
	if f.Next != "" {
		if name != hub.OpListAccounts {
			return nil, c.doc.Errorf(at+".next", "only list_accounts has next")
		}
		var err error
		if o.next, err = c.rules.Compile(f.Next); err != nil {
			return nil, c.doc.Errorf(at+".next", "%v", err)
		}
	}
	if !o.acting {
		if f.Repeat != "" || f.ReadBack != nil {
			return nil, c.doc.Errorf(at, "%s only reads: it has no repeat and no read_back", name)
		}
		return o, nil
	}
	switch {
	case f.Done == "" && f.Accepted == "":
		return nil, c.doc.Errorf(at, "%s says what counts as done or accepted", name)
	case !slices.Contains([]Repeat{RepeatSame, RepeatGone, RepeatConflict, RepeatSoft, RepeatLater}, o.repeat):
		return nil, c.doc.Errorf(at+".repeat", "%s says what a repeat does: same, gone, conflict, soft or later", name)
	}
	return o, c.readBack(at+".read_back", o, f.ReadBack)
}

func (c *compiler) readBack(at string, o *operation, f *readBackFile) (err error) {
	if f == nil {
		return nil
	}
	b := &ReadBack{Use: hub.Operation(f.Use), Tries: f.Tries}
	if b.Use != hub.OpListSessions && b.Use != hub.OpReadAccountState {
		return c.doc.Errorf(at+".use", "read_back uses list_sessions or read_account_state")
	}
	if f.Tries < 0 || f.Tries > 100 {
		return c.doc.Errorf(at+".tries", "tries is 1 to 100")
	}
	if b.Tries == 0 {
		b.Tries = 1
	}
	if b.After, err = c.span(at+".after", f.After, 0); err != nil {
		return err
	}
	if b.Every, err = c.span(at+".every", f.Every, time.Second); err != nil {
		return err
	}
	if b.Every < 10*time.Millisecond {
		return c.doc.Errorf(at+".every", "every is at least 10ms")
	}
	if o.proven, err = c.rules.Condition(f.Proven); err != nil {
		return c.doc.Errorf(at+".proven", "%v", err)
	}
	o.back = b
	return nil
}

func (c *compiler) request(at string, o *operation, f requestFile) (err error) {
	switch {
	case !slices.Contains(methods, f.Method):
		return c.doc.Errorf(at+".method", "method is one of %s", strings.Join(methods, ", "))
	case !o.acting && f.Method != http.MethodGet && f.Method != "LIST" && f.Method != http.MethodPost:
		return c.doc.Errorf(at+".method", "%s only reads: %s changes things", o.name, f.Method)
	case !strings.HasPrefix(f.Path, "/") || strings.HasPrefix(f.Path, "//"):
		return c.doc.Errorf(at+".path", "a path begins with one /")
	case f.Slash != "" && f.Slash != "encoded":
		return c.doc.Errorf(at+".slash", "slash is encoded, or absent")
	case f.JSON != nil && f.Form != nil:
		return c.doc.Errorf(at+".form", "a request has one body: json or form")
	}
	literal := literalParts(f.Path)
	if strings.ContainsAny(literal, "?#\\ \t\r\n") {
		return c.doc.Errorf(at+".path", "a path holds no ?, #, backslash or space: use query")
	}
	if o.path, err = c.template(at+".path", f.Path, expr.Path, f.Slash == "encoded"); err != nil {
		return err
	}
	if o.query, err = c.templates(at+".query", f.Query, expr.Query); err != nil {
		return err
	}
	for h := range f.Headers {
		if slices.Contains(ownHeader, strings.ToLower(h)) || !headerName.MatchString(h) {
			return c.doc.Errorf(at+".headers."+h, "a pack does not set the header %s", h)
		}
	}
	if o.headers, err = c.templates(at+".headers", f.Headers, expr.Header); err != nil {
		return err
	}
	if f.Form != nil {
		if o.form, err = c.templates(at+".form", f.Form, expr.Form); err != nil {
			return err
		}
	}
	if f.JSON != nil {
		var tree any
		if err := json.Unmarshal(f.JSON, &tree); err != nil {
			return c.doc.Errorf(at+".json", "%v", err)
		}
		if o.json, err = c.tree(at+".json", tree); err != nil {
			return err
		}
	}
	return nil
}

var (
	headerName = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)
	anExpr     = regexp.MustCompile(`\$\{[^}]*\}`)
)

func literalParts(s string) string { return anExpr.ReplaceAllString(s, "") }

func (c *compiler) tree(at string, v any) (any, error) {
	switch x := v.(type) {
	case string:
		return c.template(at, x, expr.InJSON, false)
	case []any:
		for i := range x {
			t, err := c.tree(fmt.Sprintf("%s[%d]", at, i), x[i])
			if err != nil {
				return nil, err
			}
			x[i] = t
		}
	case map[string]any:
		for k := range x {
			t, err := c.tree(at+"."+k, x[k])
			if err != nil {
				return nil, err
			}
			x[k] = t
		}
	}
	return v, nil
}
