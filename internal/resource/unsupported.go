package resource

import (
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
	hub.KindSource:   {},
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
	case kind == hub.KindPolicy && path == "limits.beyond" && value == "hold", kind == hub.KindSource && path == "orders.limits.beyond" && value == "hold":
		return later("beyond: hold", "write beyond: deny, which refuses what goes over the limit and says so")
	case kind == hub.KindIdentity && path == "protect" && value == "ask":
		return later("protect: ask", "approvals come later; write protect: never, or none")
	case kind == hub.KindSource && path == "type" && value != "ssf" && oneOf(value, "scim", "api", "webhook", "gtr", "bcl"):
		return later("type: "+value, "only type: ssf is")
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
