package console

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/internal/sight"
	"countersign/transmitter"
)

type streamShowView struct {
	frame
	Title, ID, Description string
	Health                 badge
	Bad                    bool
	Why, Step              string
	Client                 string
	Missing                bool
	Warnings               []string
	Figures                []figureView
	Facts                  []factView
	Types                  []string
	More                   int // types that are not shown
	Naming                 string
	Answer                 []factView
	Dead                   []deadView
	Skips, Recent          []deliveryView
	Ref                    string // for commands
}

type figureView struct {
	Text, Value, Note string
	Tone              string
}

type factView struct{ Name, Value string }

type deadView struct {
	Reason string
	Count  int
	Latest time.Time
}

type deliveryView struct {
	Title, TXN, JTI string
	Stream, Link    string
	Outcome         badge
	Note            string
	At              time.Time
}

func (c *Console) pageStreamShow(w http.ResponseWriter, r *visit) error {
	streams, box, err := c.office()
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	now := hub.At(c.c.Now())
	v, err := streams.View(r.Context(), id)
	if errors.Is(err, transmitter.ErrNotFound) {
		res, err := c.c.Store.Resource(r.Context(), c.c.Tenant, hub.KindStream, id)
		if err == nil && res == nil {
			err = hub.Errorf(hub.NotFound, "no such stream")
		}
		if err != nil {
			return err
		}
		c.render(w, http.StatusOK, "stream_show", c.streamShow(&r.user, &sight.StreamStory{StreamInfo: sight.MissingStream(res, c.fault(r.Context(), res))}))
		return nil
	}
	if err != nil {
		return err
	}
	s, err := sight.StoryOf(r.Context(), v, box, now)
	if err != nil {
		return err
	}
	c.render(w, http.StatusOK, "stream_show", c.streamShow(&r.user, s))
	return nil
}

// maxTypes is how many event types a page lists.
const maxTypes = 50

func (c *Console) streamShow(u *User, s *sight.StreamStory) streamShowView {
	v := streamShowView{ID: clean(s.ID), Title: clean(s.Name), Description: clean(s.Description), Health: mark(s.Health), Bad: tone(s.Health) == "bad", Why: clean(s.Why), Step: clean(s.Step), Client: clean(s.Client), Missing: s.Health == sight.Missing, Ref: clean(s.Name)}
	if v.Title == "" {
		v.Title, v.Ref = "Stream of "+v.Client, v.ID
	}
	v.frame = c.frame(v.Title, u).at("streams")
	now := c.c.Now()
	for i, w := range s.Warnings {
		// What stands in the health already is not said again.
		if s.Health == "warning" && i > 0 || s.Health != "warning" && strings.HasPrefix(w, "delivers nothing: ") {
			v.Warnings = append(v.Warnings, clean(w))
		}
	}
	waits := figureView{Text: "waiting", Value: number(s.Waiting), Note: "nothing waits"}
	if s.Waiting > 0 {
		waits.Note, waits.Tone = "for "+ago(s.Oldest.Time(), now), "busy"
		if v.Bad {
			waits.Tone = "bad"
		}
	}
	dead := figureView{Text: "set aside", Value: number(s.Dead)}
	if s.Dead > 0 {
		dead.Tone, dead.Note = "bad", "see below"
	}
	v.Figures = []figureView{waits, {Text: "delivered", Value: number(s.Sent)}, dead}
	if s.P50 > 0 {
		v.Figures = append(v.Figures, figureView{Text: "median to accepted", Value: span(s.P50), Note: "99 of 100 within " + span(s.P99)})
	}
	v.facts(s)
	v.answer(s, now)
	for i, t := range s.Delivered {
		if i == maxTypes {
			v.More = len(s.Delivered) - maxTypes
			break
		}
		v.Types = append(v.Types, c.typeName(t))
	}
	if raw, err := json.Marshal(s.Naming); err == nil && s.Naming != nil {
		v.Naming = pretty(raw)
	}
	for _, d := range s.DeadBy {
		v.Dead = append(v.Dead, deadView{or(clean(d.Reason), "no reason was given"), d.Count, d.Latest.Time()})
	}
	for i := range s.Skips {
		v.Skips = append(v.Skips, c.delivery(&s.Skips[i]))
	}
	for i := range s.Recent {
		v.Recent = append(v.Recent, c.delivery(&s.Recent[i]))
	}
	return v
}

// facts are the configuration.
func (v *streamShowView) facts(s *sight.StreamStory) {
	add := func(name, value string) {
		if value != "" {
			v.Facts = append(v.Facts, factView{name, clean(value)})
		}
	}
	add("client", s.Client)
	add("delivery", s.Delivery.Method)
	add("address", s.Delivery.Endpoint)
	if s.Delivery.Method == "push" {
		add("authorization", map[bool]string{true: "set, never shown", false: "none"}[s.Delivery.Authorization])
	}
	for _, a := range s.Audience {
		add("audience", a)
	}
	add("signed with", or(s.Algorithm, "the default algorithm"))
	add("subjects", s.Subjects+map[bool]string{true: ", " + number(s.Entries) + " on its list"}[s.Entries > 0])
	add("orders", map[bool]string{true: "yes, receipts by " + s.Issuer, false: "no"}[s.Receipts])
	add("shape", s.Shape)
	if s.Window > 0 {
		add("window", itoa(s.Window))
	}
	if s.Inactivity > 0 {
		add("pauses after", (time.Duration(s.Inactivity)*time.Second).String()+" of silence")
	}
	add("made", stampOf(s.Created))
	add("set", s.Set)
}

// answer is how the receiver is doing.
func (v *streamShowView) answer(s *sight.StreamStory, now time.Time) {
	add := func(name, value string) {
		if value != "" {
			v.Answer = append(v.Answer, factView{name, clean(value)})
		}
	}
	word, at := lastAnswer(&s.StreamInfo)
	if !at.IsZero() {
		word += ", " + stamp(at)
	}
	add("last answer", word)
	if s.Last != nil {
		add("it said", s.Last.Reason)
	}
	if t := s.Trouble; t != nil {
		add("failed tries", itoa(t.Fails)+" since "+stampOf(t.Since))
		if s.Last == nil || t.Reason != s.Last.Reason {
			add("because", t.Reason)
		}
	}
	if s.Next != 0 {
		add("next try", stampOf(s.Next))
	}
	if s.InFlight > 0 {
		add("in flight", itoa(s.InFlight))
	}
	if s.Held > 0 {
		add("held back", itoa(s.Held)+" that fail while others are taken")
	}
	if s.Parked > 0 {
		add("open polls", itoa(s.Parked))
	}
	if !s.Here && s.ID != "" {
		add("delivered by", "another process of this hub")
	}
}

func (c *Console) delivery(d *sight.Delivery) deliveryView {
	v := deliveryView{Title: c.title(d.Type), TXN: clean(d.TXN), JTI: clean(d.JTI), Outcome: mark(d.Outcome), At: d.At.Time(), Stream: clean(or(d.Name, d.Stream)), Note: clean(d.Reason)}
	if d.Type == "" {
		v.Title = "an event that was purged"
	}
	if d.Stream != "" {
		v.Link = "/streams/" + url.PathEscape(d.Stream)
	} else {
		v.Stream = "a stream that is gone"
	}
	if d.Outcome == transmitter.Delivered {
		if d.Status != 0 {
			v.Note = itoa(d.Status)
		}
		if d.Tries > 1 {
			v.Note += " at try " + itoa(d.Tries)
		}
	}
	if d.Back {
		v.Note += "; put back since"
	}
	return v
}

func stampOf(m hub.Micros) string {
	if m == 0 {
		return ""
	}
	return stamp(m.Time())
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// number writes a figure with thin spaces, so that a million can be read.
func number(n int64) string {
	s := itoa(int(n))
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

func span(ms float64) string {
	return time.Duration(ms * float64(time.Millisecond)).Round(100 * time.Microsecond).String()
}
