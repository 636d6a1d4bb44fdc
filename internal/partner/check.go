package partner

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"countersign/receiver"
)

var authMethods = []string{"none", "bearer", "client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "refresh_token", "signed_jwt"}

// check holds a profile to what its fields may say.
func (p *Profile) check() error {
	word := func(field, value string, allowed ...string) error {
		if !slices.Contains(allowed, value) {
			return fmt.Errorf("%s is %q; it is one of %s", field, value, strings.Join(allowed, ", "))
		}
		return nil
	}
	words := func(field string, values []string, allowed ...string) error {
		for i, v := range values {
			if err := word(field, v, allowed...); err != nil {
				return err
			}
			if slices.Contains(values[:i], v) {
				return fmt.Errorf("%s has %q twice", field, v)
			}
		}
		return nil
	}
	switch {
	case p.Title == "":
		return fmt.Errorf("it has no title")
	case !p.Transmits && !p.Receives:
		return fmt.Errorf("it neither transmits nor receives")
	case strings.TrimSpace(p.Guide) == "":
		return fmt.Errorf("its guide is empty")
	}
	if _, err := time.Parse(time.DateOnly, p.Checked); err != nil {
		return fmt.Errorf("checked is not a date")
	}
	if p.Every != "" {
		if d, err := time.ParseDuration(p.Every); err != nil || d <= 0 {
			return fmt.Errorf("every is not a duration")
		}
	}
	for _, err := range []error{
		word("sure", p.Sure, Run, Recorded, Documented),
		word("subjects", p.Subjects, "", Top, Nested, Both, Either),
		word("stream", p.Stream, "", "create", "adopt", "none"),
		word("paused", p.Paused, "", "held", "lost"),
		word("disabled", p.Disabled, "", "held", "lost"),
		words("delivery", p.Delivery, "push", "poll"),
		words("auth", p.Auth, authMethods...),
	} {
		if err != nil {
			return err
		}
	}
	for i, id := range p.QuirkIDs {
		if slices.Contains(p.QuirkIDs[:i], id) || slices.Contains(p.Notes, id) {
			return fmt.Errorf("%s stands twice", id)
		}
		if k, ok := receiver.LookupQuirk(id); ok && k.Always() {
			return fmt.Errorf("%s needs no switch: it belongs to notes", id)
		}
		if err := p.quirks.Set(id); err != nil {
			return err
		}
	}
	if p.Wildcards != p.quirks.WildcardSession {
		return fmt.Errorf("wildcards and Q-34 go together")
	}
	for _, id := range p.Notes {
		if _, ok := Lookup(id); !ok {
			return fmt.Errorf("no quirk is called %q", id)
		}
	}
	for _, c := range p.Cures {
		if c.On == "" || c.Text == "" {
			return fmt.Errorf("a cure says on what, and its text")
		}
		if err := word("side", c.Side, Theirs, Ours); err != nil {
			return err
		}
		if strings.HasPrefix(c.On, "Q-") {
			if _, ok := Lookup(c.On); !ok {
				return fmt.Errorf("no quirk is called %q", c.On)
			}
		}
	}
	return nil
}

// Row is one row of the list of quirks: those with a switch, and those that one copes with or has to know.
type Row struct {
	ID    string
	Title string
	Done  string // what is done about it here
	Side  string // who would change it; empty: there is nothing to change
}

// Lookup finds a quirk by its id.
func Lookup(id string) (Row, bool) {
	if k, ok := receiver.LookupQuirk(id); ok {
		return Row{ID: k.ID, Title: k.Title, Done: k.Accepts, Side: k.Side}, true
	}
	for _, r := range ways {
		if r.ID == id {
			return r, true
		}
	}
	return Row{}, false
}

// order sorts by id: Q before L, by number, and a switch after the quirk that it is of.
func order(rows []Row) []Row {
	slices.SortStableFunc(rows, func(a, b Row) int {
		if d := strings.Compare(b.ID[:1], a.ID[:1]); d != 0 {
			return d
		}
		x, xs, _ := strings.Cut(a.ID[2:], "/")
		y, ys, _ := strings.Cut(b.ID[2:], "/")
		if d := len(x) - len(y); d != 0 {
			return d
		}
		if d := strings.Compare(x, y); d != 0 {
			return d
		}
		return strings.Compare(xs, ys)
	})
	return rows
}
