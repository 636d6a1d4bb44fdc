package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"countersign/stream"
)

const (
	lotLists  = 10        // streams that have lists
	lotPeople = 1_000_000 // on each list
)

// lot is a hub with everything that costs memory at once: 10,000 streams, 10 million stream-subject pairs, and a thousand
// polls over TLS, which one event wakes. Beside it stands what looking a person up takes at a cache of 64 MB.
func lot(ctx context.Context, opt Options) (*Result, error) {
	if opt.Database != "" || opt.FillSubjects == nil {
		return nil, errors.New("lot is measured on SQLite")
	}
	if opt.Alg == "" {
		opt.Alg = "ES256"
	}
	n := idleCount
	if opt.Rows > 0 {
		n = max(opt.Rows, parkedPolls+lotLists)
	}
	r := &Result{Alg: opt.Alg, FanOut: n}
	g, err := newRig(ctx, opt, props{})
	defer g.close()
	if err != nil {
		return nil, err
	}
	made, err := g.makeStreams(ctx, n, func(i int) *stream.Configuration {
		if i < parkedPolls {
			return &stream.Configuration{EventsRequested: []string{sessionRevoked}, Delivery: &stream.Delivery{Method: stream.PollMethod}}
		}
		return &stream.Configuration{EventsRequested: []string{sessionPresented},
			Delivery: &stream.Delivery{Method: stream.PushMethod, EndpointURL: fmt.Sprintf("https://localhost:9/s%d", i)}}
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(opt.Out, "%d streams\n", n)
	g.hub.Stop()
	var listed []string
	for _, s := range made[parkedPolls : parkedPolls+lotLists] {
		listed = append(listed, s.StreamID)
	}
	if r.Lookup, err = opt.FillSubjects(ctx, filepath.Join(g.hub.Dir, "countersign.db"), listed, lotPeople); err != nil {
		return nil, err
	}
	r.Lookup = round(r.Lookup, 1)
	fmt.Fprintf(opt.Out, "%d stream-subject pairs\n", lotLists*lotPeople)
	if err := g.hub.Start(ctx); err != nil {
		return nil, err
	}
	r.IdleRSS = round(g.rest(), 1)
	if err := g.parkAndWake(ctx, r, made[:parkedPolls]); err != nil {
		return nil, err
	}
	_, after := usage(g.hub.PID())
	r.RSS = max(r.RSS, round(after, 1))
	return r, nil
}
