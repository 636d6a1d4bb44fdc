package sight

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"time"

	"countersign/internal/hub"
	"countersign/stream"
	"countersign/transmitter"
)

// StreamInfo is a stream as a list shows it. Secrets are not in it: of a push endpoint the scheme, host and path.
type StreamInfo struct {
	ID          string         `json:"stream_id"`      // empty: the resource is there and no stream could be made of it
	Name        string         `json:"name,omitempty"` // of the resource; absent where the receiver made the stream
	Set         string         `json:"set,omitempty"`
	Client      string         `json:"client"`
	Description string         `json:"description,omitempty"`
	Status      string         `json:"status"` // enabled | paused | disabled | missing
	Reason      string         `json:"reason,omitempty"`
	Health      string         `json:"health"` // ok | warning | waiting | failing | stopped | paused | disabled | missing
	Why         string         `json:"why,omitempty"`
	Step        string         `json:"next_step,omitempty"` // what to do about it
	Delivery    StreamDelivery `json:"delivery"`
	Audience    []string       `json:"audience"`
	Requested   []string       `json:"events_requested,omitempty"`
	Delivered   []string       `json:"events_delivered"`
	Algorithm   string         `json:"alg,omitempty"` // absent: the transmitter's default
	Window      int            `json:"window,omitempty"`
	Subjects    string         `json:"default_subjects"` // ALL | NONE
	Naming      any            `json:"subject,omitempty"`
	Receipts    bool           `json:"receipts"` // orders may be sent on it
	Issuer      string         `json:"receipt_issuer,omitempty"`
	Shape       string         `json:"shape,omitempty"` // of an older draft
	MinVerify   int64          `json:"min_verification_interval,omitempty"`
	Inactivity  int64          `json:"inactivity_timeout,omitempty"`
	Active      hub.Micros     `json:"active_at,omitempty"` // the receiver's latest activity
	Created     hub.Micros     `json:"created_at,omitempty"`
	Updated     hub.Micros     `json:"updated_at,omitempty"`

	Waiting  int64      `json:"waiting"`
	Oldest   hub.Micros `json:"oldest_at,omitempty"` // since when the oldest one waits
	Sent     int64      `json:"delivered"`
	Dead     int64      `json:"dead"`
	Entries  int64      `json:"subjects"` // entries of its subject list
	InFlight int        `json:"in_flight"`
	Held     int        `json:"held"`   // SETs that fail again and again while others are taken
	Parked   int        `json:"parked"` // polls that are held open
	Last     *Answer    `json:"last,omitempty"`
	Trouble  *Trouble   `json:"trouble,omitempty"`
	Next     hub.Micros `json:"next_at,omitempty"` // when it is tried again
	P50      float64    `json:"p50_ms,omitempty"`  // from planned to accepted, of this process
	P99      float64    `json:"p99_ms,omitempty"`
	Here     bool       `json:"here"` // the process that answers delivers it
	Warnings []string   `json:"warnings"`

	key int64
}

// Key is the store's; 0 where there is no stream. Lists are cut into pages by it.
func (i *StreamInfo) Key() int64 { return i.key }

// StreamDelivery says how a stream's SETs travel.
type StreamDelivery struct {
	Method        string `json:"method"` // push | poll
	Endpoint      string `json:"endpoint,omitempty"`
	Authorization bool   `json:"authorization,omitempty"` // in the story of one stream: a header value is set; it is never shown
}

// Answer is the latest answer of a receiver.
type Answer struct {
	At     hub.Micros `json:"at"`
	Status int        `json:"status,omitempty"` // absent: there was no answer
	Reason string     `json:"reason,omitempty"` // absent: it took the SET
}

// Trouble is a stream's back-off.
type Trouble struct {
	Fails  int        `json:"fails"` // tries in a row
	Since  hub.Micros `json:"since_at,omitempty"`
	Open   bool       `json:"open"` // a fault of the stream's set-up: probed at long intervals until it is put right
	Reason string     `json:"reason,omitempty"`
}

// StreamStory is a stream with what happened on it lately.
type StreamStory struct {
	StreamInfo
	DeadBy []ReasonCount `json:"dead_by_reason"` // of the latest 500 dead letters
	Recent []Delivery    `json:"recent"`         // the latest 20 that were delivered, set aside or skipped
	Skips  []Delivery    `json:"skips"`          // the latest 20 that were skipped
}

// Missing is the status and health of a stream whose document is there and of which no stream could be made.
const Missing = "missing"

// Late is how long a SET may wait for a push before that is worth a word.
const Late = hub.Micros(time.Minute / time.Microsecond)

// InfoOf is a stream for operators, at a moment.
func InfoOf(v *transmitter.StreamView, now hub.Micros) StreamInfo {
	s := &v.Stream
	i := StreamInfo{key: s.Key, ID: s.ID, Name: s.Name, Set: s.Set, Client: s.Receiver, Description: s.Description, Status: s.Status, Reason: s.Reason,
		Delivery: deliveryOf(s), Audience: emptyNotNull(s.Audience), Requested: s.Requested, Delivered: emptyNotNull(s.Delivered), Algorithm: s.Algorithm, Window: s.Window,
		Subjects: s.DefaultSubjects, Receipts: s.ReceiptIssuer != "", Issuer: s.ReceiptIssuer, Shape: s.Shape,
		MinVerify: s.MinVerification, Inactivity: s.InactivityTimeout, Active: hub.Micros(s.Active), Created: hub.Micros(s.Created), Updated: hub.Micros(s.Updated),
		Waiting: v.Counts.Waiting, Oldest: hub.Micros(v.Counts.Oldest), Sent: v.Counts.Delivered, Dead: v.Counts.Dead, Entries: v.Counts.Subjects,
		InFlight: v.InFlight, Held: v.Held, Parked: v.Parked, Next: hub.Micros(v.Next), P50: millis(v.P50), P99: millis(v.P99), Here: v.Here, Warnings: emptyNotNull(v.Warnings)}
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

// All gives first the stream documents of which no stream could be made, then the streams, newest first. fault says why
// none could be made of a document.
func All(ctx context.Context, s Streams, docs []hub.Resource, fault func(context.Context, *hub.Resource) string, now hub.Micros) ([]StreamInfo, error) {
	views, err := s.Overview(ctx)
	if err != nil {
		return nil, err
	}
	var out []StreamInfo
	for i := range docs {
		if !slices.ContainsFunc(views, func(v transmitter.StreamView) bool { return v.Stream.Name == docs[i].Name }) {
			out = append(out, MissingStream(&docs[i], fault(ctx, &docs[i])))
		}
	}
	slices.SortFunc(views, func(a, b transmitter.StreamView) int { return cmp.Compare(b.Stream.Key, a.Stream.Key) })
	for i := range views {
		out = append(out, InfoOf(&views[i], now))
	}
	return out, nil
}

// MissingStream is a document of which no stream could be made, with what the hub says about it.
func MissingStream(res *hub.Resource, problem string) StreamInfo {
	var spec hub.Stream
	json.Unmarshal(res.Spec, &spec) // what cannot be read stays empty
	i := StreamInfo{Name: res.Name, Set: res.Set, Client: spec.Client, Description: spec.Description, Status: Missing, Health: Missing, Why: problem,
		Step: "change the document and apply it again", Delivery: StreamDelivery{Method: "push", Endpoint: Mask(spec.Deliver.To)},
		Audience: []string{}, Delivered: []string{}, Subjects: spec.Subjects, Created: res.Created, Updated: res.Updated, Warnings: []string{}}
	i.Delivery.Authorization = spec.Deliver.AuthorizationHeader != nil
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
	d := StreamDelivery{Method: "push", Endpoint: Mask(s.Endpoint)}
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

func emptyNotNull[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
