package oauth

import (
	"context"
	"strings"
	"testing"

	"countersign/internal/hub"
)

// Access takes tokens that this server gave out, of any tenant that is there, and says which tenant that is.
func TestAccess(t *testing.T) {
	eachStore(t, func(t *testing.T, h *house) {
		token := h.tokenOf("post", postSecret)
		tenant, g, err := h.Access(t.Context(), token)
		if err != nil || tenant != DefaultTenant || g.Client.Name != "post" || len(g.Scopes) != 4 || g.ID == "" || g.Expires == 0 {
			t.Fatalf("%s %+v %v", tenant, g, err)
		}
		refused := func(name, token string) {
			t.Helper()
			if _, g, err := h.Access(t.Context(), token); hub.CodeOf(err) != hub.Unauthenticated || g != nil || strings.Contains(err.Error(), token) && token != "" {
				t.Errorf("%s: %+v, %v", name, g, err)
			}
		}
		refused("none", "")
		refused("one that nobody gave out", Prefix+strings.Repeat("a", 43))
		refused("a long one", Prefix+strings.Repeat("a", 10_000))
		refused("a pre-shared one", "cs_"+strings.Repeat("a", 43))
		refused("a JWT", "eyJhbGciOiJSUzI1NiJ9.e30.AA")
		h.mu.Lock()
		spec := *h.clients["default/post"].Spec
		spec.Scopes = []string{"ssf.read"}
		h.clients["default/post"] = &Client{Spec: &spec, Secret: postSecret}
		h.mu.Unlock()
		if _, g, err := h.Access(t.Context(), token); err != nil || len(g.Scopes) != 1 {
			t.Errorf("what the client lost, its token lost: %+v, %v", g, err)
		}
		h.mu.Lock()
		delete(h.clients, "default/post")
		h.mu.Unlock()
		refused("of a client that is no more", token)
	})
}

// What is asked of the store and of the vault does not depend on whether there is such a client: neither does the time of an answer.
func TestUnknownClientCostsTheSame(t *testing.T) {
	h := newHouse(t, nil)
	var revealed, decoys int
	h.clients["default/post"] = &Client{Spec: h.clients["default/post"].Spec, Reveal: func(context.Context) (string, error) { revealed++; return postSecret, nil }}
	h.cfg.Decoy = func(context.Context, string) error { decoys++; return nil }
	bodies := map[string]string{}
	for _, client := range []string{"post", "nobody", "rx", "told", "signed"} {
		revealed, decoys = 0, 0
		a := h.post(grant, "client_id="+client, "client_secret=wrong")
		if a.status != 401 || revealed+decoys != 1 || (revealed == 1) != (client == "post") {
			t.Errorf("%s: %d, revealed %d, decoys %d", client, a.status, revealed, decoys)
		}
		bodies[a.text] = client
	}
	if len(bodies) != 1 {
		t.Errorf("answers differ: %v", bodies)
	}
}
