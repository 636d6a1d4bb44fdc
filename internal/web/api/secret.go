package api

import (
	"net/http"
	"regexp"
	"slices"

	"countersign/internal/hub"
)

var secretName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

const maxSecret = 64 << 10

func checkSecret(name, value string) error {
	if !secretName.MatchString(name) {
		return hub.Errorf(hub.Invalid, "a secret's name has 1 to 100 letters, digits, dots, dashes and underscores")
	}
	if value == "" || len(value) > maxSecret {
		return hub.Errorf(hub.Invalid, "secret %s: the value must have 1 to %d bytes", name, maxSecret)
	}
	return nil
}

func (d *Door) listSecrets(w http.ResponseWriter, r *request) error {
	all, err := d.c.Store.ListSecrets(r.Context(), r.tenant)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page[any]{Items: anys(all)})
}

func (d *Door) putSecret(w http.ResponseWriter, r *request) error {
	data, err := readBody(w, r.Request, maxBody)
	if err != nil {
		return err
	}
	var req struct {
		Value string `json:"value"`
	}
	if err := decodeBody(data, maxBody, &req); err != nil {
		return err
	}
	name := r.PathValue("name")
	if err := checkSecret(name, req.Value); err != nil {
		return err
	}
	if err := d.c.Secrets.Set(r.Context(), r.tenant, name, []byte(req.Value)); err != nil {
		return err
	}
	if _, err := d.commit(r.Context(), r.tenant, nil, true); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]string{"name": name})
}

func (d *Door) deleteSecret(w http.ResponseWriter, r *request) error {
	name := r.PathValue("name")
	for _, kind := range []hub.Kind{hub.KindSource, hub.KindApp, hub.KindStream, hub.KindClient, hub.KindTenant} {
		all, err := d.c.Store.Resources(r.Context(), r.tenant, kind)
		if err != nil {
			return err
		}
		for _, res := range all {
			if slices.Contains(secretsOf(&res), hub.Secret{Stored: name}) {
				return hub.Errorf(hub.Conflict, "secret %s is used by %s %s", name, kind, res.Name).WithHint("change or delete that first")
			}
		}
	}
	all, err := d.c.Store.ListSecrets(r.Context(), r.tenant)
	if err != nil {
		return err
	}
	found := false
	for _, s := range all {
		found = found || s.Name == name
	}
	if !found {
		return hub.Errorf(hub.NotFound, "there is no secret %q", short(name)).WithHint("countersign secret list")
	}
	if err := d.c.Secrets.Delete(r.Context(), r.tenant, name); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]string{"name": name})
}

func anys[T any](s []T) []any {
	out := make([]any, len(s))
	for i, v := range s {
		out[i] = v
	}
	return out
}
