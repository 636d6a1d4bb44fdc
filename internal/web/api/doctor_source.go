package api

import "net/http"

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
	return writeJSON(w, http.StatusOK, found)
}
