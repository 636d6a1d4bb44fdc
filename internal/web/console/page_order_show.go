package console

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"countersign/internal/hub"
	"countersign/internal/sight"
	"countersign/set"
	"countersign/transmitter"
)

type orderShowView struct {
	frame
	JTI, EventTitle, EventType string
	Client, Stream, StreamLink string
	TXN, Hash                  string
	Issued                     time.Time
	Standing                   badge
	Flags                      []badge
	Outcome                    *badge
	Bad                        bool
	Why                        string
	Sentences                  []string
	SubID, Event, Directive    string
	Timeline                   []momentView
	Answers                    []answerView
	Slip                       *slipView
	Older                      []*slipView
}

type momentView struct {
	At   time.Time
	Text string
	Tone string
}

type answerView struct {
	Number, Stage string
	Seq           int
	Outcome       badge
	Accepted      time.Time
	Note          string
}

func (c *Console) pageOrderShow(w http.ResponseWriter, r *visit) error {
	streams, box, err := c.office()
	if err != nil {
		return err
	}
	o, err := streams.OrderOf(r.Context(), r.PathValue("ref"))
	if errors.Is(err, transmitter.ErrNotFound) {
		return hub.Errorf(hub.NotFound, "no such order")
	}
	if err != nil {
		return err
	}
	s, err := sight.OrderStoryOf(r.Context(), o, streams, box, c.c.Now(), true)
	if err != nil {
		return err
	}
	c.render(w, http.StatusOK, "order_show", c.orderShow(&r.user, s))
	return nil
}

func (c *Console) orderShow(u *User, s *sight.OrderStory) orderShowView {
	v := orderShowView{frame: c.frame("Order: "+c.title(s.Type), u).at("orders"), JTI: clean(s.JTI), EventTitle: c.title(s.Type), EventType: c.typeName(s.Type), Client: clean(s.Client), Stream: clean(or(s.Name, s.Stream)),
		StreamLink: "/streams/" + url.PathEscape(s.Stream), TXN: clean(s.TXN), Hash: clean(s.SetHash), Issued: unix(s.IssuedAt), Standing: mark(s.Standing), Flags: flags(&s.OrderInfo), Why: clean(s.Why),
		SubID: pretty(s.SubID), Event: pretty(s.Event), Directive: pretty(s.Directive)}
	v.Bad = s.Overdue || tone(s.Standing) == "bad"
	if s.Outcome != "" {
		b := mark(s.Outcome)
		v.Outcome = &b
	}
	for _, e := range s.Explanation {
		v.Sentences = append(v.Sentences, clean(e))
	}
	now := hub.At(c.c.Now())
	for _, m := range s.Timeline {
		mv := momentView{m.At.Time(), clean(m.Text), momentTone(&m, now)}
		for i := range s.Answers {
			if m.What == "receipt" && s.Answers[i].Accepted == m.At {
				mv.Tone = tone(s.Answers[i].Outcome)
			}
		}
		v.Timeline = append(v.Timeline, mv)
	}
	for i := len(s.Answers) - 1; i >= 0; i-- {
		a := &s.Answers[i]
		note := ""
		if a.Gap {
			note = "a receipt before it is missing"
		}
		if a.Late {
			note = "filed as history"
		}
		v.Answers = append(v.Answers, answerView{Number: clean(a.Number), Stage: clean(a.Stage), Seq: a.Seq, Outcome: mark(a.Outcome), Accepted: a.Accepted.Time(), Note: note})
		slip := c.received(s, a)
		if v.Slip == nil {
			v.Slip = slip
		} else {
			v.Older = append(v.Older, slip)
		}
	}
	return v
}

// received lays out a receipt that came in: what was signed by the receiver, as it said it.
func (c *Console) received(s *sight.OrderStory, a *sight.OrderReceipt) *slipView {
	rc := &hub.Receipt{ReceiptNo: a.Number, No: a.Seq, Stage: a.Stage, Outcome: a.Outcome, Hash: a.Hash, Body: a.Body, Token: a.Token, Cut: seconds(a.IssuedAt)}
	if u, err := set.Parse(a.Token); err == nil {
		rc.KID = u.Header().KeyID
	}
	v := c.slip(rc, a.Seq)
	if v.Merchant == c.c.Name { // it named no merchant
		v.Merchant = clean(s.Client)
	}
	return v
}

func momentTone(m *sight.Moment, now hub.Micros) string {
	switch m.What {
	case "rejected", "expired", "dropped":
		return "bad"
	case "withdrawn":
		return "warn"
	case "due":
		if m.At <= now {
			return "bad"
		}
		return "calm"
	}
	return "good"
}
