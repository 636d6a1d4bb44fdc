package store

import (
	"context"
	"encoding/json"
	"errors"

	"countersign/internal/hub"
	"countersign/transmitter"
)

var errSoon = errors.New("store: not there yet")

type Store struct{}

func Open(ctx context.Context, url string, cfg Config) (*Store, error) { return nil, errSoon }
func (s *Store) Close() error                                          { return errSoon }
func (s *Store) Ping(ctx context.Context) error                        { return errSoon }
func (s *Store) Stats() Stats                                          { return Stats{} }
func (s *Store) Engine() string                                        { return "" }

// Keep: fingerprint compares a second token of the same (tenant, source, jti). State SignalReceived (or empty) also makes the job "process".
func (s *Store) Keep(ctx context.Context, sig *hub.Signal, fingerprint string, out *transmitter.Outgoing, idem *Idempotency) (Kept, error) {
	return Kept{}, errSoon
}
func (s *Store) Signal(ctx context.Context, tenant, id string) (*hub.Signal, error) {
	return nil, errSoon
}
func (s *Store) SignalBySeq(ctx context.Context, seq int64) (*hub.Signal, error) { return nil, errSoon }
func (s *Store) SignalByJTI(ctx context.Context, tenant, source, jti string) (*hub.Signal, error) {
	return nil, errSoon
}
func (s *Store) ListSignals(ctx context.Context, tenant string, f SignalFilter, p hub.Page) (hub.Listed[*hub.Signal], error) {
	return hub.Listed[*hub.Signal]{}, errSoon
}
func (s *Store) CountClashes(ctx context.Context, tenant string) (int64, error) { return 0, errSoon }
func (s *Store) Clashes(ctx context.Context, tenant, source, jti string) ([]Clash, error) {
	return nil, errSoon
}
func (s *Store) SetUnresolved(ctx context.Context, signalSeq int64, job *hub.Job, reason string, misses []string, opt UnresolvedOptions) error {
	return errSoon
}
func (s *Store) RequeueUnresolved(ctx context.Context, tenant string) (int, error) { return 0, errSoon }

// Decide returns the jobs of the open actions, claimed by us, in the order of the actions (Ref is the action's seq).
// sig.IdentityName and sig.Misses are written too.
func (s *Store) Decide(ctx context.Context, sig *hub.Signal, d *hub.Decision, actions []*hub.Action, job *hub.Job, opt DecideOptions) ([]hub.Job, error) {
	return nil, errSoon
}
func (s *Store) DecisionOf(ctx context.Context, signalSeq int64) (*hub.Decision, error) {
	return nil, errSoon
}

// CountPeople: others is how many other identities were charged, counted whether this one was.
func (s *Store) CountPeople(ctx context.Context, tenant, scope, identity string, since hub.Micros) (others int, counted bool, err error) {
	return 0, false, errSoon
}

func (s *Store) Action(ctx context.Context, tenant, id string) (*hub.Action, error) {
	return nil, errSoon
}
func (s *Store) ActionBySeq(ctx context.Context, seq int64) (*hub.Action, error) { return nil, errSoon }
func (s *Store) ActionsOf(ctx context.Context, signalSeq int64) ([]*hub.Action, error) {
	return nil, errSoon
}
func (s *Store) ListActions(ctx context.Context, tenant string, f ActionFilter, p hub.Page) (hub.Listed[*hub.Action], error) {
	return hub.Listed[*hub.Action]{}, errSoon
}
func (s *Store) BeginAttempt(ctx context.Context, a *hub.Action, at *hub.Attempt, job *hub.Job) error {
	return errSoon
}

// SaveAction: next nil: the job is done, else it is due again then and free.
func (s *Store) SaveAction(ctx context.Context, a *hub.Action, at *hub.Attempt, job *hub.Job, next *hub.Micros, add []*hub.Action) ([]hub.Job, error) {
	return nil, errSoon
}

func (s *Store) OrderForCut(ctx context.Context, signalSeq int64) (*hub.Signal, []*hub.Action, error) {
	return nil, nil, errSoon
}

// SaveReceipt: next nil: the cut job is done, else due again. The send job, claimed by us, comes back when r.State is queued.
func (s *Store) SaveReceipt(ctx context.Context, r *hub.Receipt, prevSeq int, job *hub.Job, next *hub.Micros) (*hub.Job, error) {
	return nil, errSoon
}
func (s *Store) Receipt(ctx context.Context, tenant, id string) (*hub.Receipt, error) {
	return nil, errSoon
}
func (s *Store) ReceiptBySeq(ctx context.Context, seq int64) (*hub.Receipt, error) {
	return nil, errSoon
}
func (s *Store) ReceiptsOf(ctx context.Context, signalSeq int64) ([]*hub.Receipt, error) {
	return nil, errSoon
}
func (s *Store) ListReceipts(ctx context.Context, tenant string, f ReceiptFilter, p hub.Page) (hub.Listed[*hub.Receipt], error) {
	return hub.Listed[*hub.Receipt]{}, errSoon
}
func (s *Store) MarkReceipt(ctx context.Context, r *hub.Receipt, job *hub.Job, next *hub.Micros) error {
	return errSoon
}

// SendAgain queues the latest receipt of an order again unless that was done after notSince; false: nothing to send.
func (s *Store) SendAgain(ctx context.Context, signalSeq int64, notSince hub.Micros) (*hub.Job, error) {
	return nil, errSoon
}

func (s *Store) ClaimJobs(ctx context.Context, kinds []string, n int) ([]hub.Job, error) {
	return nil, errSoon
}

// RenewJobs gives each job a new lease; jobs that others hold by now are left alone.
func (s *Store) RenewJobs(ctx context.Context, jobs []hub.Job) error { return errSoon }

// Transmitter gives the view of one tenant that implements transmitter.Store.
func (s *Store) Transmitter(tenant string, seal Sealer) *Transmitter { return nil }

type Transmitter struct{}

// FinishJob ends a job that has no write of its own: next nil: done, else free and due then.
func (s *Store) FinishJob(ctx context.Context, job *hub.Job, next *hub.Micros) error { return errSoon }

// Enqueue makes a job; one of the same kind and key that is there becomes due at job.Due if that is sooner.
func (s *Store) Enqueue(ctx context.Context, tenant string, job hub.Job) error { return errSoon }
func (s *Store) NextDue(ctx context.Context) (hub.Micros, error)               { return 0, errSoon }

func (s *Store) Apply(ctx context.Context, tenant string, changes []Change) (int64, error) {
	return 0, errSoon
}
func (s *Store) Resources(ctx context.Context, tenant string, kind hub.Kind) ([]hub.Resource, error) {
	return nil, errSoon
}
func (s *Store) ListResources(ctx context.Context, tenant string, kind hub.Kind, p hub.Page) (hub.Listed[hub.Resource], error) {
	return hub.Listed[hub.Resource]{}, errSoon
}
func (s *Store) Resource(ctx context.Context, tenant string, kind hub.Kind, name string) (*hub.Resource, error) {
	return nil, errSoon
}
func (s *Store) Generation(ctx context.Context, tenant string) (int64, error) { return 0, errSoon }
func (s *Store) FindIdentityByEmail(ctx context.Context, tenant, email string) ([]string, error) {
	return nil, errSoon
}
func (s *Store) FindIdentityByAccount(ctx context.Context, tenant, place, id string) ([]string, error) {
	return nil, errSoon
}
func (s *Store) Identity(ctx context.Context, tenant, name string) (*hub.Identity, error) {
	return nil, errSoon
}

func (s *Store) PutSecret(ctx context.Context, tenant, name string, sealed []byte) error {
	return errSoon
}
func (s *Store) Secret(ctx context.Context, tenant, name string) ([]byte, error) { return nil, errSoon }
func (s *Store) ListSecrets(ctx context.Context, tenant string) ([]SecretInfo, error) {
	return nil, errSoon
}
func (s *Store) DeleteSecret(ctx context.Context, tenant, name string) error { return errSoon }

func (s *Store) PutKey(ctx context.Context, k Key) error                { return errSoon }
func (s *Store) Keys(ctx context.Context, tenant string) ([]Key, error) { return nil, errSoon }

func (s *Store) PutToken(ctx context.Context, t Token) error                    { return errSoon }
func (s *Store) TokenByHash(ctx context.Context, hash []byte) (*Token, error)   { return nil, errSoon }
func (s *Store) ListTokens(ctx context.Context, tenant string) ([]Token, error) { return nil, errSoon }
func (s *Store) RevokeToken(ctx context.Context, tenant, id string) error       { return errSoon }

// SourceStream gives nil where none is stored.
func (s *Store) SourceStream(ctx context.Context, tenant, source string) (json.RawMessage, error) {
	return nil, errSoon
}
func (s *Store) PutSourceStream(ctx context.Context, tenant, source string, state json.RawMessage) error {
	return errSoon
}

func (s *Store) ClaimKey(ctx context.Context, tenant string, idem Idempotency) (KeyAnswer, error) {
	return KeyAnswer{}, errSoon
}
func (s *Store) FinishKey(ctx context.Context, tenant string, idem Idempotency, status int, body []byte) error {
	return errSoon
}
