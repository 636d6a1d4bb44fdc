package api

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"countersign/internal/hub"
	"countersign/internal/store"
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
		if slices.ContainsFunc(changes, func(c store.Change) bool { return c.Resource.Kind != hub.KindClient }) {
			if _, err := d.c.Store.RequeueUnresolved(ctx, tenant); err != nil {
				d.c.Log.ErrorContext(ctx, "unresolved signals were not queued again", "err", err)
			}
		}
	}
	return generation, nil
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
