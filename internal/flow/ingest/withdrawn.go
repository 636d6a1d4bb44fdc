package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"countersign/internal/hub"
	"countersign/receiver"
	"countersign/subject"
)

// orderMayCome is how long a withdrawal waits for its order: two SETs about different subjects may overtake each other.
const orderMayCome = 2 * time.Minute

// withdrawn takes an order back (receipts design §6.6): what has not begun will not begin, what has begun ends as it
// would, and the final receipt says so. The withdrawal itself is kept as a signal with nothing to do, as evidence.
// It comes before that: a sender that heard nothing sends it again, and doing it twice changes nothing.
func (d *Door) withdrawn(ctx context.Context, s *Source, sig *hub.Signal) error {
	var event struct {
		SetHash string `json:"set_hash"`
	}
	if err := json.Unmarshal(sig.Event, &event); err != nil || event.SetHash == "" {
		return &receiver.Refusal{Description: "a withdrawal names the set_hash of its order"}
	}
	id, err := subject.Parse(sig.SubID)
	if err != nil || id.Format() != subject.FormatJWTID || id.Get("iss") != s.Issuer {
		return &receiver.Refusal{Description: "sub_id of a withdrawal is the jwt_id of an order of yours"}
	}
	sig.State = hub.SignalDone
	sig.Reason = "its sender took an order back"
	seq, err := d.Store.OrderWithdrawn(ctx, s.Tenant, s.Name, id.Get("jti"), event.SetHash, sig.Received)
	switch {
	case err == nil:
		d.Log.InfoContext(ctx, "an order was withdrawn by its sender", "source", s.Name, "order", id.Get("jti"))
		d.Withdrawn(seq)
		return nil
	case hub.CodeOf(err) == hub.Unavailable:
		return &receiver.Busy{Err: err}
	case hub.CodeOf(err) != hub.NotFound:
		return err
	case d.Now().Before(time.Unix(sig.IssuedAt, 0).Add(orderMayCome)):
		return &receiver.Busy{RetryAfter: 5 * time.Second, Err: errors.New("the order is not here yet")}
	}
	sig.Reason = "its sender took back an order that never came"
	return nil
}
