package correlate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"countersign/internal/flow/correlate"
	"countersign/internal/hub"
)

// asked counts look-ups.
type asked struct {
	people
	n *int
}

func (a asked) FindIdentityByEmail(ctx context.Context, tenant, email string) ([]string, error) {
	*a.n++
	return a.people.FindIdentityByEmail(ctx, tenant, email)
}

// A subject of thousands of names is not looked for thousands of times, and nobody is taken for it.
func TestSubjectOfManyNames(t *testing.T) {
	names := make([]string, 2000)
	for i := range names {
		names[i] = fmt.Sprintf(`{"format":"email","email":"a%d@example.test"}`, i)
	}
	many := `{"format":"aliases","identifiers":[` + strings.Join(names, ",") + `]}`
	few := `{"format":"aliases","identifiers":[` + strings.Join(names[:100], ",") + `]}`
	for sub, found := range map[string]bool{
		many: false, `{"format":"complex","user":` + many + `}`: false,
		few: true, `{"format":"complex","user":` + few + `}`: true,
	} {
		n := 0
		st := asked{people{list: []hub.Identity{{Name: "alice", Emails: []string{"a7@example.test"}}}}, &n}
		res, err := correlate.Correlate(t.Context(), st, correlate.Input{Source: &hub.Source{Name: "idp"}, Signal: &hub.Signal{Tenant: "default", SubID: json.RawMessage(sub)}})
		if err != nil || (res.Identity != nil) != found || n > 100 || len(res.Misses) > 110 || !found && !strings.Contains(res.Reason, "names") {
			t.Errorf("%.60s: %+v, %d look-ups, %d misses, %v", sub, res.Identity, n, len(res.Misses), err)
		}
	}
}
