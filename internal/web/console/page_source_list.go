package console

import (
	"net/http"
	"net/url"
	"time"

	"countersign/internal/hub"
)

type sourceListView struct {
	frame
	Filters []filterView
	Rows    []sourceRow
	Chosen  bool // a filter is set
}

type sourceRow struct {
	Link, Title, Sub string
	How, Profile     string
	Stream, StreamID string
	Alive            time.Time // zero: no sign yet
	Health           badge
	Bad              bool // in red
	Why, Step        string
}

// sourceFilters are the choices above the list, by health.
var sourceFilters = []struct {
	name, text string
	health     []string
}{{"", "All", nil}, {"failing", "Failing", []string{"failed", "silent", "warning"}}, {"paused", "Paused", []string{"paused"}}}

func (c *Console) pageSourceList(w http.ResponseWriter, r *visit) error {
	docs, err := c.c.Store.Resources(r.Context(), c.c.Tenant, hub.KindSource)
	if err != nil {
		return err
	}
	var all []*sourceInfo
	for i := range docs {
		one, err := c.sourceInfo(r.Context(), &docs[i])
		if err != nil {
			return err
		}
		all = append(all, one)
	}
	c.render(w, http.StatusOK, "source_list", c.sourceList(&r.user, r.URL.Query().Get("show"), all))
	return nil
}

func (c *Console) sourceList(u *User, show string, all []*sourceInfo) sourceListView {
	v := sourceListView{frame: c.frame("Sources", u).at("sources")}
	var wanted []string
	for _, f := range sourceFilters {
		here := f.name == show
		v.Filters = append(v.Filters, filterView{Text: f.text, Link: pageLink("/sources", "show", f.name), Here: here})
		if here {
			wanted, v.Chosen = f.health, f.name != ""
		}
	}
	for _, i := range all {
		health := i.health()
		if wanted != nil && !contains(wanted, health) {
			continue
		}
		v.Rows = append(v.Rows, sourceRow{Link: "/sources/" + url.PathEscape(i.spec.Name), Title: shorten(80, i.spec.Name), Sub: shorten(120, i.spec.Issuer),
			How: or(i.spec.Delivery, "push"), Profile: shorten(40, or(i.spec.Profile, "generic")), Stream: i.streamWord(), StreamID: shorten(40, i.st.Stream.StreamID),
			Alive: i.alive().Time(), Health: mark(health), Bad: tone(health) == "bad", Why: shorten(400, i.why()), Step: shorten(200, i.step())})
	}
	return v
}

// streamWord says who makes the stream.
func (i *sourceInfo) streamWord() string {
	switch i.spec.Stream {
	case "none":
		return "made by hand"
	case "adopt":
		return "adopted"
	}
	return "made by us"
}
