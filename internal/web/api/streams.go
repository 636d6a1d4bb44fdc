package api

import (
	"context"

	"countersign/internal/sight"
	"countersign/subject"
	"countersign/transmitter"
)

// Streams is what this door needs of a tenant's *transmitter.Transmitter; the contracts are written there.
type Streams interface {
	sight.Streams
	SetStatus(ctx context.Context, id, status, reason string) (*transmitter.Stream, error)
	Verification(ctx context.Context, id string) error
	RemoveStream(ctx context.Context, id string) error
	ListSubject(ctx context.Context, id string, sub subject.Identifier, on, verified bool) error
	Send(ctx context.Context, m transmitter.Message) (*transmitter.Sent, error)
	Explain(ctx context.Context, m transmitter.Message, id string) (*transmitter.Explanation, error)
	Withdraw(ctx context.Context, ref, reasonAdmin string) (*transmitter.SentOrder, error)
	Redrive(ctx context.Context, which transmitter.DeadFilter) (int, error)
	KeysInUse(ctx context.Context) (map[string]int64, error)
}

// Outbox is what this door reads of a tenant's transmitter.Store.
type Outbox = sight.Outbox

// KeyRing changes a tenant's signing keys while the hub runs. Errors are hub.Errors.
type KeyRing interface {
	// List gives every key that is still known, with its state.
	List(ctx context.Context, tenant string) ([]KeyInfo, error)
	// Rotate makes the next key of an algorithm. It is published at once and signs after receivers have had the time to
	// learn it, or now. hub.Conflict where one of that algorithm is under way already.
	Rotate(ctx context.Context, tenant, alg string, now bool) (KeyInfo, error)
	// Retire ends a key: at once where it is compromised, and what waits under it is signed anew; else once nothing waits
	// under it. hub.Conflict for the only key of an algorithm that streams need.
	Retire(ctx context.Context, tenant, kid string, compromised bool) (KeyInfo, error)
}
