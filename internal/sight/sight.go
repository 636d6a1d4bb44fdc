package sight

import (
	"context"

	"countersign/transmitter"
)

// Streams is what is read of a tenant's *transmitter.Transmitter; the contracts are written there.
type Streams interface {
	Overview(ctx context.Context) ([]transmitter.StreamView, error)
	View(ctx context.Context, id string) (*transmitter.StreamView, error)
	Orders(ctx context.Context, which transmitter.OrderFilter) ([]transmitter.SentOrder, error)
	OrderOf(ctx context.Context, ref string) (*transmitter.SentOrder, error)
}

// Outbox is what is read of a tenant's transmitter.Store.
type Outbox interface {
	Stream(ctx context.Context, receiver, id string) (*transmitter.Stream, error)
	Next(ctx context.Context, stream, after int64, n int) ([]transmitter.Item, error)
	Dead(ctx context.Context, stream int64, n int) ([]transmitter.DeadLetter, error)
	Deliveries(ctx context.Context, which transmitter.DeliveryFilter) ([]transmitter.Delivery, error)
}
