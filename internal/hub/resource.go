package hub

import "encoding/json"

// Kind names a sort of resource in the declarative form (surface §3).
type Kind string

// The kinds that this version acts on. Others are refused by name.
const (
	KindSource   Kind = "source"
	KindApp      Kind = "app"
	KindIdentity Kind = "identity"
	KindPolicy   Kind = "policy"
	KindClient   Kind = "client"
	KindStream   Kind = "stream"
	KindTenant   Kind = "tenant"
)

// Kinds lists them in the order in which apply writes them.
var Kinds = []Kind{KindTenant, KindClient, KindIdentity, KindApp, KindSource, KindStream, KindPolicy}

// Resource is one applied document. Spec is the canonical JSON of the kind's struct below, with
// references to secrets and never their values.
type Resource struct {
	Tenant  string          `json:"tenant,omitempty"`
	Kind    Kind            `json:"kind"`
	Name    string          `json:"name"`
	Set     string          `json:"set,omitempty"`
	Version int64           `json:"version"` // grows by one with each change of the spec
	Spec    json.RawMessage `json:"spec"`
	Created Micros          `json:"created_at"`
	Updated Micros          `json:"updated_at"`
}

// Secret refers to a secret; exactly one member is set. Only Stored reaches the server's store.
type Secret struct {
	Stored string `json:"stored,omitempty"`
	File   string `json:"file,omitempty"`
	Env    string `json:"env,omitempty"`
}

// Source is the spec of a party that may tell us things. Only type ssf is acted on.
type Source struct {
	Name        string      `json:"name"`
	Set         string      `json:"set,omitempty"`
	Type        string      `json:"type"`
	Profile     string      `json:"profile,omitempty"` // generic (strict) by default
	Issuer      string      `json:"issuer"`
	MetadataURL string      `json:"metadata_url,omitempty"`
	Keys        *SourceKeys `json:"keys,omitempty"`
	Audience    []string    `json:"audience,omitempty"`  // only with stream: none
	Delivery    string      `json:"delivery,omitempty"`  // push (default) | poll
	Stream      string      `json:"stream,omitempty"`    // create (default) | adopt | none
	StreamID    string      `json:"stream_id,omitempty"` // of a stream that is there already; adopt finds it by our address otherwise
	Events      []string    `json:"events,omitempty"`    // asked for at create; empty: all we know
	Auth        *Auth       `json:"auth,omitempty"`
	PushAuth    *PushAuth   `json:"push_auth,omitempty"`
	Correlate   []Correlate `json:"correlate,omitempty"` // empty: iss_sub as account of this place, then email
	Orders      *OrderRules `json:"orders,omitempty"`
	Receipts    *Receipts   `json:"receipts,omitempty"`
	Relax       []string    `json:"relax,omitempty"` // quirks (Q-..) that are let pass beside those of the profile
	Verify      *Verify     `json:"verify,omitempty"`
	Rate        *Rate       `json:"rate,omitempty"`
}

// Verify says how we notice that a source has gone silent: by verification events that we ask for.
type Verify struct {
	Every string `json:"every,omitempty"` // a Go duration; 6h by default, 0 never; not below the stream's min_verification_interval
}

// Rate bounds how many tokens a source may send, ours or not; beyond it the answer is 429.
type Rate struct {
	Signals int    `json:"signals"`
	Per     string `json:"per"` // a Go duration such as 1s
}

// SourceKeys says where a source's signing keys are; exactly one of the three places.
type SourceKeys struct {
	JWKSURI  string          `json:"jwks_uri,omitempty"`
	JWKSFile string          `json:"jwks_file,omitempty"`
	JWKS     json.RawMessage `json:"jwks,omitempty"`
	Algs     []string        `json:"algs,omitempty"` // empty: RS256, PS256, ES256, EdDSA
}

// Auth is how we show ourselves to a source's stream API, poll endpoint and receipt endpoint. Method: none, bearer (Token),
// client_secret_basic, client_secret_post, client_secret_jwt (ClientID, ClientSecret), private_key_jwt (ClientID, Key),
// refresh_token (ClientID, ClientSecret where the client has one; the rotating token itself is kept by the hub, put there by
// `source authorize`), signed_jwt (a JWT that we sign ourselves as Issuer for Audience; no token endpoint).
type Auth struct {
	Method                string  `json:"method"`
	Token                 *Secret `json:"token,omitempty"`
	ClientID              string  `json:"client_id,omitempty"`
	ClientSecret          *Secret `json:"client_secret,omitempty"`
	Key                   *Secret `json:"key,omitempty"` // private key: PEM or JWK
	Alg                   string  `json:"alg,omitempty"` // of the assertion; the key's usual one by default
	KeyID                 string  `json:"key_id,omitempty"`
	TokenEndpoint         string  `json:"token_endpoint,omitempty"`         // empty: from the authorization server's metadata
	AuthorizationEndpoint string  `json:"authorization_endpoint,omitempty"` // refresh_token: for the first consent
	Issuer                string  `json:"issuer,omitempty"`                 // of the authorization server; signed_jwt: iss and sub of the JWT
	Audience              string  `json:"audience,omitempty"`               // of the assertion; the token endpoint by default
	Scope                 string  `json:"scope,omitempty"`                  // ssf.manage ssf.read by default
}

// Secrets lists every secret that the source refers to, so that no place which hides, resolves or checks them forgets one.
func (s *Source) Secrets() []*Secret {
	var all []*Secret
	add := func(list ...*Secret) {
		for _, x := range list {
			if x != nil {
				all = append(all, x)
			}
		}
	}
	if s.Auth != nil {
		add(s.Auth.Secrets()...)
	}
	if s.PushAuth != nil {
		add(s.PushAuth.AuthorizationHeader)
	}
	return all
}

// Secrets lists the secrets of an Auth.
func (a *Auth) Secrets() []*Secret { return []*Secret{a.Token, a.ClientSecret, a.Key} }

// PushAuth is what a sender must show on our receive door besides the signature.
type PushAuth struct {
	AuthorizationHeader *Secret `json:"authorization_header,omitempty"` // the whole header value
}

// Correlate is one way from a subject to an identity. They are tried in order, the first that answers wins.
type Correlate struct {
	// Format is the format of the identifier: email, iss_sub, opaque, scim, phone_number, did, uri, account, jwt_id,
	// saml_assertion_id. Of aliases each identifier goes the ways of its own format.
	Format string   `json:"format"`
	Part   string   `json:"part,omitempty"` // member of a complex subject; user by default, which a simple subject is, too
	Iss    []string `json:"iss,omitempty"`  // iss_sub, jwt_id, saml_assertion_id: whose; the source's issuer by default
	// As says what the value is: account_id, external_id (scim), email (account), phone (phone_number), device_id.
	As string `json:"as,omitempty"`
	At string `json:"at,omitempty"` // account_id, external_id, device_id: of this place; the source by default
	// IgnoreTag looks for an address without its +tag as well, Normalize (nfkc) for its normal form, and Case exact takes no
	// address that is written in another case than the identity's; all three email only.
	IgnoreTag bool   `json:"ignore_tag,omitempty"`
	Normalize string `json:"normalize,omitempty"`
	Case      string `json:"case,omitempty"`
	// Is finds nobody: a member of this format that is none of these makes the subject one that is not ours, whoever its user
	// is. With part only, as for the tenant that we are at the source.
	Is []string `json:"is,omitempty"`
}

// OrderRules says what a source may order. Nothing by default.
type OrderRules struct {
	Accept []string `json:"accept,omitempty"`
	At     Places   `json:"at,omitempty"`   // all by default
	Mode   string   `json:"mode,omitempty"` // enforce (default) | monitor
	Limits *Limits  `json:"limits,omitempty"`
}

// Receipts says whether and how a source is answered.
type Receipts struct {
	Send string `json:"send,omitempty"` // auto (default) | off
	Alg  string `json:"alg,omitempty"`  // RS256 by default
}

// Limits bounds how many people may be acted on in a span; only beyond: deny is acted on.
type Limits struct {
	People int    `json:"people"`
	Per    string `json:"per"`              // a Go duration such as 1h
	Beyond string `json:"beyond,omitempty"` // deny (default in this version)
}

// Places names apps; All stands for every app. In YAML and JSON it is "all" or a list.
type Places struct {
	All   bool
	Names []string
}

// MarshalJSON writes "all" or the list.
func (p Places) MarshalJSON() ([]byte, error) {
	if p.All {
		return []byte(`"all"`), nil
	}
	if p.Names == nil {
		return []byte(`[]`), nil
	}
	return json.Marshal(p.Names)
}

// UnmarshalJSON reads "all", one name, or a list.
func (p *Places) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*p = Places{All: one == "all"}
		if one != "all" && one != "" {
			p.Names = []string{one}
		}
		return nil
	}
	p.All = false
	return json.Unmarshal(b, &p.Names)
}

// Has reports whether the place is meant.
func (p Places) Has(name string) bool {
	if p.All {
		return true
	}
	for _, n := range p.Names {
		if n == name {
			return true
		}
	}
	return false
}

// Empty reports whether nothing was written.
func (p Places) Empty() bool { return !p.All && len(p.Names) == 0 }

// App is the spec of a place where we can act: a pack plus settings and secrets.
type App struct {
	Name     string            `json:"name"`
	Set      string            `json:"set,omitempty"`
	Pack     string            `json:"pack"`
	Settings map[string]string `json:"settings,omitempty"`
	Secrets  map[string]Secret `json:"secrets,omitempty"`
	Accounts AccountRule       `json:"accounts"`
}

// AccountRule says how a person's account at an app is found.
type AccountRule struct {
	Match string `json:"match,omitempty"` // email: by lookup_account; declared (default where the pack cannot look up): only accounts named at identities
}

// Identity is a person, workload or device as we know it.
type Identity struct {
	Name     string    `json:"name"`
	Set      string    `json:"set,omitempty"`
	Emails   []string  `json:"emails,omitempty"`
	Labels   []string  `json:"labels,omitempty"`
	Groups   []string  `json:"groups,omitempty"`
	Phones   []string  `json:"phones,omitempty"` // E.164: + and digits
	Accounts []Account `json:"accounts,omitempty"`
	Devices  []Account `json:"devices,omitempty"` // devices of the person, by their id at a place
	Protect  string    `json:"protect,omitempty"` // none (default) | never; ask is refused by this version
}

// Account is an identity's presence at a place, or its device there.
type Account struct {
	At string `json:"at"`
	ID string `json:"id"`
}

// Policy is the spec of one policy (surface §3).
type Policy struct {
	Name   string   `json:"name"`
	Set    string   `json:"set,omitempty"`
	Order  int      `json:"order,omitempty"` // lower first
	Mode   string   `json:"mode,omitempty"`  // enforce (default) | monitor | off
	On     []string `json:"on"`
	From   []string `json:"from,omitempty"` // sources; empty: any. Required where it disables or deletes
	When   string   `json:"when,omitempty"` // CEL; empty: always
	Then   []Rule   `json:"then"`
	Limits *Limits  `json:"limits,omitempty"`
}

// Rule is one line of a policy's then: an action, a deny, or a transmit.
type Rule struct {
	Action   string `json:"action,omitempty"`
	Deny     string `json:"deny,omitempty"`     // an action name
	Scope    string `json:"scope,omitempty"`    // session | app | everywhere, for revoke_sessions
	Fallback string `json:"fallback,omitempty"` // app | everywhere
	At       Places `json:"at,omitzero"`
	When     string `json:"when,omitempty"`
	// Transmit is an event type to pass on, with the signal's txn and subject, on the streams of To (names or ids of
	// streams, or "all"); Order is the directive it carries there.
	Transmit string          `json:"transmit,omitempty"`
	To       Places          `json:"to,omitzero"`
	Order    json.RawMessage `json:"order,omitempty"`
	// Within is how long a receiver may take, as a Go duration; it gives the order its complete_by.
	Within string `json:"within,omitempty"`
}

// Stream is the spec of a stream on which we transmit and which an operator makes (surface §3). Receivers make theirs
// over the SSF API.
type Stream struct {
	Name        string        `json:"name"`
	Set         string        `json:"set,omitempty"`
	Client      string        `json:"client"`
	Deliver     StreamDeliver `json:"deliver"`
	Events      []string      `json:"events,omitempty"` // empty: all that the client may have
	Subject     *SubjectRule  `json:"subject,omitempty"`
	Audience    []string      `json:"audience,omitempty"` // aud, where the receiver wants one of its own; empty: made
	Shape       string        `json:"shape,omitempty"`    // the form of its SETs: sse-id1 | apple | okta | google-workspace; empty: its tenant's
	Alg         string        `json:"alg,omitempty"`
	Orders      *StreamOrders `json:"orders,omitempty"`
	Subjects    string        `json:"default_subjects,omitempty"` // ALL (default) | NONE
	Window      int           `json:"window,omitempty"`           // SETs in flight at once; 1 keeps strict order; 0: 8
	Inactivity  string        `json:"inactivity,omitempty"`       // a Go duration; empty: none
	Description string        `json:"description,omitempty"`
}

// StreamDeliver says how its SETs travel: pushed to To, or polled.
type StreamDeliver struct {
	To                  string  `json:"to,omitempty"`
	AuthorizationHeader *Secret `json:"authorization_header,omitempty"` // the whole header value
	Poll                bool    `json:"poll,omitempty"`
	Direct              bool    `json:"direct,omitempty"` // the receiver has no stream API: no verification is expected of it
}

// StreamOrders says whether orders, which demand a receipt, may be sent on a stream, and how its receipts are known.
type StreamOrders struct {
	Receipts bool   `json:"receipts"`
	Issuer   string `json:"issuer,omitempty"`   // receipt_issuer; needed with receipts
	JWKSURI  string `json:"jwks_uri,omitempty"` // its keys; needed with receipts
}

// SubjectRule says how people are named to a receiver: in which format, with the account id at which place, and what
// else where a person has no such account. Formats: email, iss_sub, opaque, scim, complex.
type SubjectRule struct {
	Format    string `json:"format"`
	AccountAt string `json:"account_at,omitempty"` // a place; iss_sub takes its issuer, too
	Otherwise string `json:"otherwise,omitempty"`  // another format; empty: the person is skipped visibly
	// Payload says what becomes of an event whose payload names somebody in another name space than the receiver's: skip
	// (the default), visibly; omit: it is sent without these members, where it may be; send: it is sent as it is.
	Payload string `json:"payload,omitempty"`
}

// Tenant is the spec of a tenant: whose data it is, and who issues tokens for its stream API. Tenants are kept in the
// tenant default, which may have a spec of its own under the name default.
type Tenant struct {
	Name   string         `json:"name"`
	Set    string         `json:"set,omitempty"`
	Title  string         `json:"title,omitempty"`
	OAuth  *ExternalOAuth `json:"oauth,omitempty"`  // one more issuer of access tokens beside our own
	Legacy string         `json:"legacy,omitempty"` // an older draft that it serves in place of SSF 1.0: sse-id1 | apple
}

// ExternalOAuth is an authorization server that is not ours: its tokens are JWTs (RFC 9068) signed with the keys at
// JWKSURI (empty: from its metadata), or with Introspection opaque ones (RFC 7662). Its client_id is the name of a client.
type ExternalOAuth struct {
	Issuer        string         `json:"issuer"`
	Audience      string         `json:"audience,omitempty"` // empty: the tenant's issuer
	JWKSURI       string         `json:"jwks_uri,omitempty"`
	Introspection *Introspection `json:"introspection,omitempty"`
}

// Introspection is how we ask an issuer about an opaque token.
type Introspection struct {
	Endpoint     string  `json:"endpoint"`
	ClientID     string  `json:"client_id"`
	ClientSecret *Secret `json:"client_secret"`
}

// ClientKeys says where a client's keys for private_key_jwt are; exactly one.
type ClientKeys struct {
	JWKSURI string          `json:"jwks_uri,omitempty"`
	JWKS    json.RawMessage `json:"jwks,omitempty"`
}

// Client is who may call us.
type Client struct {
	Name string `json:"name"`
	Set  string `json:"set,omitempty"`
	// Auth is how it shows itself: bearer (a token we made), or at the token endpoint client_secret_basic,
	// client_secret_post or private_key_jwt. A token made with `token create` is taken from every client.
	Auth      string       `json:"auth"`
	Secret    *Secret      `json:"client_secret,omitempty"`
	Keys      *ClientKeys  `json:"keys,omitempty"`
	Subject   *SubjectRule `json:"subject,omitempty"`          // how people are named on the streams it makes
	Subjects  string       `json:"default_subjects,omitempty"` // of the streams it makes: ALL (default) | NONE
	Scopes    []string     `json:"scopes"`
	Streams   string       `json:"streams,omitempty"`    // one (default) | many
	Alg       string       `json:"alg,omitempty"`        // of the SETs on its streams: RS256 (default), ES256, EdDSA
	PushHosts []string     `json:"push_hosts,omitempty"` // hosts a push endpoint may have; empty: any public one
	Events    []string     `json:"events,omitempty"`     // signals.write: event types it may send; empty: any
	Domains   []string     `json:"domains,omitempty"`    // signals.write: e-mail domains of subjects; empty: any
}
