package connector

import (
	"fmt"
	"net/http"
	"strings"

	"countersign/internal/expr"
)

// basic sends Authorization: Basic (RFC 7617 §2).
type basic struct{ username, password *expr.Template }

func (c *compiler) basic(f authFile) (auth, error) {
	if f.Username == "" || f.Password == "" || f.Token != "" {
		return nil, c.doc.Errorf("auth", "auth kind basic has username and password and nothing else")
	}
	u, err := c.template("auth.username", f.Username, expr.Header, false)
	if err != nil {
		return nil, err
	}
	p, err := c.template("auth.password", f.Password, expr.Header, false)
	return basic{u, p}, err
}

func (b basic) apply(r *http.Request, vars map[string]any) error {
	u, err := b.username.Text(vars)
	if err != nil {
		return err
	}
	if strings.Contains(u, ":") {
		return fmt.Errorf("%w: a user name for basic holds no colon", expr.ErrUnsafe)
	}
	p, err := b.password.Text(vars)
	if err != nil {
		return err
	}
	r.SetBasicAuth(u, p)
	return nil
}
