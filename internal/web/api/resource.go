package api

import (
	"context"
	"encoding/json"
	"net/http"

	"countersign/internal/hub"
	"countersign/internal/store"
)

// resourceView is a resource with what the running hub knows of it.
type resourceView struct {
	hub.Resource
	State map[string]any `json:"state,omitempty"`
}

func list(kind hub.Kind) func(*Door, http.ResponseWriter, *request) error {
	return func(d *Door, w http.ResponseWriter, r *request) error {
		p, _, err := query(r.Request)
		if err != nil {
			return err
		}
		l, err := d.c.Store.ListResources(r.Context(), r.tenant, kind, p)
		if err != nil {
			return err
		}
		if kind != hub.KindSource || d.c.Show == nil {
			return writePage(w, l)
		}
		with := hub.Listed[resourceView]{Next: l.Next} // how a source is doing is what its list is read for
		for i := range l.Items {
			with.Items = append(with.Items, resourceView{l.Items[i], d.c.Show(r.Context(), &l.Items[i])})
		}
		return writePage(w, with)
	}
}

func show(kind hub.Kind) func(*Door, http.ResponseWriter, *request) error {
	return func(d *Door, w http.ResponseWriter, r *request) error {
		res, err := d.resource(r, kind)
		if err != nil {
			return err
		}
		v := resourceView{Resource: *res}
		if d.c.Show != nil {
			v.State = d.c.Show(r.Context(), res)
		}
		return writeJSON(w, http.StatusOK, v)
	}
}

func (d *Door) resource(r *request, kind hub.Kind) (*hub.Resource, error) {
	name := r.PathValue("name")
	res, err := d.c.Store.Resource(r.Context(), r.tenant, kind, name)
	if err == nil && res == nil {
		err = hub.Errorf(hub.NotFound, "not found")
	}
	if hub.CodeOf(err) == hub.NotFound && err != nil {
		return nil, hub.Errorf(hub.NotFound, "there is no %s %q", kind, short(name)).WithHint("countersign %s list", kind)
	}
	return res, err
}

// remove deletes one resource, unless what is left would not hold together.
func remove(kind hub.Kind) func(*Door, http.ResponseWriter, *request) error {
	return func(d *Door, w http.ResponseWriter, r *request) error {
		d.applying.Lock()
		defer d.applying.Unlock()
		res, err := d.resource(r, kind)
		if err != nil {
			return err
		}
		if err := d.spare(r.Context(), r.tenant, res); err != nil {
			return err
		}
		if _, err := d.commit(r.Context(), r.tenant, []store.Change{{Op: store.OpDelete, Resource: *res}}, false); err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, Step{Op: "delete", Kind: kind, Name: res.Name})
	}
}

// spare refuses to delete what the others need.
func (d *Door) spare(ctx context.Context, tenant string, res *hub.Resource) error {
	if res.Kind == hub.KindIdentity {
		return nil
	}
	var after []hub.Resource
	for _, k := range hub.Kinds {
		if k == hub.KindIdentity {
			continue
		}
		all, err := d.c.Store.Resources(ctx, tenant, k)
		if err != nil {
			return err
		}
		for _, o := range all {
			if o.Kind != res.Kind || o.Name != res.Name {
				after = append(after, o)
			}
		}
	}
	if err := d.check(ctx, tenant, after); err != nil {
		return hub.Errorf(hub.Conflict, "%s %s is still needed: %w", res.Kind, res.Name, err)
	}
	return nil
}

// export gives every resource as a document that apply takes. Secrets are references in it.
func (d *Door) export(w http.ResponseWriter, r *request) error {
	_, q, err := query(r.Request, "set", "kind")
	if err != nil {
		return err
	}
	docs := []json.RawMessage{}
	for _, kind := range hub.Kinds {
		if k := q.Get("kind"); k != "" && k != string(kind) {
			continue
		}
		all, err := d.c.Store.Resources(r.Context(), r.tenant, kind)
		if err != nil {
			return err
		}
		for _, res := range all {
			if s := q.Get("set"); s != "" && s != res.Set {
				continue
			}
			docs = append(docs, document(&res))
		}
	}
	return writeJSON(w, http.StatusOK, map[string]any{"apiVersion": "countersign/v1", "resources": docs})
}

// document writes a resource as apply takes it: its kind, then its spec.
func document(r *hub.Resource) json.RawMessage {
	return prepend(r.Spec, `"kind":"`+string(r.Kind)+`"`)
}
