package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"countersign/internal/hub"
	"countersign/internal/resource"
	"countersign/internal/strictjson"
	"countersign/internal/yaml"
)

// decodeDocs reads the documents of a request.
func decodeDocs(raw []json.RawMessage, set string) ([]hub.Resource, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var out []hub.Resource
	seen := map[string]bool{}
	for i, doc := range raw {
		res, err := decodeDoc(doc)
		if err != nil {
			return nil, hub.Errorf(hub.Invalid, "resource %d: %w", i+1, err)
		}
		if res.Set == "" && set != "" {
			if res, err = inSet(res, set); err != nil {
				return nil, err
			}
		}
		if err := refuseLocal(&res); err != nil {
			return nil, err
		}
		key := string(res.Kind) + "/" + res.Name
		if seen[key] {
			return nil, hub.Errorf(hub.Invalid, "%s %s stands there twice", res.Kind, res.Name)
		}
		seen[key] = true
		out = append(out, res)
	}
	return out, nil
}

// decodeDoc reads one document given as a JSON object. JSON is read as the YAML it also is, so that
// both forms of a document pass the same checks.
func decodeDoc(doc json.RawMessage) (hub.Resource, error) {
	members, err := strictjson.Object(doc)
	if err != nil {
		return hub.Resource{}, errors.New("must be an object with kind and name")
	}
	full := doc
	if !slices.ContainsFunc(members, func(m strictjson.Member) bool { return m.Name == "apiVersion" }) {
		full = prepend(doc, `"apiVersion":"`+yaml.Version+`"`)
	}
	docs, err := yaml.Documents(joinSurrogates(full))
	if err != nil {
		return hub.Resource{}, err
	}
	if len(docs) != 1 {
		return hub.Resource{}, errors.New("must be one object")
	}
	return resource.Decode(docs[0])
}

// prepend puts a member before the others of an object.
func prepend(object json.RawMessage, member string) json.RawMessage {
	rest := bytes.TrimPrefix(bytes.TrimSpace(object), []byte("{"))
	out := append([]byte("{"), member...)
	if !bytes.HasPrefix(bytes.TrimSpace(rest), []byte("}")) {
		out = append(out, ',')
	}
	return append(out, rest...)
}

// joinSurrogates writes characters that JSON escapes as two surrogates as themselves: YAML has no such pairs.
func joinSurrogates(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' || i+1 >= len(data) {
			out = append(out, data[i])
			continue
		}
		if i+11 < len(data) && data[i+1] == 'u' && data[i+6] == '\\' && data[i+7] == 'u' {
			hi, err1 := strconv.ParseUint(string(data[i+2:i+6]), 16, 16)
			lo, err2 := strconv.ParseUint(string(data[i+8:i+12]), 16, 16)
			if r := utf16.DecodeRune(rune(hi), rune(lo)); err1 == nil && err2 == nil && r != utf8.RuneError {
				out = utf8.AppendRune(out, r)
				i += 11
				continue
			}
		}
		out = append(out, data[i], data[i+1])
		i++
	}
	return out
}

// changedFields names the top-level fields in which two specs differ.
func changedFields(a, b json.RawMessage) []string {
	if bytes.Equal(a, b) {
		return nil
	}
	var was, is map[string]json.RawMessage
	if json.Unmarshal(a, &was) != nil || json.Unmarshal(b, &is) != nil {
		return []string{"spec"}
	}
	var out []string
	for name, v := range is {
		if !sameJSON(was[name], v) {
			out = append(out, name)
		}
	}
	for name := range was {
		if _, ok := is[name]; !ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func sameJSON(a, b json.RawMessage) bool {
	var ca, cb bytes.Buffer
	return len(a) > 0 && len(b) > 0 && json.Compact(&ca, a) == nil && json.Compact(&cb, b) == nil && bytes.Equal(ca.Bytes(), cb.Bytes())
}

// refuseLocal refuses references that only the command line, or the server for its own start-up
// files, resolves: nothing a caller sends makes the server read a file or a variable.
func refuseLocal(r *hub.Resource) error {
	for _, s := range secretsOf(r) {
		if s.File != "" || s.Env != "" {
			return hub.Errorf(hub.Invalid, "%s %s: over the API a secret is {stored: NAME} only", r.Kind, r.Name).WithHint("countersign apply resolves {file: …} and {env: …} on its own side; or: countersign secret set NAME")
		}
	}
	if r.Kind == hub.KindSource {
		var s hub.Source
		if err := json.Unmarshal(r.Spec, &s); err != nil {
			return err
		}
		if s.Keys != nil && s.Keys.JWKSFile != "" {
			return hub.Errorf(hub.Invalid, "source %s: keys.jwks_file is not taken over the API", r.Name).WithHint("countersign apply reads the file on its own side; or send keys.jwks")
		}
	}
	return nil
}

// secretsOf gives the references of a resource to secrets.
func secretsOf(r *hub.Resource) []hub.Secret {
	var out []hub.Secret
	switch r.Kind {
	case hub.KindSource:
		var s hub.Source
		if json.Unmarshal(r.Spec, &s) == nil {
			for _, ref := range s.Secrets() {
				out = append(out, *ref)
			}
		}
	case hub.KindStream:
		var s hub.Stream
		if json.Unmarshal(r.Spec, &s) == nil && s.Deliver.AuthorizationHeader != nil {
			out = append(out, *s.Deliver.AuthorizationHeader)
		}
	case hub.KindClient:
		var c hub.Client
		if json.Unmarshal(r.Spec, &c) == nil && c.Secret != nil {
			out = append(out, *c.Secret)
		}
	case hub.KindTenant:
		var t hub.Tenant
		if json.Unmarshal(r.Spec, &t) == nil && t.OAuth != nil && t.OAuth.Introspection != nil && t.OAuth.Introspection.ClientSecret != nil {
			out = append(out, *t.OAuth.Introspection.ClientSecret)
		}
	case hub.KindApp:
		var a hub.App
		if json.Unmarshal(r.Spec, &a) == nil {
			for _, s := range a.Secrets {
				out = append(out, s)
			}
		}
	}
	return out
}

// inSet writes the set into a resource that names none.
func inSet(r hub.Resource, set string) (hub.Resource, error) {
	if strings.TrimSpace(set) == "" || len(set) > 100 {
		return r, hub.Errorf(hub.Invalid, "set must have 1 to 100 characters")
	}
	name, _ := json.Marshal(set)
	return decodeDoc(document(&hub.Resource{Kind: r.Kind, Spec: prepend(r.Spec, `"set":`+string(name))}))
}
