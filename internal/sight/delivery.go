package sight

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"countersign/internal/hub"
	"countersign/transmitter"
)

// Delivery is one SET on one stream: on its way, delivered, set aside or skipped.
type Delivery struct {
	Stream  string     `json:"stream_id,omitempty"` // absent: the stream is gone
	Name    string     `json:"stream,omitempty"`    // its name, where it has one
	Client  string     `json:"client,omitempty"`
	JTI     string     `json:"jti,omitempty"` // absent: skipped
	Type    string     `json:"event_type,omitempty"`
	TXN     string     `json:"txn,omitempty"`
	Outcome string     `json:"outcome"`          // waiting | delivered | dead | skipped
	Status  int        `json:"status,omitempty"` // HTTP status of the answer
	Reason  string     `json:"reason,omitempty"`
	Tries   int        `json:"tries,omitempty"` // of the process that ended it
	First   hub.Micros `json:"first_at,omitempty"`
	At      hub.Micros `json:"at"`                 // of a waiting one: since when
	Back    bool       `json:"redriven,omitempty"` // a dead letter that was put back since
}

// Waiting is the outcome of a delivery that has none yet.
const Waiting = "waiting"

// scanned bounds the rows that one request looks at to find what a filter asks for.
const scanned = 5000

// ended is a line of the history.
func ended(l *transmitter.Delivery, streams map[string]*transmitter.Stream) Delivery {
	v := Delivery{Stream: l.StreamID, JTI: l.JTI, Type: l.Type, TXN: l.TXN, Outcome: l.Outcome, Status: l.Status, Reason: l.Reason, Tries: l.Tries, First: hub.Micros(l.First), At: hub.Micros(l.At)}
	if s := streams[l.StreamID]; s != nil {
		v.Name, v.Client = s.Name, s.Receiver
	}
	return v
}

// under is a row that waits.
func under(it *transmitter.Item, s *transmitter.Stream) Delivery {
	v := Delivery{Stream: s.ID, Name: s.Name, Client: s.Receiver, JTI: it.JTI, Outcome: Waiting}
	if it.Event != nil {
		v.Type, v.TXN, v.At = it.Event.Type, it.Event.TXN, hub.Micros(it.Event.At)
	}
	if v.At == 0 {
		v.At = hub.Micros(it.IssuedAt * 1e6)
	}
	return v
}

// Search is a question about deliveries. Empty members do not filter. Its cursor is a place among the waiting rows, w_STREAM_SEQ, or in the history,
// h_MICROS_EVENT_STREAM_N: the place of the last line that was given, and how many of that place were; h_0_0_0_0 is its beginning.
type Search struct {
	Outcome, JTI, TXN string
	Stream            int64 // the store's key

	inHistory bool // the cursor is there
	key, seq  int64
	place     transmitter.Place
	skip      int
}

func (s *Search) waits() bool { return s.Outcome == "" || s.Outcome == Waiting }

func (s *Search) ends() bool { return s.Outcome != Waiting }

func (s *Search) read(cursor string) error {
	bad := hub.Errorf(hub.Invalid, "after %q is not from a page of this list", short(cursor)).WithHint("give the next of the page before, unchanged")
	part := strings.Split(cursor, "_")
	var at []int64
	for _, text := range part[1:] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return bad
		}
		at = append(at, n)
	}
	switch {
	case part[0] == "w" && len(at) == 2 && s.waits():
		s.key, s.seq = at[0], at[1]
	case part[0] == "h" && len(at) == 4 && s.ends() && at[3] <= scanned:
		s.inHistory, s.place, s.skip = true, transmitter.Place{At: transmitter.Micros(at[0]), Event: at[1], Stream: at[2]}, int(at[3])
	default:
		return bad
	}
	return nil
}

// Find gives up to n deliveries from a cursor on: first what waits, by stream and age, then the history, latest first.
func (s Search) Find(ctx context.Context, streams Streams, box Outbox, cursor string, n int) (hub.Listed[Delivery], error) {
	var l hub.Listed[Delivery]
	if cursor != "" {
		if err := s.read(cursor); err != nil {
			return l, err
		}
	}
	views, err := streams.Overview(ctx)
	if err != nil {
		return l, err
	}
	slices.SortFunc(views, func(a, b transmitter.StreamView) int { return cmp.Compare(a.Stream.Key, b.Stream.Key) })
	byID := map[string]*transmitter.Stream{}
	for i := range views {
		byID[views[i].Stream.ID] = &views[i].Stream
	}
	if s.waits() && !s.inHistory {
		if full, err := s.wait(ctx, box, views, n, &l); err != nil || full {
			return l, err
		}
	}
	if !s.ends() {
		return l, nil
	}
	return l, s.past(ctx, box, byID, n, &l)
}

// wait adds waiting rows, and says whether the page is full.
func (s *Search) wait(ctx context.Context, box Outbox, views []transmitter.StreamView, n int, l *hub.Listed[Delivery]) (full bool, err error) {
	looked := 0
	for i := range views {
		st := &views[i].Stream
		after := int64(0)
		switch {
		case st.Key < s.key, s.Stream != 0 && st.Key != s.Stream, views[i].Counts.Waiting == 0:
			continue
		case st.Key == s.key:
			after = s.seq
		}
		for {
			items, err := box.Next(ctx, st.Key, after, 200)
			if err != nil {
				return false, err
			}
			for k := range items {
				it := &items[k]
				if len(l.Items) >= n || looked >= scanned {
					l.Next = fmt.Sprintf("w_%d_%d", st.Key, after)
					return true, nil
				}
				looked++
				after = it.Seq
				if v := under(it, st); (s.JTI == "" || v.JTI == s.JTI) && (s.TXN == "" || v.TXN == s.TXN) {
					l.Items = append(l.Items, v)
				}
			}
			if len(items) < 200 {
				break
			}
		}
	}
	return false, nil
}

// past adds lines of the history.
func (s *Search) past(ctx context.Context, box Outbox, streams map[string]*transmitter.Stream, n int, l *hub.Listed[Delivery]) error {
	left := n - len(l.Items)
	f := transmitter.DeliveryFilter{Stream: s.Stream, JTI: s.JTI, TXN: s.TXN, Outcome: s.Outcome, N: left + s.skip + 1}
	if s.place.At != 0 {
		f.From = &s.place
	}
	all, err := box.Deliveries(ctx, f)
	if err != nil {
		return err
	}
	skip := s.skip
	at, of := s.place, s.skip // where the page ends
	first := len(l.Items)
	for i := range all {
		if skip > 0 && all[i].Place() == s.place {
			skip--
			continue
		}
		if len(l.Items) >= n {
			l.Next = fmt.Sprintf("h_%d_%d_%d_%d", at.At, at.Event, at.Stream, of)
			break
		}
		if all[i].Place() != at {
			at, of = all[i].Place(), 0
		}
		of++
		l.Items = append(l.Items, ended(&all[i], streams))
	}
	return redriven(ctx, box, streams, l.Items[first:])
}

// redriven marks dead letters that are no longer set aside.
func redriven(ctx context.Context, box Outbox, streams map[string]*transmitter.Stream, lines []Delivery) error {
	dead := map[string][]transmitter.DeadLetter{}
	for i := range lines {
		v := &lines[i]
		s := streams[v.Stream]
		if v.Outcome != transmitter.DeadLettered || s == nil {
			continue
		}
		letters, ok := dead[s.ID]
		if !ok {
			var err error
			if letters, err = box.Dead(ctx, s.Key, storyDead); err != nil {
				return err
			}
			dead[s.ID] = letters
		}
		known := len(letters) < storyDead || v.At >= hub.Micros(letters[len(letters)-1].At)
		v.Back = known && !slices.ContainsFunc(letters, func(l transmitter.DeadLetter) bool { return l.Item.JTI == v.JTI })
	}
	return nil
}

// Told gives the deliveries of a transaction: on which streams its SETs wait, were delivered, set aside or skipped.
func Told(ctx context.Context, streams Streams, box Outbox, txn string) ([]Delivery, error) {
	if txn == "" {
		return nil, nil
	}
	l, err := Search{TXN: txn}.Find(ctx, streams, box, "", hub.PageMax)
	return l.Items, err
}

func short(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%.40s…", s)
	}
	return s
}
