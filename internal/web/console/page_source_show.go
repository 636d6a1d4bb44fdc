package console

import (
	"net/http"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/internal/store"
)

type sourceShowView struct {
	frame
	Title, Issuer string
	Health        badge
	Bad           bool
	Why, Step     string
	Address       string // where it pushes to
	Answer, Facts []factView
	Types         []string
	More          int // types that are not shown
	Refused       []refusalView
	MoreRefused   bool
	Signals       []signalRow
	SeesSignals   bool
	CanVerify     bool   // there is a stream that can be asked for a sign
	Ref           string // for commands
}

type refusalView struct {
	At           time.Time
	Err, Reason  string
	Door, JTI    string
	Count        int64
	Cure, Side   string
	Quirk        string
	StatusAnswer int
}

// shownLately is how many refusals and how many signals the page of a source lists.
const shownLately = 10

func (c *Console) pageSourceShow(w http.ResponseWriter, r *visit) error {
	name := r.PathValue("name")
	res, err := c.c.Store.Resource(r.Context(), c.c.Tenant, hub.KindSource, name)
	if err == nil && res == nil {
		err = hub.Errorf(hub.NotFound, "no such source")
	}
	if err != nil {
		return err
	}
	i, err := c.sourceInfo(r.Context(), res)
	if err != nil {
		return err
	}
	refused, err := c.c.Store.Refusals(r.Context(), c.c.Tenant, name, hub.Page{Limit: shownLately})
	if err != nil {
		return err
	}
	var signals []*hub.Signal
	if r.user.Read {
		l, err := c.c.Store.ListSignals(r.Context(), c.c.Tenant, store.SignalFilter{Source: name}, hub.Page{Limit: shownLately})
		if err != nil {
			return err
		}
		signals = l.Items
	}
	c.render(w, http.StatusOK, "source_show", c.sourceShow(&r.user, i, refused, signals))
	return nil
}

func (c *Console) sourceShow(u *User, i *sourceInfo, refused hub.Listed[hub.Refusal], signals []*hub.Signal) sourceShowView {
	health := i.health()
	v := sourceShowView{Title: clean(i.spec.Name), Issuer: clean(i.spec.Issuer), Health: mark(health), Bad: tone(health) == "bad", Why: i.why(), Step: i.step(),
		Address: clean(i.st.ReceiveURL), Ref: clean(i.spec.Name), SeesSignals: u.Read, CanVerify: i.st.Stream.StreamID != "", MoreRefused: refused.Next != ""}
	v.frame = c.frame(v.Title, u).at("sources")
	v.answer(i)
	v.facts(i)
	types := i.st.Stream.Events
	if len(types) == 0 && i.st.Stream.StreamID == "" {
		types = i.spec.Events
	}
	for n, t := range types {
		if n == maxTypes {
			v.More = len(types) - maxTypes
			break
		}
		v.Types = append(v.Types, c.typeName(t))
	}
	for _, r := range refused.Items {
		v.Refused = append(v.Refused, refusalView{At: r.Last.Time(), Err: clean(r.Err), Reason: shorten(300, r.Reason), Door: clean(r.Door), JTI: shorten(60, r.JTI), Count: r.Count,
			Cure: shorten(400, r.Cure), Side: map[string]string{"ours": "Here", "theirs": "There"}[r.Side], Quirk: clean(r.Quirk), StatusAnswer: r.Status})
	}
	v.Signals = c.signalList(u, "", "", hub.Listed[*hub.Signal]{Items: signals}).Rows
	return v
}

// answer is how the source is doing.
func (v *sourceShowView) answer(i *sourceInfo) {
	s := &i.st.Stream
	add := func(name, value string) {
		if value != "" {
			v.Answer = append(v.Answer, factView{name, clean(value)})
		}
	}
	status := map[string]string{"none": "made by hand, on the other side or step by step", "made": "there", "pending": "about to be made", "failed": "the last try to set it up failed", "deleting": "is being deleted"}[s.Status]
	if s.There != "" {
		status += ", " + s.There + " there"
		if s.ThereReason != "" {
			status += ": " + s.ThereReason
		}
	}
	add("stream", status)
	if s.Status == "failed" {
		add("failed tries", itoa(s.Tries))
		add("next try", stampOf(s.Next))
	}
	add("verified", stampOf(s.Verified))
	if s.Asked > s.Verified {
		add("asked for a sign", stampOf(s.Asked))
	}
	add("verified unasked", stampOf(s.ByItself))
	add("is not asked", s.Unable)
	add("silent since", stampOf(s.AlarmAt))
	if p := i.st.Polls; p != nil {
		add("last poll", stampOf(p.At))
		add("taken by poll", number(p.SETs)+" since this node polls")
		if p.Fails > 0 {
			add("failed polls", itoa(p.Fails)+": "+p.Error)
		}
	}
	receipts := map[string]string{"active": "agreed: " + strings.Join(s.Actions, ", "), "declined": "the other side declined them", "legacy": "the other side knows none: what was done stands in the ledger here", "off": "not asked for: nothing may be ordered"}[s.Receipts]
	if s.ReceiptsReason != "" {
		receipts += " (" + s.ReceiptsReason + ")"
	}
	add("receipts", receipts)
}

// facts are the configuration.
func (v *sourceShowView) facts(i *sourceInfo) {
	s, st := &i.spec, &i.st.Stream
	add := func(name, value string) {
		if value != "" {
			v.Facts = append(v.Facts, factView{name, clean(value)})
		}
	}
	add("profile", or(s.Profile, "generic"))
	add("let pass", strings.Join(s.Relax, ", "))
	add("delivery", or(s.Delivery, "push"))
	add("polled at", hostOf(st.PollURL))
	add("stream", i.streamWord())
	add("stream id", st.StreamID)
	audience := st.Audience
	if len(audience) == 0 {
		audience = s.Audience
	}
	for _, a := range audience {
		add("audience", a)
	}
	method := "none"
	if s.Auth != nil {
		method = or(s.Auth.Method, method)
	}
	add("our credential", method)
	if s.PushAuth != nil {
		add("authorization", "wanted of each push, never shown")
	}
	orders := "none"
	if s.Orders != nil && len(s.Orders.Accept) > 0 {
		orders = strings.Join(s.Orders.Accept, ", ")
		if s.Orders.Mode == "monitor" {
			orders += " (monitor)"
		}
	}
	add("may order", orders)
	if s.Verify != nil {
		add("asked for a sign", "every "+s.Verify.Every)
	}
	if s.Rate != nil {
		add("rate", itoa(s.Rate.Signals)+" per "+s.Rate.Per)
	}
	add("set", s.Set)
	add("changed", stampOf(i.res.Updated))
}
