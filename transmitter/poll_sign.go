package transmitter

import "fmt"

// signPolled makes the token of a row for a poll, under the same limit of signatures at once as pushes.
func (t *Transmitter) signPolled(it *Item, st *Stream) (string, error) {
	t.Pump.signing <- struct{}{}
	defer func() { <-t.Pump.signing }()
	s := t.keys().byKid[it.KeyID]
	if s == nil {
		return "", fmt.Errorf("signing key %q is not here", it.KeyID)
	}
	input := it.Input
	if input == "" {
		var buf [1024]byte
		input = s.Input(appendClaims(buf[:0], claimsStart(t.cfg.Issuer, st.Audience), it.IssuedAt, it.JTI, it.Event.Body))
	}
	return s.Complete(input)
}
