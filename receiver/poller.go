package receiver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"countersign/set"
	"countersign/stream"
)

// What a Poller does unless it says otherwise.
const (
	DefaultPollEvents = 100 // SETs asked for in one answer
	DefaultParallel   = 8   // of them judged and kept at a time
)

const (
	pollPause   = time.Second     // first bound of the back-off, and between empty answers of a transmitter that holds no polls
	pollLongest = 5 * time.Minute // last bound of the back-off
	pollIdle    = time.Minute     // last pause between empty answers
	quick       = time.Second     // an empty answer that came sooner was not held (RX-95)
	flushFor    = 5 * time.Second // how long the last acknowledgement may take at shutdown
)

// Poller fetches the SETs of one stream with poll delivery (RFC 8936). It acknowledges what was kept and nothing else,
// with the next poll and, at the end, with one that asks for nothing; what was kept and not yet acknowledged when the
// process died comes again and is a repeat. SETs that can never be taken are reported (setErrs), and the others of the same
// answer are not held up by them. SETs that cannot be kept now are left at the transmitter.
//
// One Poller per stream and one Run or Once at a time. What it remembers is bounded by one answer.
type Poller struct {
	// Client makes the calls, with its Credential and Quirks.
	Client *Client
	// URL is the delivery.endpoint_url of the stream, used as it is (RX-22).
	URL string
	// Authorization is the whole field value for polls where they take one of their own (Q-54/token), which the create answer
	// named in delivery.authorization_header. Empty: the credential of Client.
	Authorization string

	// Handler judges and keeps what comes, like what is pushed.
	Handler *Handler
	// Take is in place of Handler, with the errors of Handler.Take.
	Take func(ctx context.Context, compact string) error

	// MaxEvents is how many SETs are asked for at a time: no more than can be kept within seconds. 0: DefaultPollEvents.
	MaxEvents int
	// Parallel is how many SETs of an answer are taken at a time; their order means nothing (RX-92). 0: DefaultParallel.
	Parallel int
	// Short asks the transmitter not to hold a poll until there is something.
	Short bool
	// Interval is the longest pause after an answer without SETs that was not held: it begins with a second. 0: a minute.
	Interval time.Duration
	// Timeout bounds one poll; it must be longer than the transmitter holds one. 0: two minutes.
	Timeout time.Duration

	// Polled is told of each poll: how many SETs came, or why none did. Nil: nobody is told.
	Polled func(n int, err error)
	// Log gets what happens, without tokens. Nil: slog.Default.
	Log *slog.Logger

	mu    sync.Mutex // held by Run and Once
	acks  []string
	errs  map[string]stream.WireError
	bound int // most SETs to ask for now; 0: MaxEvents
	idle  int // empty answers in a row that came at once
	fails int // failures in a row
}

// NewPoller makes a Poller for a stream as its create answer has it: with the address, and by Quirks.PollToken with the
// credential for polls that the answer names. Keep both with the stream, by Remember: later answers may lack them.
func NewPoller(c *Client, cfg *stream.Configuration, h *Handler) (*Poller, error) {
	d := cfg.Delivery
	if d == nil || Method(d.Method) != stream.PollMethod || d.EndpointURL == "" {
		return nil, fmt.Errorf("%w: poll: the stream has no address to poll at", ErrUnsupported)
	}
	p := &Poller{Client: c, URL: d.EndpointURL, Handler: h}
	if c.Quirks.PollToken {
		p.Authorization = d.AuthorizationHeader
	}
	return p, nil
}

// ErrPolling says that this Poller polls already.
var ErrPolling = errors.New("receiver: polled already")

// Run polls until ctx ends, then acknowledges what it kept. It gives nil, or an error where it cannot be set up.
func (p *Poller) Run(ctx context.Context) error {
	if !p.mu.TryLock() {
		return ErrPolling
	}
	defer p.mu.Unlock()
	if err := p.check(); err != nil {
		return err
	}
	for ctx.Err() == nil {
		_, _, pause, _ := p.poll(ctx, p.Short)
		if pause <= 0 {
			continue
		}
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushFor)
	defer cancel()
	if err := p.flush(ctx); err != nil {
		p.log().LogAttrs(ctx, slog.LevelInfo, "kept signals could not be acknowledged at the end and will come again", slog.String("err", harmless(err)))
	}
	return nil
}

// Once polls once without waiting for SETs, takes what comes and says so in a second, acknowledging request, where anything came.
// n counts the SETs of the answer; more says that there were more.
func (p *Poller) Once(ctx context.Context) (n int, more bool, err error) {
	if !p.mu.TryLock() {
		return 0, false, ErrPolling
	}
	defer p.mu.Unlock()
	if err := p.check(); err != nil {
		return 0, false, err
	}
	n, more, _, err = p.poll(ctx, true)
	if err != nil {
		return n, more, err
	}
	return n, more, p.flush(ctx)
}

func (p *Poller) check() error {
	switch {
	case p.Client == nil || p.Handler == nil && p.Take == nil:
		return errors.New("receiver: Poller needs a Client and a Handler")
	case p.URL == "":
		return fmt.Errorf("%w: poll: the stream has no address to poll at", ErrUnsupported)
	}
	return nil
}

func (p *Poller) log() *slog.Logger {
	if p.Log != nil {
		return p.Log
	}
	return slog.Default()
}

// client is Client with the patience and the credential of polls.
func (p *Poller) client() *Client {
	c := *p.Client
	h := http.Client{}
	if c.HTTP != nil {
		h = *c.HTTP
	}
	h.Timeout = cmp.Or(p.Timeout, pollTimeout)
	c.HTTP = &h
	if p.Authorization != "" {
		c.Credential = Fixed(p.Authorization)
	}
	return &c
}

// poll is one exchange; pause is how long to wait before the next.
func (p *Poller) poll(ctx context.Context, immediately bool) (n int, more bool, pause time.Duration, err error) {
	most := cmp.Or(max(p.MaxEvents, 0), DefaultPollEvents)
	if p.bound > 0 {
		most = min(most, p.bound)
	}
	req := &stream.PollRequest{MaxEvents: &most, ReturnImmediately: immediately, Ack: p.acks, SetErrs: p.errs}
	began := time.Now()
	answer, err := p.client().Poll(ctx, p.URL, req)
	if err != nil {
		if ctx.Err() != nil {
			return 0, false, 0, ctx.Err() // not the transmitter's fault; the acks are kept for flush
		}
		p.failed(ctx, req, most, err)
		return 0, false, backOff(p.fails, pollPause, pollLongest, err), err
	}
	told := p.acknowledged(req)
	if p.bound > 0 {
		if p.bound *= 2; p.bound >= cmp.Or(max(p.MaxEvents, 0), DefaultPollEvents) {
			p.bound = 0
		}
	}
	names := answer.First(cmp.Or(max(p.MaxEvents, 0), DefaultPollEvents))
	n = len(names)
	answer.MoreAvailable = answer.MoreAvailable || n < len(answer.Sets)
	later, fresh := p.take(ctx, names, answer.Sets, told)
	if p.Polled != nil {
		p.Polled(n, nil)
	}
	if later == nil {
		p.fails = 0
	}
	switch {
	case later != nil: // the fault is ours: the rest comes again
		p.fails++
		pause = backOff(p.fails, pollPause, pollLongest, later)
	case fresh: // acknowledge promptly (RX-87), and see what else there is (RX-91)
		p.idle = 0
	case n == 0 && answer.MoreAvailable && p.idle < 3:
		p.idle++
	case n > 0 || time.Since(began) < quick: // RX-95; or it offers again what it was told of
		p.idle++
		pause = backOff(p.idle, pollPause, cmp.Or(p.Interval, pollIdle), nil)
	default:
		p.idle = 0
	}
	return n, answer.MoreAvailable, pause, nil
}

// failed notes a poll that gave nothing.
func (p *Poller) failed(ctx context.Context, req *stream.PollRequest, most int, err error) {
	p.fails++
	apiErr, refused := errors.AsType[*APIError](err)
	switch {
	case errors.Is(err, ErrTooLong): // ask for fewer
		p.bound = max(1, most/2)
	case refused && apiErr.Status == http.StatusBadRequest && len(req.Ack)+len(req.SetErrs) > 0:
		// It may be what we said of SETs (RX-96: the body tells nothing). They come again, and are answered for again.
		p.acks, p.errs = nil, nil
	}
	if p.Polled != nil {
		p.Polled(0, err)
	}
	level := slog.LevelInfo
	if p.fails > 1 {
		level = slog.LevelWarn
	}
	p.log().LogAttrs(ctx, level, "a poll failed", slog.Int("failures", p.fails), slog.String("err", harmless(err)))
}

// acknowledged forgets what a poll has told the transmitter, and gives the names.
func (p *Poller) acknowledged(req *stream.PollRequest) map[string]bool {
	told := make(map[string]bool, len(req.Ack)+len(req.SetErrs))
	for _, jti := range req.Ack {
		told[jti] = true
	}
	for jti := range req.SetErrs {
		told[jti] = true
	}
	p.acks, p.errs = nil, nil
	return told
}

// take has the named SETs of an answer kept, and notes what the next poll says of them. later is a reason why some were left;
// fresh says that some of those that were answered for were not among told.
func (p *Poller) take(ctx context.Context, names []string, sets map[string]string, told map[string]bool) (later error, fresh bool) {
	verdicts := make([]error, len(names))
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(cmp.Or(max(p.Parallel, 0), DefaultParallel), len(names)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(names); i = int(next.Add(1)) - 1 {
				verdicts[i] = p.one(ctx, names[i], sets[names[i]])
			}
		})
	}
	all.Wait()
	for i, jti := range names {
		wrong, refused := errors.AsType[stream.WireError](verdicts[i])
		switch {
		case verdicts[i] == nil:
			p.acks = append(p.acks, jti)
		case refused:
			if p.errs == nil {
				p.errs = map[string]stream.WireError{}
			}
			p.errs[jti] = wrong
		default:
			if later == nil || asked(verdicts[i]) > asked(later) {
				later = verdicts[i]
			}
			continue
		}
		fresh = fresh || !told[jti]
	}
	return later, fresh
}

// one takes a SET under the name by which the answer has it.
func (p *Poller) one(ctx context.Context, jti, compact string) (err error) {
	if err := ctx.Err(); err != nil {
		return err // it comes again
	}
	defer func() { // a panic is about this SET and no other
		if r := recover(); r != nil {
			p.log().LogAttrs(ctx, slog.LevelError, "taking a polled signal panicked", slog.Any("panic", r), slog.String("stack", string(debug.Stack())))
			err = fmt.Errorf("receiver: taking a polled signal panicked")
		}
	}()
	// RX-93. What cannot be read is refused below, in words of its own.
	if u, err := set.Parse(compact); err == nil && u.Fault() == nil && u.Claims().ID != jti {
		wrong := stream.WireError{Err: stream.InvalidRequest, Description: "the jti of the token is not the name under which the answer has it"}
		if p.Handler != nil && p.Handler.Report != nil {
			p.Handler.Report(ctx, http.StatusBadRequest, wrong.Err, wrong)
		}
		return wrong
	}
	// RX-88: what is being kept is kept to the end, also when we are told to stop.
	ctx = context.WithoutCancel(ctx)
	if p.Take != nil {
		return p.Take(ctx, compact)
	}
	return p.Handler.Take(ctx, compact)
}

// flush tells the transmitter what is left to tell, and asks for nothing (RFC 8936 §2.4.2).
func (p *Poller) flush(ctx context.Context) error {
	if len(p.acks)+len(p.errs) == 0 {
		return nil
	}
	none := 0
	req := &stream.PollRequest{MaxEvents: &none, ReturnImmediately: true, Ack: p.acks, SetErrs: p.errs}
	// SETs that come all the same stay unacknowledged.
	if _, err := p.client().Poll(ctx, p.URL, req); err != nil {
		return err
	}
	p.acknowledged(req)
	return nil
}
