package api

import (
	"net/http"

	"countersign/internal/hub"
)

// unresolvedSignals counts the signals that wait until somebody fits their subject, by source and reason.
func (d *Door) unresolvedSignals(w http.ResponseWriter, r *request) error {
	u, err := d.c.Store.UnresolvedSummary(r.Context(), r.tenant)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, u)
}

// SignalRedrive asks that unresolved signals are looked at once more.
type SignalRedrive struct {
	IDs []string `json:"ids"` // empty: every unresolved one
}

// SignalRedriven is how many are on their way.
type SignalRedriven struct {
	Queued int `json:"queued"`
}

// redriveSignals runs unresolved signals again. A signal that is decided is not decided twice: what it did is done again with
// its actions, or by a new signal.
func (d *Door) redriveSignals(w http.ResponseWriter, r *request) error {
	var req SignalRedrive
	if err := optionalBody(w, r, &req); err != nil {
		return err
	}
	if len(req.IDs) > 1000 {
		return hub.Errorf(hub.Invalid, "at most 1000 signals at once").WithHint("leave ids out for every unresolved one")
	}
	a := SignalRedriven{}
	if len(req.IDs) == 0 {
		n, err := d.c.Store.RequeueUnresolved(r.Context(), r.tenant)
		if err != nil {
			return err
		}
		a.Queued = n
		return writeJSON(w, http.StatusAccepted, a)
	}
	for _, id := range req.IDs {
		if err := d.c.Store.Requeue(r.Context(), r.tenant, id); err != nil {
			if hub.CodeOf(err) == hub.NotFound {
				return hub.Errorf(hub.NotFound, "there is no signal %q", short(id)).WithHint("countersign signal list --unresolved")
			}
			return err
		}
		a.Queued++
	}
	return writeJSON(w, http.StatusAccepted, a)
}
