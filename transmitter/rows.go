package transmitter

import "cmp"

// Event is what happened, kept once however many streams it goes to.
type Event struct {
	Key  int64  // of the store; set by Enqueue
	Type string // event type URI
	// Subject groups SETs about one subject: no two of one group are in flight on a stream, and they keep their order.
	Subject [16]byte
	// Body is the end of the claims object, from after jti to the closing brace:
	// ,"txn":"…","sub_id":{…},"events":{…}}. Body makes it.
	Body []byte
	TXN  string
	At   Micros // when it was planned; the age of its rows counts from here
}

// Outgoing is one event on its way to the streams that it matched.
type Outgoing struct {
	Event      Event
	Rows       []Row
	Skips      []Skip // streams that take the type and do not get this event, and why; kept in the history
	Generation int64  // of the snapshot that was matched; 0: not checked
}

// Skip is a stream that would take an event and does not get it, for a reason that somebody should see.
type Skip struct {
	Stream   int64
	StreamID string
	Receiver string
	Reason   string // names no subject
}

// Row is one SET on one stream, unsigned. What is signed is fixed here, so that every try has the same
// signing input; the token itself is never stored.
type Row struct {
	Stream    int64  // Stream.Key
	StreamID  string // Stream.ID
	Seq       int64  // set by Enqueue; rises within the stream; 0: left out
	JTI       string
	IssuedAt  int64  // iat, seconds
	KeyID     string // kid of the signing key
	Input     string // of an order: header.payload, complete; else empty
	Order     *SentOrder
	Algorithm string // JOSE name of the signature
	// Body takes the place of Event.Body on this stream, where the receiver is told another identifier or shape; nil: the
	// event's. Rows that are told the same share one slice.
	Body []byte
	// Parting rows are delivered although the stream is paused or disabled: the stream-updated event that says so (TX-135).
	Parting bool
}

// Item is a row read back for delivery. It has all that signing needs beside the stream's Audience.
type Item struct {
	Stream    int64
	Seq       int64
	JTI       string
	IssuedAt  int64
	KeyID     string
	Algorithm string
	Input     string
	Event     *Event // Body is the row's own where it has one
	Parting   bool
}

// Outcome says how a delivery ended.
type Outcome struct {
	Stream int64
	Seq    int64
	Dead   bool   // set aside; false: delivered
	Plain  bool   // known to carry no order, so that a store need not look; false: it may carry one
	Status int    // HTTP status of the answer
	Reason string // of a dead one: err and description, cut short
	At     Micros
	// For the history: what it was, and how it went.
	JTI   string
	Event int64  // Event.Key
	Tries int    // of this process
	First Micros // the first of them
}

// Refusal is one member of setErrs (RFC 8936 §2.4).
type Refusal struct {
	JTI         string
	Err         string
	Description string
}

// Reason is how a refusal stands in the dead letter and in the history.
func (r Refusal) Reason() string {
	if r.Description == "" {
		return r.Err
	}
	return r.Err + ": " + r.Description
}

// DeadFilter chooses dead letters. Empty members do not filter; with none set, all are chosen.
type DeadFilter struct {
	Stream int64
	Seq    int64
	JTI    string
	Reason string // the reason begins so
	At     Micros // does not filter: when they are put back, from which their age counts anew; 0: from their events
}

// Delivery is one line of the history.
type Delivery struct {
	Stream   int64
	StreamID string // empty where the stream is gone
	JTI      string // empty for a skip
	Event    int64
	Type     string // empty where the event was purged
	TXN      string
	Outcome  string // Delivered, DeadLettered or Skipped
	Status   int    // HTTP status of the answer; 0: polled, or none
	Reason   string
	Tries    int
	First    Micros
	At       Micros
}

// DeliveryFilter narrows the history. Empty members do not filter.
type DeliveryFilter struct {
	Stream  int64
	JTI     string
	TXN     string
	Outcome string
	Before  Micros // only older ones; 0: from the latest
	From    *Place // only lines from this place on, the ones there too; nil: from the latest
	N       int    // at most; 0: 100
}

// Place is where a line stands in the history: latest first, of one moment by falling event, of one event by falling stream.
// A place has more than one line only where one delivery ended twice at a moment.
type Place struct {
	At            Micros
	Event, Stream int64
}

// Place gives where the line stands.
func (d *Delivery) Place() Place { return Place{d.At, d.Event, d.Stream} }

// Compare is negative where p comes before q in the history.
func (p Place) Compare(q Place) int {
	return cmp.Or(cmp.Compare(q.At, p.At), cmp.Compare(q.Event, p.Event), cmp.Compare(q.Stream, p.Stream))
}

// DeadLetter is a row that was set aside.
type DeadLetter struct {
	Item   Item
	Status int
	Reason string
	At     Micros
}

// Counts are the figures of a stream.
type Counts struct {
	Waiting   int64
	Delivered int64
	Dead      int64
	Oldest    Micros // since when the oldest waiting row waits; 0: nothing waits
	Subjects  int64  // entries of its list, on and off
}
