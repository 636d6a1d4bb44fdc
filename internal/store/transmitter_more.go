package store

import (
	"context"
	"errors"

	"countersign/transmitter"
)

func (v *Transmitter) Announce(ctx context.Context, receiver, id string, change func(*transmitter.Stream) (*transmitter.Outgoing, error)) (*transmitter.Stream, error) {
	return nil, errors.ErrUnsupported
}
func (v *Transmitter) Parting(ctx context.Context) ([]transmitter.Item, error) {
	return nil, errors.ErrUnsupported
}
func (v *Transmitter) Touch(ctx context.Context, active map[int64]transmitter.Micros) error {
	return errors.ErrUnsupported
}
func (v *Transmitter) Idle(ctx context.Context, now transmitter.Micros) ([]transmitter.Stream, error) {
	return nil, errors.ErrUnsupported
}
func (v *Transmitter) PutSubject(ctx context.Context, e *transmitter.SubjectEntry, limit int64) error {
	return errors.ErrUnsupported
}
func (v *Transmitter) Subjects(ctx context.Context, keys [][16]byte) ([]transmitter.SubjectEntry, error) {
	return nil, errors.ErrUnsupported
}
func (v *Transmitter) Acknowledge(ctx context.Context, stream int64, acks []string, refused []transmitter.Refusal, at transmitter.Micros) (int, error) {
	return 0, errors.ErrUnsupported
}
func (v *Transmitter) Redrive(ctx context.Context, which transmitter.DeadFilter) (int, error) {
	return 0, errors.ErrUnsupported
}
func (v *Transmitter) Expire(ctx context.Context, before transmitter.Micros, n int) (int, error) {
	return 0, errors.ErrUnsupported
}
func (v *Transmitter) Purge(ctx context.Context, before transmitter.Micros, n int) (int, error) {
	return 0, errors.ErrUnsupported
}
func (v *Transmitter) Deliveries(ctx context.Context, which transmitter.DeliveryFilter) ([]transmitter.Delivery, error) {
	return nil, errors.ErrUnsupported
}
func (v *Transmitter) KeysInUse(ctx context.Context) (map[string]int64, error) {
	return nil, errors.ErrUnsupported
}
func (v *Transmitter) Reissue(ctx context.Context, kid string, n int, again func(stream int64, it *transmitter.Item) (transmitter.Row, error)) (int, error) {
	return 0, errors.ErrUnsupported
}
func (v *Transmitter) Shards(ctx context.Context) (transmitter.Shards, error) {
	return transmitter.Shards{}, errors.ErrUnsupported
}
func (v *Transmitter) Orders(ctx context.Context, which transmitter.OrderFilter) ([]transmitter.SentOrder, error) {
	return nil, errors.ErrUnsupported
}
func (v *Transmitter) WithdrawOrder(ctx context.Context, key transmitter.OrderKey, at transmitter.Micros, reason string) (*transmitter.SentOrder, error) {
	return nil, errors.ErrUnsupported
}
