package resource

import (
	"strings"

	"countersign/internal/hub"
)

// absent are the keys of the declarative form that this version does not act on. A key that would be
// silently without effect is worse than one that is refused.
var absent = map[hub.Kind]map[string]string{
	hub.KindPolicy: {
		"except":        later("except", "write the exception into when, as !(…)"),
		"approval":      later("approval", "remove it, or wait for the version with approvals; a deny keeps an action from happening"),
		"then[].notify": later("notify", "remove the rule; channels come later"),
	},
	hub.KindSource: {
		"auth.client_id": "", "auth.client_secret": "", "auth.token_endpoint": "", "auth.scope": "",
	},
	hub.KindClient:   {},
	hub.KindStream:   {},
	hub.KindTenant:   {},
	hub.KindIdentity: {},
	hub.KindApp:      {},
}

// unsupported gives the reason for a key, or a value of a key, that this version does not act on.
func unsupported(kind hub.Kind, path, value string) string {
	if why := absent[kind][path]; why != "" {
		return why
	}
	switch {
	case kind == hub.KindSource && strings.HasPrefix(path, "auth.") && path != "auth.method" && path != "auth.token" && !strings.HasPrefix(path, "auth.token."):
		return later(path, "the methods bearer and none are; write auth: {method: bearer, token: {stored: NAME}}")
	case kind == hub.KindPolicy && path == "limits.beyond" && value == "hold", kind == hub.KindSource && path == "orders.limits.beyond" && value == "hold":
		return later("beyond: hold", "write beyond: deny, which refuses what goes over the limit and says so")
	case kind == hub.KindIdentity && path == "protect" && value == "ask":
		return later("protect: ask", "approvals come later; write protect: never, or none")
	case kind == hub.KindSource && path == "type" && value != "ssf" && oneOf(value, "scim", "api", "webhook", "gtr", "bcl"):
		return later("type: "+value, "only type: ssf is")
	case kind == hub.KindSource && path == "delivery" && value == "poll":
		return later("delivery: poll", "write delivery: push")
	case kind == hub.KindSource && path == "stream" && value == "adopt":
		return later("stream: adopt", "write stream: create, or none and the stream's audience")
	case kind == hub.KindSource && path == "profile" && value != "generic":
		return later("profile: "+value, "partner profiles come later; leave it out for the strict one")
	}
	return ""
}

func oneOf(v string, words ...string) bool {
	for _, w := range words {
		if v == w {
			return true
		}
	}
	return false
}
