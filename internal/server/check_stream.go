package server

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"countersign/internal/hub"
	"countersign/internal/web/api"
	"countersign/receipt"
	"countersign/set"
	"countersign/transmitter"
)

// receives reports whether a client may have streams.
func receives(cl *hub.Client) bool {
	return slices.Contains(cl.Scopes, transmitter.ScopeRead) || slices.Contains(cl.Scopes, transmitter.ScopeManage)
}

// hostAllowed reports whether a client's push_hosts have an address's host.
func hostAllowed(hosts []string, address string) bool {
	if len(hosts) == 0 || address == "" {
		return true
	}
	u, err := url.Parse(address)
	return err == nil && slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, u.Hostname()) || strings.EqualFold(h, u.Host) })
}

func (c *checker) client(r hub.Resource, cl *hub.Client) {
	for _, e := range cl.Events {
		c.event(r, e)
	}
	c.naming(r, cl.Subject)
	if cl.Keys == nil {
		return
	}
	c.address(r, "keys.jwks_uri", cl.Keys.JWKSURI)
	if len(cl.Keys.JWKS) > 0 {
		if keys, err := set.ParseJWKS(cl.Keys.JWKS); err != nil {
			c.say(r, "keys.jwks: "+err.Error())
		} else if len(keys) == 0 {
			c.say(r, "keys.jwks: holds no key that can be used")
		}
	}
}

func (c *checker) stream(r hub.Resource, st *hub.Stream) {
	cl := c.clients[st.Client]
	switch {
	case cl == nil:
		c.say(r, "client: there is no client "+st.Client)
	case !receives(cl):
		c.say(r, "client: "+st.Client+" has neither of the scopes ssf.read and ssf.manage, so that it may not have a stream")
	case !hostAllowed(cl.PushHosts, st.Deliver.To):
		c.say(r, "deliver.to: its host is not among the push_hosts of the client "+st.Client)
	}
	c.address(r, "deliver.to", st.Deliver.To)
	for _, e := range st.Events {
		c.event(r, e)
	}
	c.naming(r, st.Subject)
	c.audience(r, st)
	if o := st.Orders; o != nil && o.Receipts {
		c.issuer(r, "orders.issuer", o.Issuer)
		c.address(r, "orders.jwks_uri", o.JWKSURI)
	}
}

// audience refuses an aud by which one receiver could show what it was sent to another as if it were meant for that one.
func (c *checker) audience(r hub.Resource, st *hub.Stream) {
	for _, aud := range st.Audience {
		if strings.HasPrefix(aud, c.s.issuerOf(c.tenant)+"/") {
			c.say(r, "audience: "+aud+" lies below our own issuer, where the audiences of other streams are made; leave audience out")
			continue
		}
		if other := c.audiences[aud]; other != nil && other.Client != st.Client {
			c.say(r, "audience: "+aud+" is also that of the stream "+other.Name+" of another client, which could show it what it was sent")
			continue
		}
		c.audiences[aud] = st
	}
}

// naming checks that the place of a rule is there, and that it has an issuer where the format tells one.
func (c *checker) naming(r hub.Resource, rule *hub.SubjectRule) {
	if rule == nil || rule.AccountAt == "" {
		return
	}
	at := rule.AccountAt
	if !c.sources[at] && !c.apps[at] {
		c.say(r, "subject.account_at: there is no place "+at)
		return
	}
	for _, f := range []string{rule.Format, rule.Otherwise} {
		if (f == "iss_sub" || f == "complex") && !c.sources[at] {
			c.say(r, "subject.account_at: "+f+" takes its issuer from a source, and "+at+" is an app; write opaque or scim")
		}
	}
}

// transmit checks a policy's rule that passes an event on: decide.Compile has checked its type.
func (c *checker) transmit(r hub.Resource, at string, rule hub.Rule) {
	if rule.Transmit == "" {
		return
	}
	for _, name := range rule.To.Names {
		if !c.streams[name] && !c.streamID(name) {
			c.say(r, at+".to: there is no stream "+name)
		}
	}
	if len(rule.Order) == 0 {
		return
	}
	typ, ok := c.s.registry.Resolve(rule.Transmit)
	if !ok {
		return // said already
	}
	if !slices.Contains(c.s.orderable(), typ.URI) {
		c.say(r, at+".order: "+rule.Transmit+" may not carry an order")
		return
	}
	if why := badOrder(rule.Order, typ.URI); why != "" {
		c.say(r, at+".order: "+why)
	}
}

// badOrder says what is wrong with the directive of a policy. Moments are of no use in it: a policy stays, and they pass.
func badOrder(order json.RawMessage, typ string) string {
	claims := set.Claims{Issuer: "https://hub.example.test", Audience: []string{"x"}, ID: "x", IssuedAt: 1, SubID: json.RawMessage(`{"format":"opaque","id":"x"}`),
		Events: []set.Event{{Type: typ, Payload: json.RawMessage(`{}`)}}}
	d, err := receipt.ParseDirective(order, &claims, receipt.Default())
	switch {
	case err != nil:
		return strings.TrimPrefix(err.Error(), "receipt: ")
	case d.Refusal() != "":
		return "a receiver has to refuse this directive as " + d.Refusal()
	case d.CompleteBy != 0 || d.InterimBy != 0 || d.NotAfter != 0:
		return "a policy's order names no moments; write within beside it, such as within: 15m"
	}
	return ""
}

// streamID reports whether a receiver of the tenant has a stream of that id.
func (c *checker) streamID(id string) bool {
	if c.made == nil {
		c.made = map[string]bool{}
		if streams, _, err := c.s.store.Transmitter(c.tenant, c.s.vault).AllStreams(c.ctx); err == nil {
			for _, st := range streams {
				c.made[st.ID] = true
			}
		}
	}
	return c.made[id]
}

func (c *checker) oneTenant(r hub.Resource, t *hub.Tenant) {
	if c.tenant != api.DefaultTenant {
		c.say(r, "tenants are kept in the tenant default; apply this document there")
	}
	if o := t.OAuth; o != nil {
		c.issuer(r, "oauth.issuer", o.Issuer)
		if o.JWKSURI == "" && o.Introspection == nil { // its metadata is fetched
			c.address(r, "oauth.issuer", o.Issuer)
		}
		c.address(r, "oauth.jwks_uri", o.JWKSURI)
		if o.Introspection != nil {
			c.address(r, "oauth.introspection.endpoint", o.Introspection.Endpoint)
		}
	}
}

// deleted refuses that a tenant goes which still has something.
func (c *checker) deleted() error {
	if c.tenant != api.DefaultTenant {
		return nil
	}
	rows, err := c.s.store.Resources(c.ctx, api.DefaultTenant, hub.KindTenant)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if c.tenants[r.Name] || r.Name == api.DefaultTenant {
			continue
		}
		if err := c.s.empty(c.ctx, r.Name); err != nil {
			if hub.CodeOf(err) == hub.Unavailable {
				return err
			}
			c.say(r, "the tenant is not deleted: "+err.Error())
		}
	}
	return nil
}
