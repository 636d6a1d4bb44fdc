package api

import (
	"net/http"

	"countersign/internal/hub"
	"countersign/internal/store"
)

func (d *Door) listActions(w http.ResponseWriter, r *request) error {
	p, q, err := query(r.Request, "state", "app", "identity", "signal")
	if err == nil {
		err = from(p, hub.PrefixAction)
	}
	if err != nil {
		return err
	}
	state, err := word(q, "state", hub.Planned, hub.Running, hub.Unknown, hub.Delayed, hub.Succeeded, hub.Skipped, hub.Unconfirmed, hub.Failed, hub.Expired, hub.Withdrawn)
	if err != nil {
		return err
	}
	l, err := d.c.Store.ListActions(r.Context(), r.tenant, store.ActionFilter{State: state, App: q.Get("app"), Identity: q.Get("identity"), SignalID: q.Get("signal")}, p)
	if err != nil {
		return err
	}
	return writePage(w, l)
}

func (d *Door) showAction(w http.ResponseWriter, r *request) error {
	id := r.PathValue("id")
	a, err := d.c.Store.Action(r.Context(), r.tenant, id)
	if err == nil && a == nil || hub.CodeOf(err) == hub.NotFound && err != nil {
		return hub.Errorf(hub.NotFound, "there is no action %q", short(id)).WithHint("countersign action list")
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, a)
}
