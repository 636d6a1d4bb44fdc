package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/hub"
)

func refusal(source, reason string) hub.Refusal {
	now := hub.At(time.Now())
	return hub.Refusal{ID: hub.NewID(hub.PrefixRefusal, now.Time()), Source: source, Door: "push", Status: 400, Err: "invalid_key", Reason: reason,
		Quirk: "Q-31", Cure: "send the kid", Side: "theirs", JTI: "j-1", Size: 812, Count: 1, At: now, Last: now}
}

func TestRefusalsComeBackAndGrow(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		first, other := refusal("okta", "no such key"), refusal("entra", "x")
		must(t, s.AddRefusals(ctx, tenant, []hub.Refusal{first, other}))
		got, err := s.Refusals(ctx, tenant, "okta", hub.Page{})
		must(t, err)
		if d := cmp.Diff([]hub.Refusal{first}, got.Items); d != "" {
			t.Error(d)
		}
		// The same one again has grown; a text that no engine keeps is made fit.
		first.Count, first.Last = 41, first.Last+5
		odd := refusal("okta", "NUL \x00 and \xff here")
		must(t, s.AddRefusals(ctx, tenant, []hub.Refusal{first, odd}))
		got, err = s.Refusals(ctx, tenant, "okta", hub.Page{})
		must(t, err)
		odd.Reason = "NUL \uFFFD and \uFFFD here"
		byID := map[string]hub.Refusal{}
		for _, r := range got.Items {
			byID[r.ID] = r
		}
		if d := cmp.Diff(map[string]hub.Refusal{first.ID: first, odd.ID: odd}, byID); d != "" {
			t.Error(d)
		}
		// Those of another tenant and of all sources.
		if got, err := s.Refusals(ctx, "other", "okta", hub.Page{}); err != nil || len(got.Items) != 0 {
			t.Errorf("another tenant sees %v, %v", got.Items, err)
		}
		if got, err := s.Refusals(ctx, tenant, "", hub.Page{}); err != nil || len(got.Items) != 3 {
			t.Errorf("of all sources %d, %v", len(got.Items), err)
		}
		must(t, s.ForgetRefusals(ctx, tenant, "okta"))
		if got, err := s.Refusals(ctx, tenant, "", hub.Page{}); err != nil || len(got.Items) != 1 || got.Items[0].Source != "entra" {
			t.Errorf("after the source was forgotten: %+v, %v", got.Items, err)
		}
		_, err = s.Refusals(ctx, "", "okta", hub.Page{})
		wantCode(t, err, hub.Invalid)
		wantCode(t, s.AddRefusals(ctx, "", []hub.Refusal{first}), hub.Invalid)
	})
}

// However much a source sends, what is kept of it has an end, and nobody else's goes for it.
func TestRefusalsAreBounded(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		quiet := refusal("entra", "x")
		must(t, s.AddRefusals(ctx, tenant, []hub.Refusal{quiet}))
		for i := range 3 {
			var many []hub.Refusal
			for n := range 600 {
				r := refusal("okta", fmt.Sprint("round ", i, " no ", n))
				r.ID = fmt.Sprintf("ref_%d%04d", i, n)
				many = append(many, r)
			}
			must(t, s.AddRefusals(ctx, tenant, many))
		}
		if n := count(t, s, "refused"); n != RefusalsKept+1 {
			t.Errorf("%d rows are kept", n)
		}
		got, err := s.Refusals(ctx, tenant, "okta", hub.Page{Limit: 1})
		must(t, err)
		if len(got.Items) != 1 || got.Items[0].Reason != "round 2 no 599" || got.Next == "" {
			t.Errorf("newest is %+v", got)
		}
		if got, err := s.Refusals(ctx, tenant, "entra", hub.Page{}); err != nil || len(got.Items) != 1 {
			t.Errorf("the quiet one has %d, %v", len(got.Items), err)
		}
	})
}
