package api

import (
	"context"
	"encoding/json"
	"net/http"

	"countersign/internal/hub"
	"countersign/internal/store"
)

// TenantHeader names the tenant that a call is about, where that is not the token's own.
const TenantHeader = "Countersign-Tenant"

// aim settles the tenant of a call. Only the operator token of the first tenant reaches others; who may not learns
// nothing about which there are.
func (d *Door) aim(r *request) error {
	r.tenant = r.caller.Tenant
	named := r.Header.Values(TenantHeader)
	if len(named) == 0 || len(named) == 1 && named[0] == r.tenant {
		return nil
	}
	if len(named) > 1 || named[0] == "" {
		return hub.Errorf(hub.Invalid, "%s must be one name", TenantHeader)
	}
	if !r.caller.Operator || r.caller.Tenant != d.c.Tenant {
		return hub.Errorf(hub.Forbidden, "this token belongs to another tenant").WithHint("leave %s out, or use the operator token of the tenant %s", TenantHeader, d.c.Tenant)
	}
	ok, err := tenantThere(r.Context(), d.c.Store, named[0])
	if err != nil {
		return err
	}
	if !ok {
		return hub.Errorf(hub.NotFound, "there is no tenant %q", short(named[0])).WithHint("countersign tenant list")
	}
	r.tenant = named[0]
	return nil
}

// tenantThere says whether there is a tenant of that name. The first one always is; the others are documents in it.
func tenantThere(ctx context.Context, st Tokens, name string) (bool, error) {
	if name == DefaultTenant {
		return true, nil
	}
	res, err := st.Resource(ctx, DefaultTenant, hub.KindTenant, name)
	if hub.CodeOf(err) == hub.NotFound && err != nil {
		return false, nil
	}
	return err == nil && res != nil, err
}

// first refuses calls about tenants to all but the operator of the first one.
func (d *Door) first(r *request) error {
	if r.caller.Tenant != d.c.Tenant {
		return hub.Errorf(hub.Forbidden, "this needs the operator token of the tenant %s", d.c.Tenant).WithHint("use another token")
	}
	r.tenant = d.c.Tenant
	return nil
}

// implied is the first tenant where no document says anything about it.
func (d *Door) implied() hub.Resource {
	return hub.Resource{Tenant: d.c.Tenant, Kind: hub.KindTenant, Name: d.c.Tenant, Spec: json.RawMessage(`{"name":"` + d.c.Tenant + `"}`)}
}

func (d *Door) tenantView(ctx context.Context, res *hub.Resource) resourceView {
	v := resourceView{Resource: *res, State: map[string]any{}}
	if d.c.Show != nil {
		for name, value := range d.c.Show(ctx, res) {
			v.State[name] = value
		}
	}
	if d.c.Issuer != nil {
		v.State["issuer"] = d.c.Issuer(res.Name)
	}
	if o, err := d.office(res.Name); err == nil {
		if all, err := o.streams.Overview(ctx); err == nil {
			v.State["streams"] = len(all)
		}
	}
	return v
}

func (d *Door) listTenants(w http.ResponseWriter, r *request) error {
	p, _, err := query(r.Request)
	if err == nil {
		err = d.first(r)
	}
	if err != nil {
		return err
	}
	l, err := d.c.Store.ListResources(r.Context(), r.tenant, hub.KindTenant, p)
	if err != nil {
		return err
	}
	out := hub.Listed[resourceView]{Next: l.Next}
	if p.After == "" {
		res, err := d.c.Store.Resource(r.Context(), r.tenant, hub.KindTenant, d.c.Tenant)
		if err != nil && hub.CodeOf(err) != hub.NotFound {
			return err
		}
		if err != nil || res == nil {
			none := d.implied()
			out.Items = append(out.Items, d.tenantView(r.Context(), &none))
		}
	}
	for i := range l.Items {
		out.Items = append(out.Items, d.tenantView(r.Context(), &l.Items[i]))
	}
	return writePage(w, out)
}

func (d *Door) oneTenant(r *request) (*hub.Resource, error) {
	if err := d.first(r); err != nil {
		return nil, err
	}
	res, err := d.resource(r, hub.KindTenant)
	if err != nil && hub.CodeOf(err) == hub.NotFound && r.PathValue("name") == d.c.Tenant {
		none := d.implied()
		return &none, nil
	}
	return res, err
}

func (d *Door) showTenant(w http.ResponseWriter, r *request) error {
	res, err := d.oneTenant(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, d.tenantView(r.Context(), res))
}

// deleteTenant deletes a tenant in which nothing is left.
func (d *Door) deleteTenant(w http.ResponseWriter, r *request) error {
	d.applying.Lock()
	defer d.applying.Unlock()
	ctx := r.Context()
	res, err := d.oneTenant(r)
	if err != nil {
		return err
	}
	if res.Version == 0 {
		return hub.Errorf(hub.Conflict, "the tenant %s is always there", res.Name).WithHint("what is in it is deleted by kind and name, such as: countersign stream delete NAME")
	}
	if res.Name != d.c.Tenant {
		for _, kind := range hub.Kinds {
			l, err := d.c.Store.ListResources(ctx, res.Name, kind, hub.Page{Limit: 1})
			if err != nil {
				return err
			}
			if len(l.Items) > 0 {
				return hub.Errorf(hub.Conflict, "tenant %s still has %s %s", res.Name, kind, l.Items[0].Name).WithHint("delete what is in it first")
			}
		}
		if o, err := d.office(res.Name); err == nil {
			views, err := o.streams.Overview(ctx)
			if err != nil {
				return err
			}
			if len(views) > 0 {
				return hub.Errorf(hub.Conflict, "tenant %s still has streams", res.Name).WithHint("delete them first")
			}
		}
	}
	if _, err := d.commit(ctx, d.c.Tenant, []store.Change{{Op: store.OpDelete, Resource: *res}}, false); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, Step{Op: "delete", Kind: hub.KindTenant, Name: res.Name})
}
