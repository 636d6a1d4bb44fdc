package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/stream"
	"countersign/transmitter"
)

// Missing is the status and health of a stream whose document is there and of which no stream could be made.
const Missing = "missing"

// late is how long a SET may wait for a push before that is worth a word.
const late = hub.Micros(time.Minute / time.Microsecond)

// InfoOf is a stream for operators, at a moment.
func InfoOf(v *transmitter.StreamView, now hub.Micros) StreamInfo {
	s := &v.Stream
	i := StreamInfo{ID: s.ID, Name: s.Name, Set: s.Set, Client: s.Receiver, Description: s.Description, Status: s.Status, Reason: s.Reason,
		Delivery: deliveryOf(s), Audience: emptyNotNull(s.Audience), Requested: s.Requested, Delivered: emptyNotNull(s.Delivered), Algorithm: s.Algorithm, Window: s.Window,
		Subjects: s.DefaultSubjects, Receipts: s.ReceiptIssuer != "", Issuer: s.ReceiptIssuer, Shape: s.Shape,
		MinVerify: s.MinVerification, Inactivity: s.InactivityTimeout, Active: hub.Micros(s.Active), Created: hub.Micros(s.Created), Updated: hub.Micros(s.Updated),
		Waiting: v.Counts.Waiting, Oldest: hub.Micros(v.Counts.Oldest), Sent: v.Counts.Delivered, Dead: v.Counts.Dead, Entries: v.Counts.Subjects,
		InFlight: v.InFlight, Parked: v.Parked, Next: hub.Micros(v.Next), P50: millis(v.P50), P99: millis(v.P99), Here: v.Here, Warnings: emptyNotNull(v.Warnings)}
	if i.Subjects == "" {
		i.Subjects = stream.DefaultAll
	}
	if len(s.Naming) > 0 && json.Valid(s.Naming) {
		i.Naming = s.Naming
	}
	if v.Last.At != 0 {
		i.Last = &Answer{At: hub.Micros(v.Last.At), Status: v.Last.Status, Reason: v.Last.Reason}
	}
	if t := s.Trouble; t.Fails > 0 || t.Open {
		i.Trouble = &Trouble{Fails: t.Fails, Since: hub.Micros(t.Since), Open: t.Open, Reason: t.Reason}
		if i.Next == 0 {
			i.Next = hub.Micros(t.Next)
		}
	}
	i.Health, i.Why, i.Step = health(&i, now)
	return i
}

// MissingStream is a document of which no stream could be made, with what the hub says about it.
func MissingStream(res *hub.Resource, problem string) StreamInfo {
	var spec hub.Stream
	json.Unmarshal(res.Spec, &spec) // what cannot be read stays empty
	i := StreamInfo{Name: res.Name, Set: res.Set, Client: spec.Client, Description: spec.Description, Status: Missing, Health: Missing, Why: problem,
		Step: "change the document and apply it again", Delivery: StreamDelivery{Method: "push", Endpoint: Mask(spec.Deliver.To), Authorization: spec.Deliver.AuthorizationHeader != nil},
		Audience: []string{}, Delivered: []string{}, Subjects: spec.Subjects, Created: res.Created, Updated: res.Updated, Warnings: []string{}}
	if spec.Deliver.Poll {
		i.Delivery = StreamDelivery{Method: "poll"}
	}
	if i.Subjects == "" {
		i.Subjects = stream.DefaultAll
	}
	if problem == "" {
		i.Why, i.Step = "the stream is not made yet", "it is made within a second of its document; look again"
	}
	return i
}

func deliveryOf(s *transmitter.Stream) StreamDelivery {
	d := StreamDelivery{Method: "push", Endpoint: Mask(s.Endpoint), Authorization: s.Authorization != ""}
	if s.Method != stream.PushMethod {
		d.Method = "poll"
	}
	return d
}

// Mask leaves of an address what may be shown: scheme, host and path.
func Mask(address string) string {
	if address == "" {
		return ""
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "(an address that cannot be read)"
	}
	more := u.RawQuery != "" || u.ForceQuery || u.Fragment != ""
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	if more {
		return u.String() + "?…"
	}
	return u.String()
}

func millis(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}

// health says in a word how a stream fares, in a sentence why, and what to do about it.
func health(i *StreamInfo, now hub.Micros) (word, why, step string) {
	ref := i.Name
	if ref == "" {
		ref = i.ID
	}
	waits := ""
	if i.Waiting > 0 {
		waits = fmt.Sprintf("%s since %s", count(i.Waiting, "SET waits", "SETs wait"), at(i.Oldest))
	}
	switch {
	case i.Status == transmitter.Paused:
		return transmitter.Paused, because(or(waits, "what comes is held"), i.Reason), "countersign stream resume " + ref
	case i.Status == transmitter.Disabled:
		return transmitter.Disabled, because("nothing is kept for it", i.Reason), "countersign stream resume " + ref
	case i.Trouble != nil && i.Trouble.Open:
		return "stopped", because(or(waits, "delivery stands still"), i.Trouble.Reason), setUp(i, ref)
	case i.Trouble != nil && i.Trouble.Fails > 0:
		return "failing", because(or(waits, "nothing waits"), i.Trouble.Reason), "it is tried again by itself; if it goes on: countersign doctor stream " + ref
	case i.Waiting > 0 && i.Delivery.Method == "poll":
		return "waiting", waits + " to be polled", or(pollStep(i, now), "nothing: the receiver fetches them")
	case i.Waiting > 0 && i.Oldest != 0 && now-i.Oldest > late:
		return "waiting", waits, "countersign doctor stream " + ref
	case len(i.Warnings) > 0:
		return "ok", i.Warnings[0], "countersign doctor stream " + ref
	case i.Dead > 0:
		return "ok", count(i.Dead, "SET was set aside", "SETs were set aside"), "countersign delivery list --outcome dead --stream " + ref
	}
	return "ok", "", ""
}

// setUp says what to put right, by what the receiver answered.
func setUp(i *StreamInfo, ref string) string {
	status := 0
	if i.Last != nil {
		status = i.Last.Status
	}
	then := "; then: countersign stream verify " + ref
	switch {
	case status == 401 || status == 403:
		return "the receiver refuses our credential: give the stream the authorization header that it expects" + then
	case status/100 == 3:
		return "the push address redirects, and redirects are not followed: give the stream the address where SETs are taken" + then
	case status == 404 || status == 405 || status == 410:
		return "nothing takes SETs at the push address: give the stream the right one" + then
	case strings.Contains(i.Trouble.Reason, stream.InvalidKey):
		return "the receiver does not know our key: it must read our key set again" + then
	case strings.Contains(i.Trouble.Reason, stream.InvalidAudience):
		return "the receiver expects another aud: let it read its stream configuration again" + then
	case strings.Contains(i.Trouble.Reason, stream.InvalidIssuer):
		return "the receiver expects another iss: give it the address of our metadata" + then
	}
	return "countersign doctor stream " + ref
}

func pollStep(i *StreamInfo, now hub.Micros) string {
	if i.Parked == 0 && (i.Active == 0 || now-i.Active > late) {
		return "the receiver has not polled lately: look at its side"
	}
	return ""
}

func because(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func at(m hub.Micros) string { return m.Time().UTC().Format("2006-01-02 15:04:05Z") }

// Bounds of what a stream's story shows.
const (
	storyRecent = 20
	storyDead   = 500
)

// StoryOf adds to a stream what happened on it lately.
func StoryOf(ctx context.Context, v *transmitter.StreamView, box Outbox, now hub.Micros) (*StreamStory, error) {
	s := &StreamStory{StreamInfo: InfoOf(v, now), DeadBy: []ReasonCount{}, Recent: []Delivery{}, Skips: []Delivery{}}
	names := map[string]*transmitter.Stream{v.Stream.ID: &v.Stream}
	if v.Counts.Dead > 0 {
		dead, err := box.Dead(ctx, v.Stream.Key, storyDead)
		if err != nil {
			return nil, err
		}
		for _, l := range dead {
			i := slices.IndexFunc(s.DeadBy, func(c ReasonCount) bool { return c.Reason == l.Reason })
			if i < 0 {
				i = len(s.DeadBy)
				s.DeadBy = append(s.DeadBy, ReasonCount{Reason: l.Reason, Latest: hub.Micros(l.At)})
			}
			s.DeadBy[i].Count++
		}
		slices.SortStableFunc(s.DeadBy, func(a, b ReasonCount) int { return b.Count - a.Count })
	}
	for outcome, into := range map[string]*[]Delivery{"": &s.Recent, transmitter.Skipped: &s.Skips} {
		all, err := box.Deliveries(ctx, transmitter.DeliveryFilter{Stream: v.Stream.Key, Outcome: outcome, N: storyRecent})
		if err != nil {
			return nil, err
		}
		for i := range all {
			*into = append(*into, ended(&all[i], names))
		}
	}
	return s, nil
}
