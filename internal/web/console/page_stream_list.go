package console

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/internal/sight"
)

type streamListView struct {
	frame
	Filters     []filterView
	Rows        []streamRow
	Next, First string
	Chosen      bool // a filter is set
}

type streamRow struct {
	Link, Title, Sub string
	Client           string
	How, Where       string
	Waiting          string // empty: nothing
	Oldest           time.Time
	Last             string
	LastAt           time.Time
	Health           badge
	Bad              bool // in red
	Why, Step        string
}

// streamFilters are the choices above the list, by health.
var streamFilters = []struct {
	name, text string
	health     []string
}{{"", "All", nil}, {"failing", "Failing", []string{"failing", "stopped", sight.Missing, "warning"}}, {"waiting", "Waiting", []string{"waiting"}}, {"paused", "Paused", []string{"paused"}}, {"disabled", "Disabled", []string{"disabled"}}}

const pageSize = 50

func (c *Console) pageStreamList(w http.ResponseWriter, r *visit) error {
	streams, _, err := c.office()
	if err != nil {
		return err
	}
	docs, err := c.c.Store.Resources(r.Context(), c.c.Tenant, hub.KindStream)
	if err != nil {
		return err
	}
	all, err := sight.All(r.Context(), streams, docs, c.fault, hub.At(c.c.Now()))
	if err != nil {
		return err
	}
	q := r.URL.Query()
	after, _ := strconv.ParseInt(q.Get("after"), 10, 64)
	c.render(w, http.StatusOK, "stream_list", c.streamList(&r.user, q.Get("show"), after, all))
	return nil
}

// fault says why no stream could be made of a document.
func (c *Console) fault(ctx context.Context, res *hub.Resource) string {
	if c.c.Show == nil {
		return ""
	}
	why, _ := c.c.Show(ctx, res)["problem"].(string)
	return why
}

func (c *Console) streamList(u *User, show string, after int64, all []sight.StreamInfo) streamListView {
	v := streamListView{frame: c.frame("Streams", u).at("streams")}
	var wanted []string
	for _, f := range streamFilters {
		here := f.name == show
		v.Filters = append(v.Filters, filterView{Text: f.text, Link: pageLink("/streams", "show", f.name), Here: here})
		if here {
			wanted, v.Chosen = f.health, f.name != ""
		}
	}
	last, n := int64(0), 0
	for i := range all {
		s := &all[i]
		if after != 0 && (s.Key() == 0 || s.Key() >= after) || wanted != nil && !contains(wanted, s.Health) {
			continue
		}
		if n >= pageSize {
			v.Next = pageLink("/streams", "show", show, "after", strconv.FormatInt(last, 10))
			break
		}
		v.Rows = append(v.Rows, streamRowOf(s))
		if s.Key() != 0 {
			last, n = s.Key(), n+1
		}
	}
	if after != 0 {
		v.First = pageLink("/streams", "show", show)
	}
	return v
}

func streamRowOf(s *sight.StreamInfo) streamRow {
	row := streamRow{Title: shorten(80, s.Name), Client: shorten(80, s.Client), How: s.Delivery.Method, Where: shorten(80, hostOf(s.Delivery.Endpoint)), Oldest: s.Oldest.Time(),
		Health: mark(s.Health), Why: shorten(300, s.Why), Step: shorten(400, s.Step), Sub: shorten(60, s.ID)}
	if s.Waiting > 0 {
		row.Waiting = number(s.Waiting)
	}
	if row.Title == "" {
		row.Title, row.Sub = row.Sub, "made by its receiver"
	}
	ref := s.ID
	if ref == "" {
		ref = s.Name
	}
	row.Link = "/streams/" + url.PathEscape(ref)
	row.Bad = tone(s.Health) == "bad"
	if s.Delivery.Method == "poll" {
		row.Where = ""
	}
	row.Last, row.LastAt = lastAnswer(s)
	return row
}

// lastAnswer is what the receiver said last, or when it was here.
func lastAnswer(s *sight.StreamInfo) (string, time.Time) {
	switch l := s.Last; {
	case l != nil && l.Status != 0:
		return itoa(l.Status), l.At.Time()
	case l != nil:
		return "no answer", l.At.Time()
	case s.Delivery.Method == "poll" && s.Parked > 0:
		return "polling now", time.Time{}
	case s.Delivery.Method == "poll" && s.Active != 0:
		return "was here", s.Active.Time()
	}
	return "nothing yet", time.Time{}
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return address
	}
	return u.Host
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// pageLink is an address with the parameters that are not empty.
func pageLink(path string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// ago says how long something lasts by now, in one unit.
func ago(from, now time.Time) string {
	d := now.Sub(from)
	switch {
	case from.IsZero():
		return ""
	case d < 2*time.Second:
		return "just now"
	case d < 2*time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return strings.TrimSpace(strconv.Itoa(int(d.Hours()/24)) + " days")
}
