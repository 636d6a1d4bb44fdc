package console

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"countersign/internal/hub"
	"countersign/internal/sight"
	"countersign/transmitter"
)

type orderListView struct {
	frame
	Filters     []filterView
	Rows        []orderRow
	Next, First string
	Chosen      bool
}

type orderRow struct {
	Link, Title, Type string
	Client, Stream    string
	Issued, Due       time.Time
	Standing          badge
	Flags             []badge
	Why               string
	Outcome           *badge
}

// orderFilters are the choices above the list.
var orderFilters = []struct{ name, text string }{{"", "All"}, {"overdue", "Overdue"}, {transmitter.StandingQueued, "Queued"}, {transmitter.StandingInProgress, "In progress"}, {transmitter.StandingReceipted, "Receipted"}, {transmitter.StandingRejected, "Refused"}, {transmitter.StandingDisputed, "Disputed"}}

func (c *Console) pageOrderList(w http.ResponseWriter, r *visit) error {
	streams, _, err := c.office()
	if err != nil {
		return err
	}
	q := r.URL.Query()
	show := q.Get("show")
	s := sight.OrderSearch{}
	for _, f := range orderFilters {
		if f.name == show && show == "overdue" {
			s.Overdue = true
		} else if f.name == show {
			s.State = show
		}
	}
	s.Before, _ = strconv.ParseInt(q.Get("after"), 10, 64)
	after := s.Before
	now := c.c.Now()
	found, more, err := s.Find(r.Context(), streams, pageSize, now)
	if err != nil {
		return err
	}
	names, err := sight.StreamNames(r.Context(), streams)
	if err != nil {
		return err
	}
	var all []sight.OrderInfo
	for i := range found {
		all = append(all, sight.OrderInfoOf(&found[i], names[found[i].Stream], now))
	}
	c.render(w, http.StatusOK, "order_list", c.orderList(&r.user, show, after, more, all))
	return nil
}

func (c *Console) orderList(u *User, show string, after, more int64, all []sight.OrderInfo) orderListView {
	v := orderListView{frame: c.frame("Orders", u).at("orders")}
	for _, f := range orderFilters {
		v.Filters = append(v.Filters, filterView{Text: f.text, Link: pageLink("/orders", "show", f.name), Here: f.name == show})
		v.Chosen = v.Chosen || f.name == show && show != ""
	}
	for i := range all {
		o := &all[i]
		row := orderRow{Link: "/orders/" + url.PathEscape(o.JTI), Title: shorten(80, c.title(o.Type)), Type: shorten(80, c.typeName(o.Type)), Client: shorten(80, o.Client), Stream: shorten(60, or(o.Name, o.Stream)),
			Issued: unix(o.IssuedAt), Due: unix(o.CompleteBy), Standing: mark(o.Standing), Flags: flags(o)}
		if tone(o.Standing) == "bad" || tone(o.Standing) == "warn" || o.Overdue || o.Late {
			row.Why = shorten(300, o.Why)
		}
		if o.Outcome != "" {
			b := mark(o.Outcome)
			row.Outcome = &b
		}
		v.Rows = append(v.Rows, row)
	}
	if more != 0 {
		v.Next = pageLink("/orders", "show", show, "after", strconv.FormatInt(more, 10))
	}
	if after != 0 {
		v.First = pageLink("/orders", "show", show)
	}
	return v
}

// flags say that a receipt is wanting.
func flags(o *sight.OrderInfo) []badge {
	switch {
	case o.Overdue:
		return []badge{{"overdue", "bad"}}
	case o.Late:
		return []badge{{"late", "warn"}}
	}
	return nil
}

func seconds(s int64) hub.Micros { return hub.Micros(s * 1e6) }
