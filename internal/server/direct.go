package server

import (
	"context"

	"countersign/internal/hub"
	"countersign/transmitter"
)

// streamOffice is a tenant's transmitter as operators use it. A receiver without a stream API (deliver.direct) is sent
// events about people and nothing about its stream, which it would refuse.
type streamOffice struct {
	*transmitter.Transmitter
	t *tenant
}

// direct gives the stream where its resource says that the receiver has no stream API; nil for any other.
func (o streamOffice) direct(ctx context.Context, id string) (*transmitter.Stream, error) {
	all, err := o.t.list(ctx)
	if err != nil {
		return nil, err
	}
	v := o.t.view.Load()
	for i := range all {
		if spec := v.streams[all[i].Name]; all[i].ID == id && spec != nil && spec.Deliver.Direct {
			return &all[i], nil
		}
	}
	return nil, nil
}

// Verification sends a verification event, where the receiver knows what that is.
func (o streamOffice) Verification(ctx context.Context, id string) error {
	st, err := o.direct(ctx, id)
	if err != nil {
		return err
	}
	if st != nil {
		return hub.Errorf(hub.Conflict, "the receiver of %s has no stream API (deliver.direct), and is sent no verification event", st.Name).
			WithHint("countersign signal send --stream %s sends it an event", st.Name)
	}
	return o.Transmitter.Verification(ctx, id)
}

// SetStatus changes a status, and tells the receiver where it knows what that is.
func (o streamOffice) SetStatus(ctx context.Context, id, status, reason string) (*transmitter.Stream, error) {
	st, err := o.direct(ctx, id)
	if err != nil {
		return nil, err
	}
	known := status == transmitter.Enabled || status == transmitter.Paused || status == transmitter.Disabled
	if st == nil || !known {
		return o.Transmitter.SetStatus(ctx, id, status, reason)
	}
	now := transmitter.At(o.t.s.now())
	kept, err := o.t.s.store.Transmitter(o.t.name, o.t.s.vault).UpdateStream(ctx, st.Receiver, st.ID, func(st *transmitter.Stream) error {
		if st.Status != status {
			st.Status, st.Reason, st.Updated = status, reason, now
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return kept, o.Transmitter.Reload(ctx)
}
