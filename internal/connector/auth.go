package connector

import (
	"net/http"
)

// auth is one way to show ourselves to an app. Each kind has a file of its own.
type auth interface {
	// apply sets what the request must carry. Its error wraps expr.ErrUnsafe where a secret does not fit.
	apply(r *http.Request, vars map[string]any) error
}

// auth compiles the pack's auth block.
func (c *compiler) auth() (auth, error) {
	f := c.file.Auth
	switch f.Kind {
	case "bearer":
		return c.bearer(f)
	case "basic":
		return c.basic(f)
	case "":
		return nil, c.doc.Errorf("auth", "a pack says how it authenticates: auth.kind is bearer or basic")
	}
	return nil, c.doc.Errorf("auth.kind", "this version acts on the auth kinds bearer and basic, not %s", f.Kind)
}
