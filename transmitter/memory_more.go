package transmitter

import (
	"context"
	"errors"
)

func (m *Memory) Announce(ctx context.Context, receiver, id string, change func(*Stream) (*Outgoing, error)) (*Stream, error) {
	return nil, errors.ErrUnsupported
}
func (m *Memory) Parting(ctx context.Context) ([]Item, error) {
	return nil, errors.ErrUnsupported
}
func (m *Memory) Touch(ctx context.Context, active map[int64]Micros) error {
	return errors.ErrUnsupported
}
func (m *Memory) Idle(ctx context.Context, now Micros) ([]Stream, error) {
	return nil, errors.ErrUnsupported
}
func (m *Memory) PutSubject(ctx context.Context, e *SubjectEntry, limit int64) error {
	return errors.ErrUnsupported
}
func (m *Memory) Subjects(ctx context.Context, keys [][16]byte) ([]SubjectEntry, error) {
	return nil, errors.ErrUnsupported
}
func (m *Memory) Acknowledge(ctx context.Context, stream int64, acks []string, refused []Refusal, at Micros) (int, error) {
	return 0, errors.ErrUnsupported
}
func (m *Memory) Redrive(ctx context.Context, which DeadFilter) (int, error) {
	return 0, errors.ErrUnsupported
}
func (m *Memory) Expire(ctx context.Context, before Micros, n int) (int, error) {
	return 0, errors.ErrUnsupported
}
func (m *Memory) Purge(ctx context.Context, before Micros, n int) (int, error) {
	return 0, errors.ErrUnsupported
}
func (m *Memory) Deliveries(ctx context.Context, which DeliveryFilter) ([]Delivery, error) {
	return nil, errors.ErrUnsupported
}
func (m *Memory) KeysInUse(ctx context.Context) (map[string]int64, error) {
	return nil, errors.ErrUnsupported
}
func (m *Memory) Reissue(ctx context.Context, kid string, n int, again func(stream int64, it *Item) (Row, error)) (int, error) {
	return 0, errors.ErrUnsupported
}
func (m *Memory) Shards(ctx context.Context) (Shards, error) {
	return Shards{}, errors.ErrUnsupported
}
func (m *Memory) Orders(ctx context.Context, which OrderFilter) ([]SentOrder, error) {
	return nil, errors.ErrUnsupported
}
func (m *Memory) WithdrawOrder(ctx context.Context, key OrderKey, at Micros, reason string) (*SentOrder, error) {
	return nil, errors.ErrUnsupported
}
