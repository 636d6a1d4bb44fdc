package idp

import "context"

// Waiting is how many SETs the receiver has not acknowledged yet, on all its streams.
func (p *Provider) Waiting(ctx context.Context) (int64, error) {
	streams, err := p.store.Streams(ctx, receiver)
	if err != nil {
		return 0, err
	}
	var n int64
	for _, s := range streams {
		c, err := p.store.Counts(ctx, s.Key)
		if err != nil {
			return 0, err
		}
		n += c.Waiting
	}
	return n, nil
}
