package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"countersign/internal/hub"
	"countersign/transmitter"
)

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

// search is a question about deliveries. Its cursor is a place among the waiting rows, w_STREAM_SEQ, or in the history,
// h_MICROS_N: the moment of the last line that was given, and how many of that moment were; 0 is its beginning.
type search struct {
	outcome, jti, txn string
	stream            int64  // 0: all
	streamID          string // of stream
	waiting, history  bool   // which parts are asked for
	inHistory         bool   // the cursor is there
	key, seq          int64
	at                hub.Micros
	skip              int
}

func (s *search) read(cursor string) error {
	bad := hub.Errorf(hub.Invalid, "after %q is not from a page of this list", short(cursor)).WithHint("give the next of the page before, unchanged")
	part := strings.Split(cursor, "_")
	if len(part) != 3 {
		return bad
	}
	a, err1 := strconv.ParseInt(part[1], 10, 64)
	b, err2 := strconv.ParseInt(part[2], 10, 64)
	if err1 != nil || err2 != nil || a < 0 || b < 0 {
		return bad
	}
	switch {
	case part[0] == "w" && s.waiting:
		s.key, s.seq = a, b
	case part[0] == "h" && s.history && b <= scanned && a < 1<<62:
		s.inHistory, s.at, s.skip = true, hub.Micros(a), int(b)
	default:
		return bad
	}
	return nil
}

// run gives up to n deliveries: first what waits, by stream and age, then the history, latest first.
func (s *search) run(ctx context.Context, o office, n int) (hub.Listed[Delivery], error) {
	var l hub.Listed[Delivery]
	views, err := o.streams.Overview(ctx)
	if err != nil {
		return l, err
	}
	slices.SortFunc(views, func(a, b transmitter.StreamView) int { return int(a.Stream.Key - b.Stream.Key) })
	byID := map[string]*transmitter.Stream{}
	for i := range views {
		byID[views[i].Stream.ID] = &views[i].Stream
	}
	if s.waiting && !s.inHistory {
		if full, err := s.wait(ctx, o, views, n, &l); err != nil || full {
			return l, err
		}
	}
	if !s.history {
		return l, nil
	}
	return l, s.past(ctx, o, byID, n, &l)
}

// wait adds waiting rows, and says whether the page is full.
func (s *search) wait(ctx context.Context, o office, views []transmitter.StreamView, n int, l *hub.Listed[Delivery]) (full bool, err error) {
	looked := 0
	for i := range views {
		st := &views[i].Stream
		after := int64(0)
		switch {
		case st.Key < s.key, s.stream != 0 && st.Key != s.stream, views[i].Counts.Waiting == 0:
			continue
		case st.Key == s.key:
			after = s.seq
		}
		for {
			items, err := o.outbox.Next(ctx, st.Key, after, 200)
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
				if v := under(it, st); (s.jti == "" || v.JTI == s.jti) && (s.txn == "" || v.TXN == s.txn) {
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
func (s *search) past(ctx context.Context, o office, streams map[string]*transmitter.Stream, n int, l *hub.Listed[Delivery]) error {
	left := n - len(l.Items)
	f := transmitter.DeliveryFilter{Stream: s.stream, JTI: s.jti, TXN: s.txn, Outcome: s.outcome, N: left + s.skip + 1}
	if s.at != 0 {
		f.Before = transmitter.Micros(s.at) + 1
	}
	all, err := o.outbox.Deliveries(ctx, f)
	if err != nil {
		return err
	}
	skip := s.skip
	at, of := s.at, s.skip // where the page ends
	first := len(l.Items)
	for i := range all {
		if skip > 0 && hub.Micros(all[i].At) == s.at {
			skip--
			continue
		}
		if len(l.Items) >= n {
			l.Next = fmt.Sprintf("h_%d_%d", at, of)
			break
		}
		if hub.Micros(all[i].At) != at {
			at, of = hub.Micros(all[i].At), 0
		}
		of++
		l.Items = append(l.Items, ended(&all[i], streams))
	}
	return redriven(ctx, o, streams, l.Items[first:])
}

// redriven marks dead letters that are no longer set aside.
func redriven(ctx context.Context, o office, streams map[string]*transmitter.Stream, lines []Delivery) error {
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
			if letters, err = o.outbox.Dead(ctx, s.Key, storyDead); err != nil {
				return err
			}
			dead[s.ID] = letters
		}
		known := len(letters) < storyDead || v.At >= hub.Micros(letters[len(letters)-1].At)
		v.Back = known && !slices.ContainsFunc(letters, func(l transmitter.DeadLetter) bool { return l.Item.JTI == v.JTI })
	}
	return nil
}

func (d *Door) listDeliveries(w http.ResponseWriter, r *request) error {
	p, q, err := query(r.Request, "stream", "jti", "txn", "outcome")
	if err != nil {
		return err
	}
	outcome, err := word(q, "outcome", Waiting, transmitter.Delivered, transmitter.DeadLettered, transmitter.Skipped)
	if err != nil {
		return err
	}
	o, err := d.office(r.tenant)
	if err != nil {
		return err
	}
	s := search{outcome: outcome, jti: q.Get("jti"), txn: q.Get("txn"), waiting: outcome == "" || outcome == Waiting, history: outcome != Waiting}
	if p.After != "" {
		if err := s.read(p.After); err != nil {
			return err
		}
	}
	if ref := q.Get("stream"); ref != "" {
		v, err := o.find(r.Context(), ref)
		if err != nil {
			return err
		}
		s.stream = v.Stream.Key
	}
	l, err := s.run(r.Context(), o, p.Size())
	if err != nil {
		return err
	}
	return writePage(w, l)
}

func (d *Door) redrive(w http.ResponseWriter, r *request) error {
	data, err := readBody(w, r.Request, maxBody)
	if err != nil {
		return err
	}
	var req RedriveRequest
	if err := decodeBody(data, maxBody, &req); err != nil {
		return err
	}
	chosen := req.Stream != "" || req.JTI != "" || req.Reason != ""
	switch {
	case chosen && req.All:
		return hub.Errorf(hub.Invalid, "all stands alone: with it, stream, jti and reason are not given")
	case !chosen && !req.All:
		return hub.Errorf(hub.Invalid, "which dead letters are to be sent again?").WithHint("give stream, jti, reason, or all")
	}
	o, err := d.office(r.tenant)
	if err != nil {
		return err
	}
	f := transmitter.DeadFilter{JTI: req.JTI, Reason: req.Reason}
	if req.Stream != "" {
		v, err := o.find(r.Context(), req.Stream)
		if err != nil {
			return err
		}
		if v.Stream.Status == transmitter.Disabled {
			return hub.Errorf(hub.Conflict, "the stream is disabled, and its dead letters stay where they are").WithHint("countersign stream resume %s", nameOf(&v.Stream))
		}
		f.Stream = v.Stream.Key
	}
	n, err := o.streams.Redrive(r.Context(), f)
	if err != nil {
		return streamError(err)
	}
	return writeJSON(w, http.StatusOK, Redriven{n})
}

// Told gives the deliveries of a transaction: on which streams its SETs wait, were delivered, set aside or skipped.
func Told(ctx context.Context, streams Streams, box Outbox, txn string) ([]Delivery, error) {
	if txn == "" {
		return nil, nil
	}
	s := search{txn: txn, waiting: true, history: true}
	l, err := s.run(ctx, office{streams, box}, hub.PageMax)
	return l.Items, err
}
