package console

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"countersign/internal/hub"
	"countersign/internal/sight"
	"countersign/set"
)

// Story is what the page of one signal tells.
type Story struct {
	Signal   *hub.Signal
	Decision *hub.Decision // nil: not decided yet
	Actions  []*hub.Action // with their tries
	Receipts []*hub.Receipt
	Agreed   string           // what was agreed on receipts with its source, by now; empty: it is not known
	Told     []sight.Delivery // what was transmitted under its txn, and what became of that
}

type signalShowView struct {
	frame
	ID, EventTitle, EventType string
	State                     badge
	Source, TXN, Reason       string
	Received                  time.Time
	SubID, Event              string
	Steps                     []stepView

	MayToken bool
	Token    *tokenView

	Who      string
	PassedOn bool // given to us only to be transmitted
	Misses   []string
	Findings []findingView
	Inputs   string
	Decided  time.Time
	Actions  []actionView
	Receipts []receiptView
	Slip     *slipView
	Order    *orderView
	Unasked  string // why the sender ordered no receipt, where that is known
	Told     []deliveryView
}

type stepView struct {
	Text, Note string
	Tone       string
}

type tokenView struct {
	Alg, Typ, KID string
	Hash          string
	Claims        string
	Parts         []string // header, payload, signature as received
	Broken        bool
}

type findingView struct {
	Result  badge
	Subject string // which policy, rule, or ordered line
	Version int64
	Reason  string
	Muted   bool
}

type actionView struct {
	ID, Name, App, Reach, Line  string
	Account, Policy, ReasonText string
	Ordered                     bool
	State                       badge
	Reason                      string
	Level, Method, Hash         string
	VerifiedAt                  time.Time
	EffectiveBy                 time.Time
	Counted                     bool
	Found, Acted, Left          int
	Unit                        string
	Tries                       []tryView
	Evidence                    string
	Hidden                      bool
}

type tryView struct {
	No                int
	Op, Request, Note string
	Sent              time.Time
	Took              string
	Status            int
	Class             badge
}

type receiptView struct {
	ID, Number, Stage string
	No                int
	Outcome, State    badge
	Reason, Hash      string
	Tries             int
	Cut, Accepted     time.Time
}

type orderView struct {
	Refused              string
	CompleteBy, NotAfter time.Time
	Directive            string
}

func (c *Console) pageSignalShow(w http.ResponseWriter, r *visit) error {
	s, err := c.story(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	c.render(w, http.StatusOK, "signal_show", c.signalShow(&r.user, s))
	return nil
}

// story loads everything that is known of one signal.
func (c *Console) story(ctx context.Context, id string) (*Story, error) {
	sig, err := c.c.Store.Signal(ctx, c.c.Tenant, id)
	if err == nil && sig == nil {
		err = hub.Errorf(hub.NotFound, "no such signal")
	}
	if err != nil {
		return nil, err
	}
	s := &Story{Signal: sig}
	if c.c.Show != nil && sig.Order == nil && sig.Source != "" {
		if res, err := c.c.Store.Resource(ctx, c.c.Tenant, hub.KindSource, sig.Source); err == nil && res != nil { // it may be gone
			s.Agreed, _ = c.c.Show(ctx, res)["receipts"].(string)
		}
	}
	if s.Decision, err = c.c.Store.DecisionOf(ctx, sig.Seq); err != nil && hub.CodeOf(err) != hub.NotFound {
		return nil, err
	}
	actions, err := c.c.Store.ActionsOf(ctx, sig.Seq)
	if err != nil {
		return nil, err
	}
	for _, a := range actions {
		full, err := c.c.Store.Action(ctx, c.c.Tenant, a.ID)
		if err != nil {
			return nil, err
		}
		s.Actions = append(s.Actions, full)
	}
	if s.Receipts, err = c.c.Store.ReceiptsOf(ctx, sig.Seq); err != nil {
		return nil, err
	}
	if streams, box, err := c.office(); err == nil {
		if s.Told, err = sight.Told(ctx, streams, box, sig.TXN); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (c *Console) signalShow(u *User, s *Story) signalShowView {
	sig := s.Signal
	v := signalShowView{
		frame: c.frame(c.title(sig.EventType), u).at("signals"), ID: sig.ID, EventTitle: c.title(sig.EventType), EventType: c.typeName(sig.EventType),
		State: mark(string(sig.State)), Source: clean(sig.Source), TXN: clean(sig.TXN), Reason: clean(sig.Reason), Received: sig.Received.Time(),
		SubID: pretty(sig.SubID), Event: pretty(sig.Event), Who: clean(sig.IdentityName), PassedOn: sig.PassedOn(),
	}
	for _, m := range sig.Misses {
		v.Misses = append(v.Misses, clean(m))
	}
	switch s.Agreed {
	case "legacy":
		v.Unasked = "Receipts are not supported by " + v.Source + "."
	case "declined":
		v.Unasked = v.Source + " declined receipts."
	}
	v.MayToken = u != nil && u.ReadTokens
	if sig.Token != "" && v.MayToken {
		v.Token = openToken(sig)
	}
	if s.Decision != nil {
		v.Decided = s.Decision.At.Time()
		v.Inputs = pretty(s.Decision.Inputs)
		for _, f := range s.Decision.Findings {
			v.Findings = append(v.Findings, finding(f))
		}
	}
	for _, a := range s.Actions {
		v.Actions = append(v.Actions, action(a))
	}
	for _, r := range s.Receipts {
		v.Receipts = append(v.Receipts, receiptView{ID: r.ID, Number: clean(r.ReceiptNo), Stage: r.Stage, No: r.No, Outcome: mark(r.Outcome), State: mark(r.State),
			Reason: clean(r.Reason), Hash: r.Hash, Tries: r.Tries, Cut: r.Cut.Time(), Accepted: r.Accepted.Time()})
	}
	if n := len(s.Receipts); n > 0 {
		v.Slip = c.slip(s.Receipts[n-1], n)
	}
	if o := sig.Order; o != nil {
		v.Order = &orderView{Refused: words(o.Refused), Directive: pretty(o.Directive), CompleteBy: unix(o.CompleteBy), NotAfter: unix(o.NotAfter)}
	}
	for i := range s.Told {
		v.Told = append(v.Told, c.delivery(&s.Told[i]))
	}
	v.Steps = steps(s)
	return v
}

// steps is the line under the title: how far the signal has come.
func steps(s *Story) []stepView {
	sig := s.Signal
	out := []stepView{{"Kept", clock(sig.Received.Time()), "good"}}
	if sig.PassedOn() {
		return append(out, stepView{"Transmitted", clock(sig.Received.Time()), "good"})
	}
	switch {
	case sig.IdentityName != "":
		out = append(out, stepView{"Whom", clean(sig.IdentityName), "good"})
	case sig.State == hub.SignalUnresolved:
		out = append(out, stepView{"Whom", "nobody yet", "warn"})
	default:
		out = append(out, stepView{"Whom", "", "calm"})
	}
	if s.Decision == nil {
		out = append(out, stepView{"Decided", "", "calm"})
	} else {
		out = append(out, stepView{"Decided", clock(s.Decision.At.Time()), "good"})
	}
	open, failed, done := 0, 0, 0
	for _, a := range s.Actions {
		switch {
		case a.Hidden:
		case !a.State.Final():
			open++
		case a.State == hub.Failed || a.State == hub.Expired:
			failed++
		default:
			done++
		}
	}
	switch {
	case open > 0:
		out = append(out, stepView{"Acted", plural(open, "open"), "busy"})
	case failed > 0:
		out = append(out, stepView{"Acted", plural(failed, "failed"), "bad"})
	case done > 0:
		out = append(out, stepView{"Acted", plural(done, "done"), "good"})
	case s.Decision != nil:
		out = append(out, stepView{"Acted", "nothing to do", "calm"})
	default:
		out = append(out, stepView{"Acted", "", "calm"})
	}
	if sig.Order == nil {
		return append(out, stepView{"Answered", "not ordered", "calm"})
	}
	if n := len(s.Receipts); n > 0 {
		last := s.Receipts[n-1]
		if last.State == "accepted" {
			return append(out, stepView{"Answered", words(last.Outcome), tone(last.Outcome)})
		}
		return append(out, stepView{"Answered", words(last.State), tone(last.State)})
	}
	return append(out, stepView{"Answered", "", "calm"})
}

func plural(n int, word string) string { return itoa(n) + " " + word }

func finding(f hub.Finding) findingView {
	v := findingView{Result: mark(f.Result), Version: f.Version, Reason: clean(f.Reason), Muted: f.Result == "skipped"}
	switch {
	case f.Line != "" && f.Policy == "":
		v.Subject = "ordered " + clean(f.Line)
	case f.Line != "":
		v.Subject = clean(f.Policy) + ", ordered " + clean(f.Line)
	case f.Rule > 0:
		v.Subject = clean(f.Policy) + ", rule " + itoa(f.Rule)
	default:
		v.Subject = clean(f.Policy)
	}
	return v
}

func action(a *hub.Action) actionView {
	v := actionView{ID: a.ID, Name: words(a.Name), App: clean(a.App), Reach: words(string(a.Reach)), Line: clean(a.Line), Account: clean(a.Account), Policy: clean(a.Policy),
		ReasonText: clean(a.ReasonText), Ordered: a.Ordered, State: mark(string(a.State)), Reason: words(a.Reason), Level: string(a.Level), Method: words(a.Method), Hash: a.EvidenceHash,
		VerifiedAt: a.VerifiedAt.Time(), EffectiveBy: upTo(a.EffectiveBy), Counted: a.Counted, Found: a.Found, Acted: a.Acted, Left: a.Left, Unit: a.Unit, Hidden: a.Hidden}
	if v.App == "" {
		v.App = "the hub"
	}
	if v.Reason == "done" {
		v.Reason = ""
	}
	if len(a.Evidence) > 0 {
		v.Evidence = pretty(a.Evidence)
	}
	for _, t := range a.Tries {
		tv := tryView{No: t.No, Op: words(string(t.Op)), Request: clean(t.Request), Note: clean(t.Note), Sent: t.Sent.Time(), Status: t.Status, Class: mark(t.Class), Took: "no answer"}
		if t.Class == "" {
			tv.Class = badge{"no answer", "warn"}
		}
		if t.Answered != 0 {
			tv.Took = t.Answered.Time().Sub(t.Sent.Time()).Round(time.Millisecond).String()
		}
		v.Tries = append(v.Tries, tv)
	}
	return v
}

// upTo is the first whole second that is not before a moment: what receipts print of a bound.
func upTo(m hub.Micros) time.Time {
	if m == 0 {
		return time.Time{}
	}
	return hub.Micros((int64(m) + 999_999) / 1e6 * 1e6).Time()
}

func openToken(sig *hub.Signal) *tokenView {
	t := &tokenView{Hash: sig.SetHash}
	u, err := set.Parse(sig.Token)
	if err != nil {
		t.Broken = true
		return t
	}
	h := u.Header()
	t.Alg, t.Typ, t.KID = clean(h.Algorithm), clean(h.Type), clean(h.KeyID)
	t.Claims = pretty(json.RawMessage(u.Payload()))
	t.Parts = split3(sig.Token)
	return t
}

func unix(s int64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(s, 0).UTC()
}
