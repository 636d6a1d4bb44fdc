package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"countersign/internal/hub"
	"countersign/internal/resource"
	"countersign/internal/store"
	"countersign/internal/strictjson"
	"countersign/internal/yaml"
)

// applyRequest is the declarative form over the wire: the same documents as in YAML, as JSON objects
// with their kind.
type applyRequest struct {
	Resources []json.RawMessage `json:"resources"`
	Secrets   map[string]string `json:"secrets"` // values that the documents refer to as {stored: NAME}; written before them
	DryRun    bool              `json:"dry_run"`
	Prune     bool              `json:"prune"` // delete what the set has and the documents do not
	Set       string            `json:"set"`   // of documents that name none
}

// Step is one line of a plan.
type Step struct {
	Op     string   `json:"op"` // create | update | unchanged | delete
	Kind   hub.Kind `json:"kind"`
	Name   string   `json:"name"`
	Fields []string `json:"fields,omitempty"` // an update's changed fields
}

type applyAnswer struct {
	DryRun     bool   `json:"dry_run"`
	Generation int64  `json:"generation,omitempty"` // of the resources after the write; absent where nothing was written
	Plan       []Step `json:"plan"`
	// Warnings say what is written and does not work yet, such as a resource whose secret is not there.
	Warnings []string `json:"warnings,omitempty"`
}

func (d *Door) apply(w http.ResponseWriter, r *request) error {
	data, err := readBody(w, r.Request, maxApply)
	if err != nil {
		return err
	}
	var req applyRequest
	if err := decodeBody(data, maxApply, &req); err != nil {
		return err
	}
	if len(req.Secrets) > 0 && !r.caller.Operator {
		return hub.Errorf(hub.Forbidden, "secrets need the operator token")
	}
	for name, value := range req.Secrets {
		if err := checkSecret(name, value); err != nil {
			return err
		}
	}
	docs, err := decodeDocs(req.Resources, req.Set)
	if err != nil {
		return err
	}
	for i := range docs {
		if docs[i].Kind == hub.KindTenant && r.tenant != d.c.Tenant {
			return hub.Errorf(hub.Invalid, "tenant %s: tenants are kept in the tenant %s", docs[i].Name, d.c.Tenant).WithHint("apply it there")
		}
	}
	d.applying.Lock()
	defer d.applying.Unlock()
	plan, changes, err := d.plan(r.Context(), r.tenant, docs, req)
	if err != nil {
		return err
	}
	if err := d.within(r, changes); err != nil {
		return err
	}
	answer := applyAnswer{DryRun: req.DryRun, Plan: emptyNotNull(plan)}
	if !req.DryRun {
		for _, name := range slices.Sorted(maps.Keys(req.Secrets)) {
			if err := d.c.Secrets.Set(r.Context(), r.tenant, name, []byte(req.Secrets[name])); err != nil {
				return err
			}
		}
		if answer.Generation, err = d.commit(r.Context(), r.tenant, changes, len(req.Secrets) > 0); err != nil {
			return err
		}
		answer.Warnings = d.warnings(r, docs)
	}
	return writeJSON(w, http.StatusOK, answer)
}

// warnings are the problems of what was applied, as a running hub sees them now.
func (d *Door) warnings(r *request, docs []hub.Resource) []string {
	if d.c.Show == nil {
		return nil
	}
	var out []string
	for _, res := range docs {
		res.Tenant = r.tenant
		if why, ok := d.c.Show(r.Context(), &res)["problem"].(string); ok && why != "" {
			out = append(out, string(res.Kind)+" "+res.Name+": "+why)
		}
	}
	return out
}

// within refuses changes by which a client would give itself, or one whose tokens it may hold, what it was not given: its
// own document, and scopes that it lacks for a client that is there already. A client that is new has no token yet.
func (d *Door) within(r *request, changes []store.Change) error {
	if r.caller.Operator {
		return nil
	}
	for i := range changes {
		res := &changes[i].Resource
		if res.Kind == hub.KindTenant { // it says whose tokens are taken
			return hub.Errorf(hub.Forbidden, "tenants need the operator token")
		}
		if res.Kind != hub.KindClient || changes[i].Op != store.OpPut {
			continue
		}
		if res.Name == r.caller.Client {
			return hub.Errorf(hub.Forbidden, "a client does not change its own document").WithHint("use the operator token")
		}
		before, err := d.c.Store.Resource(r.Context(), r.tenant, hub.KindClient, res.Name)
		if hub.CodeOf(err) == hub.NotFound && err != nil {
			continue
		}
		if err != nil {
			return err
		}
		had, err := clientScopes(before)
		if err != nil {
			return err
		}
		wants, err := clientScopes(res)
		if err != nil {
			return err
		}
		for _, s := range wants {
			if !slices.Contains(had, s) && !r.caller.May(s) {
				return hub.Errorf(hub.Forbidden, "client %s: the scope %s is given only by who has it", res.Name, s).WithHint("use the operator token")
			}
		}
	}
	return nil
}

// commit writes, then lets the hub see the change, then runs what waited for a mapping.
func (d *Door) commit(ctx context.Context, tenant string, changes []store.Change, secrets bool) (generation int64, err error) {
	if len(changes) > 0 {
		if generation, err = d.c.Store.Apply(ctx, tenant, changes); err != nil {
			return 0, err
		}
	}
	if len(changes) > 0 || secrets {
		// The write stands whatever the caller does now.
		ctx = context.WithoutCancel(ctx)
		d.callers.forget()
		if d.c.Changed != nil {
			d.c.Changed(ctx, tenant)
		}
		if slices.ContainsFunc(changes, func(c store.Change) bool { return c.Op == store.OpPut && c.Resource.Kind != hub.KindClient }) {
			if _, err := d.c.Store.RequeueUnresolved(ctx, tenant); err != nil {
				d.c.Log.ErrorContext(ctx, "unresolved signals were not queued again", "err", err)
			}
		}
	}
	return generation, nil
}

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

// plan compares the documents with what is there, and has the whole result checked before anything is written.
func (d *Door) plan(ctx context.Context, tenant string, docs []hub.Resource, req applyRequest) ([]Step, []store.Change, error) {
	pruned := req.Set
	if req.Prune {
		for _, r := range docs {
			if pruned == "" {
				pruned = r.Set
			}
			if r.Set != pruned || pruned == "" {
				return nil, nil, hub.Errorf(hub.Invalid, "prune works within one set, and %s %s is not in it", r.Kind, r.Name).WithHint("write the same set into every document, or name it with set")
			}
		}
		if pruned == "" {
			return nil, nil, hub.Errorf(hub.Invalid, "prune needs a set").WithHint("name it with set")
		}
	}
	var steps []Step
	var changes []store.Change
	var after []hub.Resource
	for _, kind := range hub.Kinds {
		current, err := d.current(ctx, tenant, kind, docs, req.Prune)
		if err != nil {
			return nil, nil, err
		}
		wanted := map[string]bool{}
		for _, r := range docs {
			if r.Kind != kind {
				continue
			}
			wanted[r.Name] = true
			r.Tenant = tenant
			after = append(after, r)
			step := Step{Op: "create", Kind: kind, Name: r.Name}
			if i := slices.IndexFunc(current, func(c hub.Resource) bool { return c.Name == r.Name }); i >= 0 {
				step.Fields = changedFields(current[i].Spec, r.Spec)
				step.Op = "update"
				if len(step.Fields) == 0 {
					step.Op = "unchanged"
				}
			}
			steps = append(steps, step)
			if step.Op != "unchanged" {
				changes = append(changes, store.Change{Op: store.OpPut, Resource: r})
			}
		}
		for _, c := range current {
			switch {
			case wanted[c.Name]:
			case req.Prune && c.Set == pruned:
				steps = append(steps, Step{Op: "delete", Kind: kind, Name: c.Name})
				changes = append(changes, store.Change{Op: store.OpDelete, Resource: c})
			default:
				after = append(after, c)
			}
		}
	}
	if err := d.check(ctx, tenant, after); err != nil {
		return nil, nil, err
	}
	return steps, changes, nil
}

func (d *Door) check(ctx context.Context, tenant string, after []hub.Resource) error {
	if d.c.Check == nil {
		return nil
	}
	err := d.c.Check(ctx, tenant, after)
	if err != nil && hub.CodeOf(err) == hub.Internal {
		err = hub.Errorf(hub.Invalid, "%w", err)
	}
	return err
}

// current gives what is there of a kind. Identities may be a million, so only those that the
// documents name are read, or all of them where a set is pruned.
func (d *Door) current(ctx context.Context, tenant string, kind hub.Kind, docs []hub.Resource, prune bool) ([]hub.Resource, error) {
	if kind != hub.KindIdentity || prune {
		return d.c.Store.Resources(ctx, tenant, kind)
	}
	var out []hub.Resource
	for _, r := range docs {
		if r.Kind != kind {
			continue
		}
		c, err := d.c.Store.Resource(ctx, tenant, kind, r.Name)
		if hub.CodeOf(err) == hub.NotFound && err != nil {
			continue
		}
		if err != nil {
			return nil, err
		}
		if c != nil {
			out = append(out, *c)
		}
	}
	return out, nil
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
			if s.Auth != nil && s.Auth.Token != nil {
				out = append(out, *s.Auth.Token)
			}
			if s.PushAuth != nil && s.PushAuth.AuthorizationHeader != nil {
				out = append(out, *s.PushAuth.AuthorizationHeader)
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
