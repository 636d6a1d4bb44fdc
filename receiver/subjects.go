package receiver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"time"

	"countersign/stream"
	"countersign/subject"
)

// AddSubject adds a subject to a stream (SSF 1.0 §8.1.3.2). verified says whether we know that the subject is ours; nil:
// not said, which is taken as true. Success proves nothing about events to come (RX-34, Q-21): a transmitter answers the same
// for subjects it does not know.
func (c *Client) AddSubject(ctx context.Context, md *stream.Metadata, id string, sub subject.Identifier, verified *bool) error {
	return c.subject(ctx, "add subject", md.AddSubjectEndpoint, id, sub, verified)
}

// RemoveSubject takes a subject from a stream (SSF 1.0 §8.1.3.3). Events about it may come for a while yet (RX-35).
func (c *Client) RemoveSubject(ctx context.Context, md *stream.Metadata, id string, sub subject.Identifier) error {
	return c.subject(ctx, "remove subject", md.RemoveSubjectEndpoint, id, sub, nil)
}

func (c *Client) subject(ctx context.Context, operation, endpoint, id string, sub subject.Identifier, verified *bool) error {
	if id == "" {
		return fmt.Errorf("%w: %s: stream_id is missing", stream.ErrInvalid, operation)
	}
	raw, err := json.Marshal(sub)
	if err != nil || sub.Format() == "" {
		return fmt.Errorf("%w: %s: subject names nobody", stream.ErrInvalid, operation)
	}
	// RX-33: any 2xx, whatever the body.
	return c.call(ctx, call{operation: operation, method: http.MethodPost, url: endpoint, bodyID: id,
		body: stream.SubjectRequest{StreamID: id, Subject: raw, Verified: verified}})
}

// Subject is one row of a bulk change.
type Subject struct {
	Identifier subject.Identifier
	Verified   *bool // of an addition; nil: not said
}

// Progress is how far a bulk change of subjects has come.
type Progress struct {
	Done    int // subjects that the transmitter took
	Refused int // subjects that it refused, or that name nobody; the others go on
	// Row is the place of the last subject in the sequence, counted from 1: where a call that was ended may go on.
	Row int
	// Err is why that subject was refused; nil: it was taken.
	Err error
}

// Bulk is how Client.AddSubjects and RemoveSubjects go about it. The zero Bulk is usual.
type Bulk struct {
	// Tries is how often a subject is tried while the transmitter is in trouble or asks us to wait. 0: 8.
	Tries int
	// Progress is told of each subject, in the order of the sequence. Nil: nobody is told.
	Progress func(Progress)
}

// bulkFaults is how many subjects may be refused one after the other before the fault must be elsewhere.
const bulkFaults = 100

// ErrBulk ends a bulk change whose further calls would be refused like those before.
var ErrBulk = errors.New("receiver: the transmitter refuses one subject after the other")

// AddSubjects adds subjects one by one, as the specification has no other way, and waits where the transmitter asks for it
// (429, 5xx, Retry-After). A subject that is refused is counted and the next one is tried; what concerns all of them (no
// endpoint, 401, 403, 404 of the stream, a hundred refusals in a row, the end of ctx) ends the call with an error. Adding a subject again does no harm,
// so a call that was ended may be repeated from the start or from the row after Progress.Row.
func (c *Client) AddSubjects(ctx context.Context, md *stream.Metadata, id string, all iter.Seq[Subject], how Bulk) (Progress, error) {
	return c.bulk(ctx, all, how, func(s Subject) error { return c.AddSubject(ctx, md, id, s.Identifier, s.Verified) })
}

// RemoveSubjects is AddSubjects for taking subjects away.
func (c *Client) RemoveSubjects(ctx context.Context, md *stream.Metadata, id string, all iter.Seq[Subject], how Bulk) (Progress, error) {
	return c.bulk(ctx, all, how, func(s Subject) error { return c.RemoveSubject(ctx, md, id, s.Identifier) })
}

func (c *Client) bulk(ctx context.Context, all iter.Seq[Subject], how Bulk, one func(Subject) error) (Progress, error) {
	var p Progress
	tries, faults := how.Tries, 0
	if tries <= 0 {
		tries = 8
	}
	for s := range all {
		err := patiently(ctx, tries, func() error { return one(s) })
		if ends(err) || ctx.Err() != nil {
			return p, errors.Join(err, ctx.Err())
		}
		p.Row, p.Err = p.Row+1, err
		if err != nil {
			p.Refused, faults = p.Refused+1, faults+1
		} else {
			p.Done, faults = p.Done+1, 0
		}
		if how.Progress != nil {
			how.Progress(p)
		}
		if faults == bulkFaults {
			return p, fmt.Errorf("%w, the last one so: %w", ErrBulk, err)
		}
	}
	p.Err = nil
	return p, nil
}

// ends tells whether an error is about the call as such and not about its subject.
func ends(err error) bool {
	if err == nil || errors.Is(err, stream.ErrInvalid) {
		return false
	}
	apiErr, ok := errors.AsType[*APIError](err)
	return !ok || apiErr.Status != http.StatusBadRequest && apiErr.Status != http.StatusUnprocessableEntity && apiErr.Status != http.StatusConflict
}

// patiently repeats a call while its error is temporary, with the pauses of a back-off.
func patiently(ctx context.Context, tries int, do func() error) error {
	for n := 1; ; n++ {
		err := do()
		if err == nil || n >= tries || ctx.Err() != nil || !temporary(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(backOff(n, time.Second, time.Minute, err)):
		}
	}
}
