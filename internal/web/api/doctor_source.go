package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"countersign/internal/flow/enroll"
	"countersign/internal/hub"
)

// examineSource looks at everything that a source needs to be heard, on both sides.
func (d *Door) examineSource(w http.ResponseWriter, r *request) error {
	if _, _, err := query(r.Request); err != nil {
		return err
	}
	name, err := d.oneSource(r)
	if err != nil {
		return err
	}
	found, err := d.c.Sources.Examine(r.Context(), r.tenant, name)
	if err != nil {
		return err
	}
	if f, err := d.refusedLately(r.Context(), r.tenant, name); err != nil {
		return err
	} else if f != nil {
		found.Findings = append(found.Findings, *f)
	}
	return writeJSON(w, http.StatusOK, found)
}

// refusedLately is a finding about what the source sent last and what was not taken, where that is no longer ago than a day.
func (d *Door) refusedLately(ctx context.Context, tenant, name string) (*enroll.Finding, error) {
	if d.c.Refusals == nil {
		return nil, nil
	}
	l, err := d.c.Refusals.Refusals(ctx, tenant, name, hub.Page{Limit: 1})
	if err != nil || len(l.Items) == 0 {
		return nil, err
	}
	last := l.Items[0]
	if d.c.Now().Sub(last.Last.Time()) > 24*time.Hour {
		return nil, nil
	}
	f := &enroll.Finding{Check: "refused", Result: enroll.Warn, Side: last.Side, Quirk: last.Quirk, Fix: last.Cure,
		Seen: fmt.Sprintf("what it sent at %s was not taken: %s: %s; all of them: countersign source refused %s", last.Last.Time().UTC().Format(time.RFC3339), last.Err, last.Reason, short(name))}
	if f.Side == "" {
		f.Side = enroll.Between
	}
	return f, nil
}
