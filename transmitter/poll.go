package transmitter

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"countersign/internal/strictjson"
	"countersign/stream"
)

// Limits of polls that are judgment and not settings.
const (
	maxPollBody = 16 << 20         // octets of a request: room for more than 100,000 acks
	smallBody   = 64 << 10         // octets that are read without asking whether there is room for a large body
	largeBodies = 4                // large bodies being read at once
	pollSize    = 1 << 20          // octets of SETs in one answer, after which no more are added
	again       = 5 * time.Second  // a held poll is not answered by SETs alone that were offered so lately
	stoppedWait = 5 * time.Second  // how long a poll of a stream is held that transmits nothing
	writeTime   = 15 * time.Second // for the answer of a held poll
)

// pollRequest is the body of a poll, RFC 8936 §2.2.
type pollRequest struct {
	max     int // -1: no limit was given
	now     bool
	acks    []string
	refused []Refusal
}

// parsePoll reads a body. Members that it does not know are ignored (TX-192), and null is the same as absent, since
// that is what empty lists of some clients look like. {} is a valid request (TX-177).
func parsePoll(data []byte) (*pollRequest, error) {
	if err := strictjson.Check(data, strictjson.Limits{Bytes: maxPollBody}); err != nil {
		return nil, err
	}
	members, err := strictjson.Members(data)
	if err != nil {
		return nil, bad("it is not an object")
	}
	q := &pollRequest{max: -1}
	for _, m := range members {
		if string(m.Value) == "null" {
			continue
		}
		switch m.Name {
		case "maxEvents":
			n, err := strconv.ParseUint(string(m.Value), 10, 64)
			switch {
			case errors.Is(err, strconv.ErrRange):
				n = 1 << 30
			case err != nil:
				return nil, bad("maxEvents is not a whole number of 0 or more")
			}
			q.max = int(min(n, 1<<30))
		case "returnImmediately":
			switch string(m.Value) {
			case "true":
				q.now = true
			case "false":
			default:
				return nil, bad("returnImmediately is neither true nor false")
			}
		case "ack":
			items, err := strictjson.Elements(m.Value)
			if err != nil {
				return nil, bad("ack is not an array")
			}
			q.acks = make([]string, 0, len(items))
			for _, item := range items {
				jti, err := strictjson.String(item)
				if err != nil {
					return nil, bad("ack is not an array of strings")
				}
				q.acks = append(q.acks, jti)
			}
		case "setErrs":
			if q.refused, err = parseRefusals(m.Value); err != nil {
				return nil, err
			}
		}
	}
	return q, nil
}

// parseRefusals reads setErrs: by jti, what was wrong with the SET (RFC 8936 §2.4).
func parseRefusals(raw []byte) ([]Refusal, error) {
	members, err := strictjson.Members(raw)
	if err != nil {
		return nil, bad("setErrs is not an object")
	}
	out := make([]Refusal, 0, len(members))
	for _, m := range members {
		parts, err := strictjson.Members(m.Value)
		if err != nil {
			return nil, bad("a member of setErrs is not an object")
		}
		r := Refusal{JTI: m.Name}
		for _, p := range parts {
			into := map[string]*string{"err": &r.Err, "description": &r.Description}[p.Name]
			if into == nil || p.Name == "description" && string(p.Value) == "null" {
				continue
			}
			text, err := strictjson.String(p.Value)
			if err != nil {
				return nil, bad("%s in setErrs is not a string", p.Name)
			}
			*into = cut(printable(text), maxReason)
		}
		if r.Err == "" {
			return nil, bad("a member of setErrs has no err")
		}
		out = append(out, r)
	}
	return out, nil
}

// polled takes the stream_id out of the path of a poll.
func (s *Server) polled(path string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(path, s.polls)
	if !ok {
		return "", false
	}
	id, ok = strings.CutSuffix(rest, pathPoll)
	return id, ok && id != "" && !strings.Contains(id, "/")
}

// poll answers POST at the poll address of a stream, RFC 8936 §2: it keeps what was acknowledged, then gives what waits,
// and holds the request while nothing does.
//
// SETs stay until they are acknowledged or refused, and are offered again in every poll until then, with the same bytes.
// So that a receiver that does not acknowledge cannot run in circles, a poll that may be held is not answered by
// SETs alone that were offered within the last five seconds. A stream that is paused or disabled gives no SETs but the
// last word about that, takes acknowledgements all the same (TX-110), and holds polls for five seconds at most. Polls
// beyond Config.PollParked and PollParkedStream are answered with 429.
func (s *Server) poll(w http.ResponseWriter, r *http.Request, id string) {
	p := &held{s: s, w: w, r: r, id: id, gone: r.Context().Done()}
	defer func() {
		if p != nil {
			p.resume()
		}
	}()
	p.aside(p.begin)
	for !p.done {
		p.aside(p.step)
		if p.done {
			return
		}
		if p.detach() {
			p = nil // it goes on by itself
			return
		}
		p.wait()
	}
}

// held is a poll under way. While it waits, its goroutine has as little on its stack as can be: everything else is done
// on stacks that are given back.
type held struct {
	s  *Server
	w  http.ResponseWriter
	r  *http.Request
	id string

	gone     <-chan struct{} // closed when the client is
	max      int             // SETs that are wanted; -1: as many as there are
	now      bool            // whatever there is, at once
	st       *Stream         // as just read; nil: to be read again
	receiver string
	begun    time.Time
	done     bool

	parked  bool            // it has waited before
	woken   <-chan struct{} // while it waits
	leave   func()
	left    time.Duration
	resumed func()
}

// aside runs f on a stack of its own. A panic of it is the caller's.
func (p *held) aside(f func()) {
	var panicked any
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() { panicked = recover() }()
		f()
	}()
	<-ended
	if panicked != nil {
		panic(panicked)
	}
}

// wait holds the poll until there may be something, its time is over, or nobody is there any more.
func (p *held) wait() {
	timer := time.NewTimer(p.left)
	select {
	case <-p.woken:
	case <-timer.C:
	case <-p.gone:
		p.done = true
	}
	timer.Stop()
	p.leave()
	p.woken, p.leave = nil, nil
}

func (p *held) resume() {
	if p.resumed != nil {
		p.resumed()
		p.resumed = nil
	}
}

// begin reads and carries out what the poll says, up to the acknowledgements.
func (p *held) begin() {
	s, w, r := p.s, p.w, p.r
	p.done = true
	c, ok := s.caller(w, r)
	if !ok {
		return
	}
	q, ok := s.pollBody(w, r)
	if !ok {
		return
	}
	st, err := s.owned(r.Context(), c, p.id)
	if err == nil && st.Method != stream.PollMethod {
		err = bad("this stream is delivered by push")
	}
	if err != nil {
		s.failed(w, r, err)
		return
	}
	if !allowed(w, c, ScopeRead) { // TX-192
		return
	}
	if len(q.acks)+len(q.refused) > 0 { // before SETs are chosen (TX-187)
		if err := s.acknowledge(r.Context(), st, q); err != nil {
			s.failed(w, r, err)
			return
		}
	}
	p.max, p.now, p.st, p.receiver, p.begun, p.done = q.max, q.now, st, c.Receiver, time.Now(), false
}

// step answers the poll by what waits, or parks it until something does.
func (p *held) step() {
	s, w, r := p.s, p.w, p.r
	ctx := r.Context()
	p.done = true
	st, err := p.st, error(nil)
	if p.st = nil; st == nil {
		st, err = s.cfg.Store.Stream(ctx, p.receiver, p.id)
	}
	if err == nil && p.parked { // who is answered must still be somebody who may be
		_, err = s.cfg.Caller(r)
	}
	if err == nil && st.Method != stream.PollMethod { // since it was parked
		err = bad("this stream is delivered by push")
	}
	if err != nil {
		s.endPoll(w, r, err)
		return
	}
	most := or(s.cfg.PollWait, 30*time.Second)
	if st.Status != Enabled {
		most = min(most, stoppedWait)
	}
	p.left = most - time.Since(p.begun)
	may := !p.now && p.max != 0 && p.left > 0 && (st.Status == Enabled || !p.parked) // a stop ends held polls (TX-190)
	leave, room := func() {}, true
	if may { // before the store is read, or a row that comes between would be missed
		if woken, end, ok := s.t.wait(st.Key); ok {
			p.woken, leave = woken, end
		} else {
			may, room = false, false
		}
	}
	a, err := s.choose(ctx, st, p.max, may)
	switch {
	case err != nil:
		leave()
		s.endPoll(w, r, err)
	case a.empty() && !room && !s.t.stopping():
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests, "too_many_requests", "too many polls are held already")
	case !may || !a.empty():
		leave()
		s.give(w, st, a)
	default:
		if !p.parked {
			p.parked = true
			patience(w, p.left)
			if s.cfg.Held != nil {
				p.resumed = s.cfg.Held(r)
			}
		}
		if a.again > 0 {
			p.left = min(p.left, a.again)
		}
		p.leave, p.done = leave, false
	}
}

// pollBody reads the body of a poll. Of those that are larger than management bodies only a few are read at once.
func (s *Server) pollBody(w http.ResponseWriter, r *http.Request) (*pollRequest, bool) {
	g := &gate{ReadCloser: r.Body, room: s.large}
	defer g.release()
	r.Body = g
	data, ok := s.bytes(w, r, maxPollBody)
	if !ok {
		return nil, false
	}
	q, err := parsePoll(data)
	if err != nil {
		invalid(w, err)
		return nil, false
	}
	return q, true
}

// errNoRoom: too many large bodies are being read already.
var errNoRoom = errors.New("transmitter: no room for a large body")

// gate lets the small part of a body through, and more of it while there is room for large ones.
type gate struct {
	io.ReadCloser
	read  int
	room  chan struct{}
	taken bool
}

// Read reads on, or gives errNoRoom.
func (g *gate) Read(b []byte) (int, error) {
	if g.read >= smallBody && !g.taken {
		select {
		case g.room <- struct{}{}:
			g.taken = true
		default:
			return 0, errNoRoom
		}
	}
	n, err := g.ReadCloser.Read(b)
	g.read += n
	return n, err
}

func (g *gate) release() {
	if g.taken {
		<-g.room
	}
}

// acknowledge ends the delivery of what the receiver has, and of what it refuses (TX-182).
func (s *Server) acknowledge(ctx context.Context, st *Stream, q *pollRequest) error {
	at := s.cfg.Now()
	if _, err := s.cfg.Store.Acknowledge(ctx, st.Key, q.acks, q.refused, At(at)); err != nil {
		return err
	}
	s.offers.settled(s, st, q, at)
	return nil
}

// endPoll answers a poll that cannot go on.
func (s *Server) endPoll(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, ErrBadCredentials) || errors.Is(err, ErrNoCredentials) {
		s.caller(w, r)
		return
	}
	s.failed(w, r, err)
}

// patience lets the answer of a held poll be later than the http.Server has it for short requests (P-98).
func patience(w http.ResponseWriter, wait time.Duration) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait + writeTime))
}

// stopping reports whether held polls end because the transmitter does.
func (t *Transmitter) stopping() bool {
	t.parked.mu.Lock()
	defer t.parked.mu.Unlock()
	return t.parked.closed
}

// give writes an answer, RFC 8936 §2.3.
func (s *Server) give(w http.ResponseWriter, st *Stream, a *selection) {
	if now := s.t.streams.Load(); now != nil { // a stop is in force once its 200 left, also for this answer
		if cur := now.byKey[st.Key]; cur != nil && cur.Generation >= st.Generation && cur.Status != Enabled {
			a.keepParting()
		}
	}
	b := []byte(`{"sets":{`) // never missing (P-99)
	for i, set := range a.sets {
		if i > 0 {
			b = append(b, ',')
		}
		b = strictjson.AppendString(b, set.item.JTI)
		b = append(b, `:"`...)
		b = append(append(b, set.token...), '"')
	}
	b = append(b, '}')
	if a.more { // left out where it would be false (TX-191)
		b = append(b, `,"moreAvailable":true`...)
	}
	b = append(b, '}')
	s.offers.made(st, a, s.cfg.Now())
	secure(w.Header())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(b)
}
