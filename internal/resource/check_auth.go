package resource

import (
	"slices"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/internal/partner"
	"countersign/internal/yaml"
)

// authMethods are how we may show ourselves to a source, and which fields belong to each.
var authMethods = []struct {
	name         string
	needs, takes []string
}{
	{"none", nil, nil},
	{"bearer", []string{"token"}, nil},
	{"client_secret_basic", []string{"client_id", "client_secret"}, tokenFields},
	{"client_secret_post", []string{"client_id", "client_secret"}, tokenFields},
	{"client_secret_jwt", []string{"client_id", "client_secret"}, append([]string{"alg", "key_id", "audience"}, tokenFields...)},
	{"private_key_jwt", []string{"client_id", "key"}, append([]string{"alg", "key_id", "audience"}, tokenFields...)},
	{"refresh_token", []string{"client_id"}, append([]string{"client_secret", "authorization_endpoint"}, tokenFields...)},
	{"signed_jwt", []string{"key", "issuer", "audience"}, []string{"alg", "key_id"}},
}

// tokenFields say where tokens are and for what.
var tokenFields = []string{"token_endpoint", "issuer", "scope"}

func checkAuth(doc yaml.Doc, a *hub.Auth) error {
	if a == nil {
		return nil
	}
	var names []string
	for _, m := range authMethods {
		names = append(names, m.name)
	}
	if a.Method == "" {
		return doc.Errorf("auth", "auth says its method: %s", strings.Join(names, ", "))
	}
	if err := word(doc, "auth.method", a.Method, names...); err != nil {
		return err
	}
	m := authMethods[slices.Index(names, a.Method)]
	given := []struct {
		name string
		is   bool
	}{{"token", a.Token != nil}, {"client_id", a.ClientID != ""}, {"client_secret", a.ClientSecret != nil}, {"key", a.Key != nil}, {"alg", a.Alg != ""},
		{"key_id", a.KeyID != ""}, {"token_endpoint", a.TokenEndpoint != ""}, {"authorization_endpoint", a.AuthorizationEndpoint != ""},
		{"issuer", a.Issuer != ""}, {"audience", a.Audience != ""}, {"scope", a.Scope != ""}}
	for _, f := range given {
		switch {
		case !f.is && slices.Contains(m.needs, f.name):
			how := f.name
			if f.name == "token" || f.name == "client_secret" || f.name == "key" {
				how += ": {stored: NAME}"
			}
			return doc.Errorf("auth", "the method %s has %s", a.Method, how)
		case f.is && !slices.Contains(m.needs, f.name) && !slices.Contains(m.takes, f.name):
			return doc.Errorf("auth."+f.name, "the method %s has no %s", a.Method, f.name)
		}
	}
	oauth := slices.Contains(m.takes, "token_endpoint")
	switch {
	case oauth && a.TokenEndpoint == "" && a.Issuer == "":
		return doc.Errorf("auth", "the method %s says where tokens are: token_endpoint, or issuer for the authorization server's metadata", a.Method)
	case a.Method == "refresh_token" && a.AuthorizationEndpoint == "" && a.Issuer == "":
		return doc.Errorf("auth", "the method refresh_token says where people consent: authorization_endpoint, or issuer for the authorization server's metadata")
	case oauth && a.Audience != "" && a.TokenEndpoint == "" && a.Audience != a.Issuer:
		return doc.Errorf("auth.audience", "an audience of its own needs token_endpoint; otherwise it is the issuer")
	case a.Method == "client_secret_jwt" && a.Alg != "" && a.Alg != "HS256":
		return doc.Errorf("auth.alg", "client_secret_jwt is signed with HS256")
	case strings.ContainsFunc(a.Scope, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }):
		return doc.Errorf("auth.scope", "scope is words with a space between, such as: ssf.manage ssf.read")
	}
	if a.Method != "client_secret_jwt" {
		if err := word(doc, "auth.alg", a.Alg, algorithms...); err != nil {
			return err
		}
	}
	err := first(checkSecret(doc, "auth.token", a.Token), checkSecret(doc, "auth.client_secret", a.ClientSecret), checkSecret(doc, "auth.key", a.Key),
		checkURL(doc, "auth.token_endpoint", a.TokenEndpoint), checkURL(doc, "auth.authorization_endpoint", a.AuthorizationEndpoint))
	if err == nil && oauth {
		err = checkURL(doc, "auth.issuer", a.Issuer)
	}
	return err
}

// asksAudience reports whether our audience is sent when the stream is made (a quirk of few transmitters).
func asksAudience(s *hub.Source) bool {
	p, ok := partner.Find(s.Profile)
	if !ok {
		return false
	}
	q, err := p.QuirksWith(s.Relax)
	return err == nil && q.AudienceInCreate
}

// checkStreamAt checks what a source says of our stream there.
func checkStreamAt(doc yaml.Doc, s *hub.Source) error {
	switch {
	case s.StreamID != "" && s.Stream != "adopt":
		return doc.Errorf("stream_id", "stream_id names the stream to take with stream: adopt")
	case len(s.StreamID) > 1024:
		return doc.Errorf("stream_id", "a stream_id has at most 1024 bytes")
	case s.Delivery == "poll" && s.PushAuth != nil:
		return doc.Errorf("push_auth", "push_auth belongs to delivery: push; where we poll, nobody calls us")
	case len(s.Audience) > 0 && s.Stream != "none" && s.Stream != "adopt" && !asksAudience(s):
		return doc.Errorf("audience", "audience stands only with stream: none and adopt; otherwise the stream's configuration says it")
	case s.Verify != nil && s.Stream == "none":
		return doc.Errorf("verify", "verify needs a stream that the hub keeps: stream: create or adopt")
	}
	if s.Verify == nil || s.Verify.Every == "" {
		return nil
	}
	if every, err := time.ParseDuration(s.Verify.Every); err != nil || every != 0 && (every < time.Minute || every > 31*24*time.Hour) {
		return doc.Errorf("verify.every", "every is a span from 1m to 744h, such as 6h, or 0 for never")
	}
	return nil
}
