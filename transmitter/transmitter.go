package transmitter

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"

	"countersign/event"
	"countersign/subject"
)

// Transmitter is an SSF Transmitter: the stream API as http.Handler, the pump that delivers, and Send.
type Transmitter struct {
	// Server answers the stream API. Transmitter.ServeHTTP calls it.
	Server *Server
	// Pump delivers. Transmitter.Run runs it.
	Pump *Pump

	cfg       *Config
	streams   atomic.Pointer[snapshot]
	ring      atomic.Pointer[keyring]
	parked    parked
	detached  sync.WaitGroup // polls that were taken off their servers
	reloading sync.Mutex
	strict    map[string]bool // event types of which more is taken than may be sent
}

// New checks the configuration and makes a Transmitter. Nothing runs before Run.
func New(cfg Config) (*Transmitter, error) {
	if err := cfg.prepare(); err != nil {
		return nil, err
	}
	ring, err := newKeyring(Keys{Signers: cfg.Signers, Also: cfg.Also})
	if err != nil {
		return nil, err
	}
	t := &Transmitter{cfg: &cfg, strict: map[string]bool{}}
	for _, typ := range cfg.Registry.Types() {
		if typ.New != nil {
			_, t.strict[typ.URI] = typ.New().(event.Strict)
		}
	}
	t.ring.Store(ring)
	t.Pump = newPump(t)
	if t.Server, err = newServer(t); err != nil {
		return nil, err
	}
	return t, nil
}

// ServeHTTP serves discovery, keys, the stream API and the receipt endpoint. Mount it at the root of the issuer's host.
func (t *Transmitter) ServeHTTP(w http.ResponseWriter, r *http.Request) { t.Server.ServeHTTP(w, r) }

// Run delivers, and pauses the streams of receivers that fell silent, until ctx ends. It returns nil then, and an error
// where it could not start.
func (t *Transmitter) Run(ctx context.Context) error {
	beside, stop := context.WithCancel(ctx)
	var ended sync.WaitGroup
	ended.Go(func() { t.runInactivity(beside) })
	defer ended.Wait()
	defer stop()
	return t.Pump.Run(ctx)
}

// Message is one event to transmit.
type Message struct {
	Type        string          // event type URI, or its short name in the registry
	SubID       json.RawMessage // RFC 9493 subject identifier; required
	Payload     json.RawMessage // the event object; empty: {}
	TXN         string          // empty: a fresh one
	TimeOfEvent int64           // toe, seconds; 0: left out
	// Order is a directive (receipts design §4). Such a message goes only to streams where receipts are
	// active, to each under a jti of its own. Nil: a plain event.
	Order json.RawMessage
	// Streams limits the message to these stream ids, whose rules hold all the same; nil: every stream that matches.
	Streams []string
	// Checked is the subject, from a caller that has itself parsed SubID, and has decoded Payload with the
	// transmitter's registry as part of a text that strict JSON allows: neither is read again. Nil: both are checked.
	Checked *subject.Identifier
}

// Sent says what was queued where.
type Sent struct {
	TXN    string
	Queued []Queued // empty where no stream matched
	// Skipped are streams that take the event type and do not get this event, and those of Message.Streams that do not
	// get it for whatever reason. A stream whose list leaves the subject out is only among them where it was named.
	Skipped []Skip
}

// Queued is one SET on one stream.
type Queued struct {
	StreamID string
	Receiver string
	JTI      string
	IssuedAt int64
	// SetHash and Input are those of an order: its content address and its signing input. Complete gives the token.
	SetHash string
	Input   string
}

// ErrNoOrderStream: streams match, but receipts are active on none of them, so the order was not sent.
var ErrNoOrderStream = errors.New("transmitter: no matching stream takes orders")

// AcceptedReceipt is what Config.OnReceipt gets.
type AcceptedReceipt struct {
	Order   SentOrder // with every receipt accepted so far, this one included
	Receipt KeptReceipt
}
