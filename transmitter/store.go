package transmitter

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"
)

// Errors of a Store. Implementations wrap them; callers compare with errors.Is.
var (
	// ErrNotFound: no such stream or order for this receiver. A stream of another receiver is not found either (TX-37).
	ErrNotFound = errors.New("transmitter: not found")
	// ErrConflict: what is kept does not allow it: the receiver has a stream already and may not have several (TX-66), or
	// the order was withdrawn or finished already.
	ErrConflict = errors.New("transmitter: in conflict with what is kept")
	// ErrStale: streams changed since the snapshot that an Outgoing was matched against. Match again.
	ErrStale = errors.New("transmitter: the streams changed since they were matched")
	// ErrBusy: the store's admission queue is full and nothing was written. Try again later.
	ErrBusy = errors.New("transmitter: the store is busy")
	// ErrTooMany: a limit on how many of something there may be was reached, and nothing was written.
	ErrTooMany = errors.New("transmitter: there are too many")
)

// The statuses of a stream, SSF 1.0 §8.1.2.1.
const (
	Enabled  = "enabled"
	Paused   = "paused"
	Disabled = "disabled"
)

// Micros is a moment: UTC microseconds since 1970. Zero means that it is not set.
type Micros int64

// At converts a time; the zero time gives 0.
func At(t time.Time) Micros {
	if t.IsZero() {
		return 0
	}
	return Micros(t.UnixMicro())
}

// Time converts back; 0 gives the zero time.
func (m Micros) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(m)).UTC()
}

// Store keeps streams, what waits to be delivered on them, the orders sent and the receipts accepted.
// It is the only memory a transmitter has. ssftest.StoreSuite holds an implementation to what follows.
//
// Durable: when a writing method returns nil, its effect survives a crash of the process (and, for a
// store that claims it, of the machine). When it returns an error, nothing of it was written.
//
// Atomic: each writing method is one transaction. In particular Enqueue writes all its rows and
// orders or none, and AcceptReceipt decides and writes under one lock on the order.
//
// Concurrent: every method may be called from many goroutines, and by several processes where the
// store allows that. Calls may be grouped into one commit.
//
// A canceled context stops the waiting, not necessarily the write: after a context error the caller
// does not know whether it happened. Returned values belong to the caller and share nothing mutable
// with the store, except Event.Body, Row.Input and Item.Input, which nobody changes.
type Store interface {
	// CreateStream keeps a new stream and sets its Key and Generation. It returns ErrConflict when s.Receiver has
	// limit streams already, also when calls race; 0 is no limit.
	CreateStream(ctx context.Context, s *Stream, limit int) error
	// Stream gives the receiver's stream of that id, or ErrNotFound.
	Stream(ctx context.Context, receiver, id string) (*Stream, error)
	// Streams gives the receiver's streams, oldest first; none is not an error.
	Streams(ctx context.Context, receiver string) ([]Stream, error)
	// UpdateStream lets change edit the stream within the transaction and returns it as kept. An error of
	// change is returned as it is, and nothing is written. Key, ID, Receiver, Audience, Listed, Active and Trouble
	// are not changed by it. change must not call the store and may run more than once.
	// Where the stream is disabled afterwards its waiting rows are removed in the same transaction (SSF 1.0
	// §8.1.2.1, TX-106), and the orders among them become OrderDropped.
	UpdateStream(ctx context.Context, receiver, id string, change func(*Stream) error) (*Stream, error)
	// DeleteStream removes the stream with its waiting and set-aside rows and its secrets (TX-95), or
	// returns ErrNotFound. Orders and receipts stay; orders still waiting become OrderDropped.
	DeleteStream(ctx context.Context, receiver, id string) error
	// AllStreams gives every stream of every receiver and the generation that this is the state of. It is read
	// into memory by the matcher and the pump.
	AllStreams(ctx context.Context) (streams []Stream, generation int64, err error)
	// Generation grows with each CreateStream, UpdateStream and DeleteStream, of any process. It is cheap.
	Generation(ctx context.Context) (int64, error)

	// Enqueue keeps the event once, one row for each stream of out.Rows, and the orders of those rows, and sets
	// out.Event.Key and each row's Seq. A row whose stream is gone or disabled is left out and keeps Seq 0; its
	// order is not kept. Where out.Generation is not 0 and is no longer the store's, it returns ErrStale and writes
	// nothing. ErrBusy where the store takes no more.
	Enqueue(ctx context.Context, out *Outgoing) error
	// Waiting gives the keys of all streams that have rows to deliver.
	Waiting(ctx context.Context) ([]int64, error)
	// Next gives up to n rows of a stream with a Seq above after that wait for delivery, by rising Seq, whatever
	// the stream's status and back-off. Rows stay until Done. With several writers a row can become
	// visible after one of higher Seq: readers come back for lower ones.
	Next(ctx context.Context, stream, after int64, n int) ([]Item, error)
	// Done takes the outcomes of deliveries, in any order and for many streams: a delivered row is removed and
	// counted; a dead one is set aside with its reason and no longer given by Next. The order of the
	// row becomes OrderDelivered or OrderRejected, and has Arrived. A row that is gone already is ignored, and so is an
	// outcome whose JTI is set and no longer the row's, which was reissued meanwhile; of Plain rows that were delivered a
	// store need not compare it. Each outcome is a line of the history.
	Done(ctx context.Context, outcomes []Outcome) error
	// Backoff keeps the back-off of a stream: how often delivery failed in a row, when it is tried
	// again, and why. The zero Trouble ends it. A stream that is gone is ignored. It does not change the generation.
	Backoff(ctx context.Context, stream int64, t Trouble) error
	// Dead gives up to n rows set aside on a stream, latest first.
	Dead(ctx context.Context, stream int64, n int) ([]DeadLetter, error)
	// Counts gives the figures of a stream; those of a stream that is gone are zero.
	Counts(ctx context.Context, stream int64) (Counts, error)

	// Announce is UpdateStream for a change that the transmitter makes itself (SSF 1.0 §8.1.5): what change returns
	// besides is kept in the same transaction, after the change, its Parting rows whatever the new status is.
	// A nil Outgoing announces nothing. out.Generation is not checked.
	Announce(ctx context.Context, receiver, id string, change func(*Stream) (*Outgoing, error)) (*Stream, error)
	// Parting gives the Parting rows that wait, of all streams; there are few.
	Parting(ctx context.Context) ([]Item, error)
	// Touch keeps when receivers were last active (TX-54); an older moment than the one kept is ignored. It does not
	// change the generation.
	Touch(ctx context.Context, active map[int64]Micros) error
	// Idle gives the enabled streams with an InactivityTimeout that passed before now without activity, counted from the
	// latest of Created, Updated and Active.
	Idle(ctx context.Context, now Micros) ([]Stream, error)

	// PutSubject puts a subject on a stream's list, in place of the entry of the same ID. ErrTooMany where the stream
	// has limit entries already and this is a new one; 0 is no limit. ErrNotFound where the stream is gone. The first entry
	// of a stream sets Stream.Listed and changes the generation; others do not. Entries go with their stream.
	PutSubject(ctx context.Context, e *SubjectEntry, limit int64) error
	// Subjects gives the entries of all streams that have one of the keys; each once.
	Subjects(ctx context.Context, keys [][16]byte) ([]SubjectEntry, error)

	// Acknowledge ends the delivery of polled SETs by jti (RFC 8936 §2.4): those of acks are delivered, those of refused are
	// set aside with Refusal.Reason. Unknown ones are ignored, and of one that is in both acks counts. It gives how many it
	// ended. What Done says of orders and of the history holds here, too.
	Acknowledge(ctx context.Context, stream int64, acks []string, refused []Refusal, at Micros) (int, error)
	// Redrive puts dead letters back among the waiting rows, each at its old Seq, and gives how many. Orders among
	// them that were OrderRejected or OrderExpired are OrderQueued again. Those of a disabled stream and of withdrawn
	// orders stay where they are. With DeadFilter.At their age counts from then, for every process.
	Redrive(ctx context.Context, which DeadFilter) (int, error)
	// Expire sets aside, with the reason "expired", up to n rows that wait since before the given moment (their event's At,
	// or the moment of their redrive), and gives how many. Orders among them become OrderExpired. An event without At does not
	// expire.
	Expire(ctx context.Context, before Micros, n int) (int, error)
	// Purge forgets history, skips and dead letters older than before, and events that no row needs, up to about n of
	// each; it gives how many rows went. Orders and receipts stay.
	Purge(ctx context.Context, before Micros, n int) (int, error)
	// Deliveries gives the history, latest first: what was delivered, set aside or skipped.
	Deliveries(ctx context.Context, which DeliveryFilter) ([]Delivery, error)

	// KeysInUse counts the rows, waiting and set aside, by the kid they will be signed with.
	KeysInUse(ctx context.Context) (map[string]int64, error)
	// Reissue lets again give each of up to n rows of a kid, waiting and set aside, a new identity: JTI, IssuedAt, KeyID,
	// Algorithm, and of an order Input and Order, of which JTI, SetHash, Input, IssuedAt and CompleteBy take the place of the
	// old ones; everything else of the row and of the order stays. It gives how many. again must not call
	// the store and may run more than once; where it returns an error, that error is returned and nothing was written.
	Reissue(ctx context.Context, kid string, n int, again func(stream int64, it *Item) (Row, error)) (int, error)
	// Shards renews this process's claim and gives the shards whose streams it delivers by push. A store of one process
	// gives AllShards. A process that dies is followed by others within 15 s.
	Shards(ctx context.Context) (Shards, error)

	// Orders gives orders with their receipts, latest first.
	Orders(ctx context.Context, which OrderFilter) ([]SentOrder, error)
	// WithdrawOrder notes that an order was withdrawn. Where its row still waits, the row is removed in the same transaction
	// and the order is OrderDropped. It returns the order as kept, with its receipts, or ErrNotFound; ErrConflict where it was
	// withdrawn already or has a final or amended receipt, and nothing is written then.
	WithdrawOrder(ctx context.Context, key OrderKey, at Micros, reason string) (*SentOrder, error)

	// Order gives an order sent to this receiver on a stream with this receipt issuer, with the receipts accepted
	// for it by rising seq, or ErrNotFound: for an unknown jti and for another receiver's alike.
	Order(ctx context.Context, key OrderKey) (*SentOrder, error)
	// AcceptReceipt finds the order of key (ErrNotFound as in Order), locks it, and asks decide what to do with
	// r. decide gets the order with its receipts, and what is known of r.JTI and r.Number elsewhere. It must
	// not call the store and may run more than once. Its verdict is carried out in the same transaction: Accept keeps
	// r; Dispute keeps r as evidence beside what was accepted and marks the order disputed;
	// Keep nothing writes nothing. The verdict is returned. A receipt whose content address is among the order's
	// receipts is never kept twice.
	AcceptReceipt(ctx context.Context, key OrderKey, r *KeptReceipt, decide func(*SentOrder, Elsewhere) Verdict) (Verdict, error)
}

// Stream is one event stream as the store keeps it.
type Stream struct {
	Key           int64    // of the store; set by CreateStream, never used twice
	ID            string   // stream_id, SSF 1.0 §8.1.1
	Receiver      string   // whose it is: Caller.Receiver at creation
	Audience      []string // aud of every SET; one value means a string in JSON. Never changes (TX-46)
	Requested     []string // events_requested; nil where the receiver said nothing
	Delivered     []string // events_delivered: what is matched
	Description   string
	Method        string // delivery method URN
	Endpoint      string // delivery.endpoint_url
	Authorization string // delivery.authorization_header: a secret, encrypted at rest by stores that have a key
	Algorithm     string // JOSE name of the signature; empty: the transmitter's default
	Status        string // Enabled, Paused or Disabled
	Reason        string // of the status
	// Receipts is the settings member as agreed (receipts design §3.2), as JSON; nil where the receiver did not ask.
	Receipts      json.RawMessage
	ReceiptIssuer string // receipt_issuer where receipts are active, else empty
	Window        int    // SETs in flight at once; 0: the pump's default
	// Name and Set name the resource of a stream that an operator made; empty for one that its receiver made.
	Name, Set string
	// DefaultSubjects is stream.DefaultAll or DefaultNone, fixed at creation; empty is ALL. Listed says that the stream
	// has subject entries: without one a stream with ALL takes every subject unasked.
	DefaultSubjects string
	Listed          bool
	// Naming says how people are named to this receiver, for Config.Name; nil: as the message names them.
	Naming            json.RawMessage
	MinVerification   int64 // seconds between verification requests; 0: Config.MinVerification
	InactivityTimeout int64 // seconds; 0: none (TX-53)
	// Shape is the form of SETs and configuration for receivers of older drafts; empty: SSF 1.0 (LEG).
	Shape      string
	Format     string // the format member of older drafts, kept and echoed (LEG-21)
	Active     Micros // last eligible activity, as far as Touch kept it
	Generation int64  // of the store when this stream last changed
	Created    Micros
	Updated    Micros
	Trouble    Trouble // back-off
}

// LogValue leaves out what may hold a secret.
func (s Stream) LogValue() slog.Value {
	return slog.GroupValue(slog.String("stream_id", s.ID), slog.String("receiver", s.Receiver), slog.String("status", s.Status))
}

// Trouble is the back-off of a stream. The zero value is none.
type Trouble struct {
	Fails  int    // failed tries in a row
	Next   Micros // no try before
	Since  Micros // the first of the failed tries
	Open   bool   // a fault of the stream's set-up: one probe at long intervals until it is put right
	Reason string // for operators; holds no token and no secret
}

// Outcomes of a Delivery.
const (
	Delivered    = "delivered"
	DeadLettered = "dead"
	Skipped      = "skipped"
)

// SubjectEntry is one subject on the list of a stream. Of a simple subject only its keys are kept.
type SubjectEntry struct {
	Stream  int64
	ID      [16]byte        // of the subject as a whole
	Keys    [][16]byte      // of its parts: what an event's parts are looked up by; at least one
	Subject json.RawMessage // canonical form of a complex or aliases subject; nil for a simple one, whose only key is its ID
	// Off says that the subject was removed: events about it are not sent from Until on (0: at once).
	Off      bool
	Until    Micros
	Verified bool // as the receiver said (TX-112)
	At       Micros
}

// ShardCount is how many shards streams are spread over.
const ShardCount = 256

// Shards is a set of shards.
type Shards [ShardCount / 64]uint64

// AllShards has every shard.
var AllShards = Shards{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}

// ShardOf gives the shard of a stream by its key.
func ShardOf(stream int64) int {
	h := uint64(stream) * 0x9e3779b97f4a7c15
	return int(h >> 56)
}

// Has reports whether the stream's shard is in the set.
func (s Shards) Has(stream int64) bool {
	n := ShardOf(stream)
	return s[n/64]&(1<<(n%64)) != 0
}

// Add puts a shard into the set.
func (s *Shards) Add(shard int) { s[shard/64] |= 1 << (shard % 64) }

// States of an order on its way (receipts design §6.7, the part before the first receipt).
const (
	OrderQueued    = "queued"
	OrderDelivered = "delivered" // the receiver answered 2xx
	OrderRejected  = "rejected"  // the receiver refused it on arrival
	OrderDropped   = "dropped"   // its stream was disabled or deleted, or it was withdrawn, first
	OrderExpired   = "expired"   // it waited too long
)

// OrderKey names an order as a receipt does: by the caller, the receipt's issuer, and the order's jti.
// The order's iss is the transmitter's own and is compared by the caller.
type OrderKey struct {
	Receiver      string
	ReceiptIssuer string
	JTI           string
}

// SentOrder is an order: a SET with a directive, sent on one stream where receipts are active.
type SentOrder struct {
	Key             int64 // of the store; rises
	JTI             string
	Receiver        string
	Stream          string // stream_id
	ReceiptIssuer   string
	ReceiptAudience string
	// Agreed is Stream.Receipts as it was when the order was sent: its receipts are known by these keys, also after
	// the stream was changed or is gone.
	Agreed       json.RawMessage
	SetHash      string // content address
	Input        string // header.payload
	EventType    string
	TXN          string
	IssuedAt     int64  // iat, seconds
	CompleteBy   int64  // seconds; 0: none
	InterimBy    int64  // seconds; 0: none
	When         string // receipt.when of the directive: when a receipt is due
	State        string
	Arrived      Micros // when the receiver took or refused it
	Withdrawn    Micros // 0: it stands
	WithdrawnWhy string
	Disputed     string        // why, where two stories were told; else empty
	Receipts     []KeptReceipt // accepted, by rising Seq
}

// OrderFilter narrows a list of orders. Empty members do not filter.
type OrderFilter struct {
	JTI      string
	SetHash  string
	TXN      string
	Receiver string
	Stream   string // stream_id
	State    string
	// Unanswered: without a final or amended receipt. DueBefore: with a CompleteBy before it, in seconds.
	Unanswered bool
	DueBefore  int64
	Before     int64 // Key of the last one seen; 0: from the latest
	N          int   // at most; 0: 100
}

// KeptReceipt is a receipt as it is kept for ever.
type KeptReceipt struct {
	JTI        string
	Issuer     string
	Number     string // receipt_no
	Seq        int
	Stage      string
	Outcome    string
	Hash       string // content address
	IssuedAt   int64  // iat, seconds
	ReceivedAt int64  // order.received_at as the receipt says it
	// Supersedes is supersedes.hash; empty at seq 1.
	Supersedes string
	Compact    string // the token as it came
	Accepted   Micros
	Gap        bool // a receipt before it is missing
	Late       bool // filed as history: it did not change the state of the order
}

// Elsewhere is what the store knows of a receipt's jti and number beyond the order.
type Elsewhere struct {
	// JTIHash is the content address of the receipt that was accepted under the same issuer and jti for any order.
	JTIHash string
	// NumberOrder is the jti of the order to which a receipt of the same issuer and number belongs.
	NumberOrder string
}

// Verdict says what becomes of a receipt.
type Verdict int

// The verdicts.
const (
	KeepNothing Verdict = iota // refused, or known already
	Accept                     // kept, and now part of the order
	Dispute                    // kept as evidence; the order is disputed
)
