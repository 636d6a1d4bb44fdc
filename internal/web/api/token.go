package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/internal/store"
)

// Lives of tokens.
const (
	defaultLife = 90 * 24 * time.Hour
	maxLife     = 366 * 24 * time.Hour
)

// tokenView is a token without anything that could be used.
type tokenView struct {
	ID      string     `json:"id"`
	Name    string     `json:"name"`
	Client  string     `json:"client,omitempty"` // empty: the operator
	Scopes  []string   `json:"scopes"`           // empty: all of the client's
	Created hub.Micros `json:"created_at"`
	Expires hub.Micros `json:"expires_at,omitempty"`
	Revoked hub.Micros `json:"revoked_at,omitempty"`
	// Token is there once, in the answer to the request that made it.
	Token string `json:"token,omitempty"`
}

func viewToken(t store.Token) tokenView {
	return tokenView{ID: t.ID, Name: t.Name, Client: t.Client, Scopes: emptyNotNull(t.Scopes), Created: t.Created, Expires: t.Expires, Revoked: t.Revoked}
}

func (d *Door) listTokens(w http.ResponseWriter, r *request) error {
	all, err := d.c.Store.ListTokens(r.Context(), r.tenant)
	if err != nil {
		return err
	}
	items := []tokenView{}
	for _, t := range all {
		items = append(items, viewToken(t))
	}
	return writeJSON(w, http.StatusOK, page[tokenView]{Items: items})
}

func (d *Door) createToken(w http.ResponseWriter, r *request) error {
	data, err := readBody(w, r.Request, maxBody)
	if err != nil {
		return err
	}
	var req struct {
		Client    string   `json:"client"`
		Name      string   `json:"name"`
		Scopes    []string `json:"scopes"`
		ExpiresIn string   `json:"expires_in"` // a duration such as 2160h, which is the default
	}
	if err := decodeBody(data, maxBody, &req); err != nil {
		return err
	}
	if req.Client == "" {
		return hub.Errorf(hub.Invalid, "client must name the client that the token is for").WithHint("countersign client list")
	}
	life := defaultLife
	if req.ExpiresIn != "" {
		life, err = time.ParseDuration(req.ExpiresIn)
		if err != nil || life <= 0 || life > maxLife {
			return hub.Errorf(hub.Invalid, "expires_in must be a duration such as 720h, of at most %d days", int(maxLife.Hours()/24))
		}
	}
	res, err := d.c.Store.Resource(r.Context(), r.tenant, hub.KindClient, req.Client)
	if err == nil && res == nil || hub.CodeOf(err) == hub.NotFound && err != nil {
		return hub.Errorf(hub.NotFound, "there is no client %q", short(req.Client)).WithHint("apply a document of kind client first; countersign client list")
	}
	if err != nil {
		return err
	}
	scopes, err := clientScopes(res)
	if err != nil {
		return err
	}
	for _, s := range req.Scopes {
		if !slices.Contains(scopes, s) {
			return hub.Errorf(hub.Invalid, "client %s does not have the scope %q", req.Client, short(s)).WithHint("it has: %s", strings.Join(scopes, " "))
		}
	}
	if req.Name == "" {
		req.Name = req.Client
	}
	if len(req.Name) > 100 {
		return hub.Errorf(hub.Invalid, "name must have at most 100 characters")
	}
	now := d.c.Now()
	token, t, err := Mint(r.Context(), d.c.Store, r.tenant, req.Client, req.Name, req.Scopes, now, now.Add(life))
	if err != nil {
		return err
	}
	v := viewToken(t)
	v.Token = token
	return writeJSON(w, http.StatusCreated, v)
}

func (d *Door) revokeToken(w http.ResponseWriter, r *request) error {
	id := r.PathValue("id")
	if err := d.c.Store.RevokeToken(r.Context(), r.tenant, id); err != nil {
		if hub.CodeOf(err) == hub.NotFound {
			return hub.Errorf(hub.NotFound, "there is no token %q", short(id)).WithHint("countersign token list")
		}
		return err
	}
	d.callers.forget()
	if d.c.Changed != nil {
		d.c.Changed(r.Context(), r.tenant)
	}
	return writeJSON(w, http.StatusOK, map[string]string{"id": id})
}

func clientScopes(res *hub.Resource) ([]string, error) {
	var c hub.Client
	if err := json.Unmarshal(res.Spec, &c); err != nil {
		return nil, err
	}
	return c.Scopes, nil
}
