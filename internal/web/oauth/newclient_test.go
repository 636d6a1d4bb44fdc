package oauth

import (
	"encoding/json"
	"testing"

	"countersign/internal/hub"
	"countersign/internal/store"
)

// A client that is deleted and made again does not find its old tokens in force.
func TestNewClientOfOldName(t *testing.T) {
	eachStore(t, func(t *testing.T, h *house) {
		st, ok := h.store.(*store.Store)
		if !ok {
			return // resources are the engines' own
		}
		spec, err := json.Marshal(h.clients["default/post"].Spec)
		if err != nil {
			t.Fatal(err)
		}
		r := hub.Resource{Tenant: DefaultTenant, Kind: hub.KindClient, Name: "post", Spec: spec}
		change := func(op store.Op) {
			t.Helper()
			if _, err := st.Apply(t.Context(), DefaultTenant, []store.Change{{Op: op, Resource: r}}); err != nil {
				t.Fatal(err)
			}
		}
		change(store.OpPut)
		token := h.tokenOf("post", postSecret)
		change(store.OpDelete)
		change(store.OpPut)
		h.Forget()
		if got := h.may(DefaultTenant, token); got != "-" {
			t.Errorf("the old token may %q", got)
		}
	})
}
