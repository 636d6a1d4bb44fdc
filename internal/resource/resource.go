package resource

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"countersign/internal/hub"
	"countersign/internal/yaml"
)

var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9._@+-]{0,126}[a-z0-9])?$`)

// kinds of the declarative form that this version does not act on.
var laterKinds = map[string]string{
	"channel": "messages to people and other systems come later",
	"person":  "people sign in with tokens in this version",
}

// Decode checks one document of the declarative form and gives the resource with its canonical spec.
// Errors carry line and column, the nearest known key, and for what this version does not act on that reason.
func Decode(doc yaml.Doc) (hub.Resource, error) {
	kind := hub.Kind(doc.Kind)
	if !slices.Contains(hub.Kinds, kind) {
		if why, ok := laterKinds[doc.Kind]; ok {
			return hub.Resource{}, doc.Errorf("kind", "the kind %s is not acted on by this version: %s", doc.Kind, why)
		}
		words := make([]string, len(hub.Kinds))
		for i, k := range hub.Kinds {
			words[i] = string(k)
		}
		if near := yaml.Nearest(doc.Kind, words); near != "" {
			return hub.Resource{}, doc.Errorf("kind", "there is no kind %s: did you mean %s?", doc.Kind, near)
		}
		return hub.Resource{}, doc.Errorf("kind", "there is no kind %s; known are tenant, client, identity, app, source, stream and policy", doc.Kind)
	}
	if doc.Name == "" {
		return hub.Resource{}, doc.Errorf("", "a %s has a name", doc.Kind)
	}
	if !nameForm.MatchString(doc.Name) {
		return hub.Resource{}, doc.Errorf("name", "a name is made of lower-case letters, digits and . _ - + @, and begins and ends with a letter or digit")
	}
	if err := doc.Keys(func(path, value string) string { return unsupported(kind, path, value) }); err != nil {
		return hub.Resource{}, err
	}
	r := hub.Resource{Kind: kind, Name: doc.Name}
	var spec any
	var err error
	switch kind {
	case hub.KindSource:
		var s hub.Source
		if err = decode(doc, &s, &s.Set, &r.Set, func() error { return checkSource(doc, &s) }); err == nil {
			spec = s
		}
	case hub.KindApp:
		var a hub.App
		if err = decode(doc, &a, &a.Set, &r.Set, func() error { return checkApp(doc, &a) }); err == nil {
			spec = a
		}
	case hub.KindIdentity:
		var i hub.Identity
		if err = decode(doc, &i, &i.Set, &r.Set, func() error { return checkIdentity(doc, &i) }); err == nil {
			spec = i
		}
	case hub.KindPolicy:
		var p hub.Policy
		if err = decode(doc, &p, &p.Set, &r.Set, func() error { return checkPolicy(doc, &p) }); err == nil {
			spec = p
		}
	case hub.KindClient:
		var c hub.Client
		if err = decode(doc, &c, &c.Set, &r.Set, func() error { return checkClient(doc, &c) }); err == nil {
			spec = c
		}
	case hub.KindStream:
		var s hub.Stream
		if err = decode(doc, &s, &s.Set, &r.Set, func() error { return checkStream(doc, &s) }); err == nil {
			spec = s
		}
	case hub.KindTenant:
		var t hub.Tenant
		if err = decode(doc, &t, &t.Set, &r.Set, func() error { return checkTenant(doc, &t) }); err == nil {
			spec = t
		}
	}
	if err != nil {
		return hub.Resource{}, err
	}
	r.Spec, err = json.Marshal(spec)
	return r, err
}

func decode(doc yaml.Doc, v any, from, to *string, check func() error) error {
	if err := doc.Decode(v); err != nil {
		return err
	}
	*to = *from
	if *from != "" && !nameForm.MatchString(*from) {
		return doc.Errorf("set", "a set is named like a resource")
	}
	return check()
}

// DecodeAll reads a file of documents. Two documents of one kind and name are refused.
func DecodeAll(data []byte) ([]hub.Resource, error) {
	docs, err := yaml.Documents(data)
	if err != nil {
		return nil, err
	}
	seen := map[string]int{}
	out := make([]hub.Resource, 0, len(docs))
	for _, d := range docs {
		r, err := Decode(d)
		if err != nil {
			return nil, err
		}
		key := string(r.Kind) + "/" + r.Name
		if line, ok := seen[key]; ok {
			return nil, d.Errorf("name", "the %s %s stands in this file already, at line %d", r.Kind, r.Name, line)
		}
		seen[key] = d.Line
		out = append(out, r)
	}
	return out, nil
}

// later words what a resource may say one day.
func later(what, cure string) string {
	return fmt.Sprintf("%s is not acted on by this version: %s", what, cure)
}
