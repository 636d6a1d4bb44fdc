package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"countersign/internal/egress"
	"countersign/internal/flow/decide"
	"countersign/internal/flow/enroll"
	"countersign/internal/hub"
	"countersign/set"
	"countersign/subject"
)

// Check says what is wrong with the resources that the tenant would have, against each other, the packs and
// the event types. Every fault is named; nil when there is none.
func (s *Server) Check(ctx context.Context, tenant string, all []hub.Resource) error {
	c := &checker{s: s, ctx: ctx, tenant: tenant, apps: map[string]bool{}, sources: map[string]bool{}, streams: map[string]bool{}, tenants: map[string]bool{}, clients: map[string]*hub.Client{}, audiences: map[string]*hub.Stream{}}
	for _, r := range all {
		switch r.Kind {
		case hub.KindApp:
			c.apps[r.Name] = true
		case hub.KindSource:
			c.sources[r.Name] = true
		case hub.KindStream:
			c.streams[r.Name] = true
		case hub.KindTenant:
			c.tenants[r.Name] = true
		case hub.KindClient:
			spec := new(hub.Client)
			if json.Unmarshal(r.Spec, spec) == nil {
				c.clients[r.Name] = spec
			}
		}
	}
	for _, r := range all {
		c.one(r)
	}
	if err := c.deleted(); err != nil {
		return err
	}
	if len(c.faults) == 0 {
		return nil
	}
	return hub.Errorf(hub.Invalid, "%s", strings.Join(c.faults, "\n")).WithHint("nothing was written; put it right and apply again")
}

type checker struct {
	s       *Server
	ctx     context.Context
	tenant  string
	apps    map[string]bool
	sources map[string]bool
	streams map[string]bool
	tenants map[string]bool
	clients map[string]*hub.Client
	made    map[string]bool // ids of the tenant's streams, whoever made them; nil: not read yet
	faults  []string

	audiences map[string]*hub.Stream // that stream resources choose, by aud
}

func (c *checker) say(r hub.Resource, text string) {
	c.faults = append(c.faults, string(r.Kind)+" "+r.Name+": "+text)
}

func (c *checker) one(r hub.Resource) {
	read := func(v any) bool {
		if err := json.Unmarshal(r.Spec, v); err != nil {
			c.say(r, err.Error())
			return false
		}
		return true
	}
	switch r.Kind {
	case hub.KindApp:
		var app hub.App
		if !read(&app) {
			return
		}
		pack, ok := c.s.packs.Lookup(app.Pack)
		if !ok {
			c.say(r, "there is no pack "+app.Pack+"; countersign app packs are folders given with --packs, or built in: "+strings.Join(c.packNames(), ", "))
			return
		}
		if err := pack.CheckApp(&app); err != nil {
			c.say(r, err.Error())
		}
	case hub.KindSource:
		var src hub.Source
		if read(&src) {
			c.source(r, &src)
		}
	case hub.KindPolicy:
		var p hub.Policy
		if !read(&p) {
			return
		}
		if _, err := decide.Compile(p, r.Version, c.s.registry); err != nil {
			c.say(r, err.Error())
		}
		for _, from := range p.From {
			if !c.sources[from] && !strings.HasPrefix(from, "client:") && from != "operator" {
				c.say(r, "from: there is no source "+from)
			}
		}
		for i, rule := range p.Then {
			c.places(r, "at", rule.At)
			c.transmit(r, fmt.Sprintf("then[%d]", i), rule)
		}
	case hub.KindClient:
		var cl hub.Client
		if read(&cl) {
			c.client(r, &cl)
		}
	case hub.KindStream:
		var st hub.Stream
		if read(&st) {
			c.stream(r, &st)
		}
	case hub.KindTenant:
		var t hub.Tenant
		if read(&t) {
			c.oneTenant(r, &t)
		}
	}
}

func (c *checker) source(r hub.Resource, src *hub.Source) {
	c.issuer(r, "issuer", src.Issuer)
	if src.Stream == enroll.None && len(src.Audience) == 0 && (src.Auth == nil || src.Auth.Method == "" || src.Auth.Method == "none") {
		c.say(r, "audience: is needed with stream: none and no auth, since then no stream's configuration can be read that says it")
	}
	for _, e := range src.Events {
		c.event(r, e)
	}
	if src.Keys != nil && len(src.Keys.JWKS) > 0 {
		if keys, err := set.ParseJWKS(src.Keys.JWKS); err != nil {
			c.say(r, "keys.jwks: "+err.Error())
		} else if len(keys) == 0 {
			c.say(r, "keys.jwks: holds no key that can be used")
		}
	}
	for _, m := range src.Correlate {
		// Where somebody's devices, directory entries or tokens are known is often neither.
		usual := (m.As == "" || m.As == "account_id") && (m.Part == "" || m.Part == subject.PartUser) && m.Format != subject.FormatJWTID && m.Format != subject.FormatSAML
		if usual && m.At != "" && !c.apps[m.At] && !c.sources[m.At] {
			c.say(r, "correlate: there is no place "+m.At)
		}
	}
	if src.Orders != nil {
		c.places(r, "orders.at", src.Orders.At)
	}
}

// issuer checks the name of a party that signs.
func (c *checker) issuer(r hub.Resource, field, value string) {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		c.say(r, field+": must be a URL without query and fragment")
	case u.Scheme != "https" && !(c.s.dev && u.Scheme == "http"):
		c.say(r, field+": must begin with https://")
	}
}

// address checks an address that we call: https, and nowhere that the way out would refuse.
func (c *checker) address(r hub.Resource, field, value string) {
	if value == "" {
		return
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "https" && !(c.s.dev && u.Scheme == "http") {
		c.say(r, field+": must begin with https://")
		return
	}
	if why := egress.Closed(c.s.guard(), u.Hostname()); why != "" {
		c.say(r, field+": it is "+why)
	}
}

func (c *checker) places(r hub.Resource, field string, p hub.Places) {
	for _, name := range p.Names {
		if !c.apps[name] {
			c.say(r, field+": there is no app "+name)
		}
	}
}

func (c *checker) event(r hub.Resource, name string) {
	if _, ok := c.s.registry.Resolve(name); !ok {
		c.say(r, "events: "+name+" is not known; countersign event types lists them")
	}
}

func (c *checker) packNames() []string {
	var out []string
	for _, p := range c.s.packs.List() {
		out = append(out, p.ID)
	}
	slices.Sort(out)
	return out
}
