package transmitter_test

import (
	"context"
	"errors"
	"net/url"

	"countersign/transmitter"
)

// notEvil is an AllowEndpoint that knows one bad host.
func notEvil(_ context.Context, _ transmitter.Caller, u *url.URL) error {
	if u.Hostname() == "evil.example" {
		return errors.New("the host is not on the list")
	}
	return nil
}

// brokenStore cannot create streams.
type brokenStore struct{ *transmitter.Memory }

func (*brokenStore) CreateStream(context.Context, *transmitter.Stream, bool) error {
	return errors.New("secret of the store")
}
