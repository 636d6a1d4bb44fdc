package connector

import (
	"net/http"

	"countersign/internal/expr"
)

// bearer sends Authorization: Bearer TOKEN (RFC 6750 §2.1).
type bearer struct{ token *expr.Template }

func (c *compiler) bearer(f authFile) (auth, error) {
	if f.Token == "" || f.Username != "" || f.Password != "" {
		return nil, c.doc.Errorf("auth", "auth kind bearer has token and nothing else")
	}
	t, err := c.template("auth.token", f.Token, expr.Header, false)
	return bearer{t}, err
}

func (b bearer) apply(r *http.Request, vars map[string]any) error {
	token, err := b.token.Text(vars)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return nil
}
