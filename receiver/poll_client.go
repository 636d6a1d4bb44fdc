package receiver

import (
	"context"
	"errors"
	"net/http"
	"time"

	"countersign/stream"
)

// pollTimeout bounds a poll of a Client without an HTTP client of its own: a transmitter may hold one open for a while.
const pollTimeout = 2 * time.Minute

// Poll asks for SETs at the endpoint_url of a stream with poll delivery, and says what became of those that came before
// (RFC 8936 §2.4). SETs stay at the transmitter until a later request acknowledges or refuses them, so acknowledge what was
// kept and not before; what an answer that was lost held comes again. Handler.Take judges each.
//
// Unless returnImmediately is set the transmitter holds the request until there is something: let the HTTP client wait longer
// than that, or end it with ctx.
func (c *Client) Poll(ctx context.Context, endpoint string, req *stream.PollRequest) (*stream.PollResponse, error) {
	var out stream.PollResponse
	patient := *c
	if patient.HTTP == nil {
		patient.HTTP = &http.Client{Timeout: pollTimeout}
	}
	err := patient.call(ctx, call{operation: "poll", method: http.MethodPost, url: endpoint, body: req, into: &out, max: stream.MaxPollAnswer})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// Take does with a polled SET what ServeHTTP does with a pushed one. Nil means that it was kept: acknowledge it. A
// stream.WireError refuses it for good: report it in setErrs. Any other error says to do neither, so that it comes again.
func (h *Handler) Take(ctx context.Context, compact string) error {
	a := h.judge(ctx, compact)
	if a == nil {
		return nil
	}
	if h.Report != nil {
		h.Report(ctx, a.status, a.wire.Err, a.reason)
	}
	if a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests {
		if a.reason == nil {
			return errors.New("receiver: not now")
		}
		return a.reason
	}
	return a.wire
}
