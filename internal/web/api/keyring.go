package api

import (
	"encoding/json"
	"net/http"
	"slices"

	"countersign/internal/hub"
)

// algorithms that a key can be made for.
var algorithms = []string{"RS256", "ES256", "EdDSA"}

func (d *Door) listKeys(w http.ResponseWriter, r *request) error {
	items, err := d.everyKey(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page[KeyInfo]{Items: items})
}

func (d *Door) everyKey(r *request) ([]KeyInfo, error) {
	if d.c.KeyRing != nil {
		all, err := d.c.KeyRing.List(r.Context(), r.tenant)
		return emptyNotNull(all), err
	}
	keys, err := d.c.Keys.Ours(r.Context(), r.tenant)
	if err != nil {
		return nil, err
	}
	var used map[string]int64
	if o, err := d.office(r.tenant); err == nil {
		if used, err = o.streams.KeysInUse(r.Context()); err != nil {
			return nil, err
		}
	}
	items := []KeyInfo{}
	for _, k := range keys {
		jwk, err := json.Marshal(k)
		if err != nil {
			return nil, err
		}
		items = append(items, KeyInfo{KID: k.ID, Alg: k.Algorithm, State: "active", Thumbprint: k.Thumbprint(), JWK: jwk, Waiting: used[k.ID]})
	}
	return items, nil
}

func (d *Door) ring() (KeyRing, error) {
	if d.c.KeyRing == nil {
		return nil, hub.Errorf(hub.Unavailable, "keys cannot be changed over this door")
	}
	return d.c.KeyRing, nil
}

func (d *Door) rotateKey(w http.ResponseWriter, r *request) error {
	var req RotateRequest
	if err := optionalBody(w, r, &req); err != nil {
		return err
	}
	if req.Alg == "" {
		req.Alg = algorithms[0]
	}
	if req.Alg == "Ed25519" {
		req.Alg = "EdDSA"
	}
	if !slices.Contains(algorithms, req.Alg) {
		return hub.Errorf(hub.Invalid, "keys of %q are not made", short(req.Alg)).WithHint("it is one of RS256, ES256, EdDSA")
	}
	ring, err := d.ring()
	if err != nil {
		return err
	}
	k, err := ring.Rotate(r.Context(), r.tenant, req.Alg, req.Now)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, k)
}

func (d *Door) retireKey(w http.ResponseWriter, r *request) error {
	var req RetireRequest
	if err := optionalBody(w, r, &req); err != nil {
		return err
	}
	ring, err := d.ring()
	if err != nil {
		return err
	}
	kid, err := ref(r, "kid")
	if err != nil {
		return err
	}
	k, err := ring.Retire(r.Context(), r.tenant, kid, req.Compromised)
	if hub.CodeOf(err) == hub.NotFound && err != nil {
		return hub.Errorf(hub.NotFound, "there is no key %q", short(kid)).WithHint("countersign key list")
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, k)
}
