package idp

import "context"

// Withdraw takes an order back.
func (p *Provider) Withdraw(ctx context.Context, jti, why string) error {
	_, err := p.t.Withdraw(ctx, jti, why)
	return err
}
