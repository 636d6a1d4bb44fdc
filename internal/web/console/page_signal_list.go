package console

import (
	"net/http"
	"net/url"

	"countersign/internal/hub"
	"countersign/internal/store"
)

type signalListView struct {
	frame
	Filters []filterView
	Rows    []signalRow
	Next    string // address of the next page; empty: there is none
	First   string // address of the first page, where this is another
	State   string
}

type filterView struct {
	Text, Link string
	Here       bool
}

type signalRow struct {
	ID, Title, Type string
	Who, WhoHint    string
	Unresolved      bool
	Source          string
	Received        hub.Micros
	State           badge
	Receipt         *badge // nil: no answer was ordered
	Number          string
}

type badge struct{ Word, Tone string }

func mark(word string) badge { return badge{words(word), tone(word)} }

// stateFilters are the choices above the list.
var stateFilters = []struct {
	state hub.SignalState
	text  string
}{{"", "All"}, {hub.SignalUnresolved, "Unresolved"}, {hub.SignalDecided, "In progress"}, {hub.SignalDone, "Done"}}

func (c *Console) pageSignalList(w http.ResponseWriter, r *visit) error {
	q := r.URL.Query()
	state := hub.SignalState(q.Get("state"))
	l, err := c.c.Store.ListSignals(r.Context(), c.c.Tenant, store.SignalFilter{State: state}, hub.Page{After: q.Get("after"), Limit: 50})
	if err != nil {
		return err
	}
	c.render(w, http.StatusOK, "signal_list", c.signalList(&r.user, state, q.Get("after"), l))
	return nil
}

func (c *Console) signalList(u *User, state hub.SignalState, after string, l hub.Listed[*hub.Signal]) signalListView {
	v := signalListView{frame: c.frame("Signals", u).at("signals"), State: string(state)}
	for _, f := range stateFilters {
		v.Filters = append(v.Filters, filterView{Text: f.text, Link: listLink(f.state, ""), Here: f.state == state})
	}
	for _, s := range l.Items {
		row := signalRow{ID: s.ID, Title: shorten(80, c.title(s.EventType)), Type: shorten(80, c.typeName(s.EventType)), Who: shorten(80, s.IdentityName), Source: shorten(60, s.Source), Received: s.Received, State: mark(string(s.State))}
		if s.IdentityName == "" {
			row.Unresolved, row.Who = true, "nobody yet"
			row.WhoHint = clean(s.Reason)
			if s.PassedOn() {
				row.Unresolved, row.Who = false, "transmitted"
			}
			if s.State == hub.SignalReceived {
				row.Who = "being looked up"
			}
		}
		if s.Order != nil {
			b := mark("pending")
			if s.Order.Outcome != "" {
				b = mark(s.Order.Outcome)
			}
			row.Receipt, row.Number = &b, clean(s.Order.ReceiptNo)
		}
		v.Rows = append(v.Rows, row)
	}
	if l.Next != "" {
		v.Next = listLink(state, l.Next)
	}
	if after != "" {
		v.First = listLink(state, "")
	}
	return v
}

func listLink(state hub.SignalState, after string) string {
	q := url.Values{}
	if state != "" {
		q.Set("state", string(state))
	}
	if after != "" {
		q.Set("after", after)
	}
	if len(q) == 0 {
		return "/"
	}
	return "/?" + q.Encode()
}

// title is what people call an event type.
func (c *Console) title(uri string) string {
	if t, ok := c.c.Registry.Lookup(uri); ok && t.Title != "" {
		return t.Title
	}
	return clean(uri)
}

func (c *Console) typeName(uri string) string {
	if t, ok := c.c.Registry.Lookup(uri); ok {
		return t.Name
	}
	return clean(uri)
}
