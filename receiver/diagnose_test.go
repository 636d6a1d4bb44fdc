package receiver_test

import (
	"context"
	"testing"

	"countersign/receiver"
	"countersign/set"
)

// counted are keys that say how often they were looked for: once for each signature.
type counted struct {
	set.StaticKeys
	n *int
}

func (c counted) Find(ctx context.Context, kid string) ([]set.Key, error) {
	*c.n++
	return c.StaticKeys.Find(ctx, kid)
}

// However odd a token is, finding out which quirks it would need costs one more signature and no more.
func TestRefusalCostsTwoSignatures(t *testing.T) {
	for name, r := range rows(t) {
		b, n := newBench(t), 0
		strict := b.handler.Policy
		b.handler.Policy = func(ctx context.Context) (*set.Policy, error) {
			p, err := strict(ctx)
			if err != nil {
				return nil, err
			}
			p.Keys = counted{set.StaticKeys{newSigner().Public()}, &n}
			return p, nil
		}
		b.handler.Quirks = receiver.Quirks{PlainJWT: true}
		if b.do(push(r.token(t))); n > 2 {
			t.Errorf("%s: %d signatures were verified", name, n)
		}
	}
}
