package server

import (
	"time"

	"countersign/internal/flow/ingest"
	"countersign/internal/hub"
	"countersign/subject"
)

// receiveRules fills in what the receive door needs of a source besides its keys and its stream.
func receiveRules(in *ingest.Source, spec *hub.Source) {
	in.Profile = spec.Profile
	if spec.Delivery == ingest.Poll {
		in.Door = ingest.Poll
	}
	if r := spec.Rate; r != nil {
		per, err := time.ParseDuration(r.Per)
		if err == nil && r.Signals > 0 && per > 0 {
			in.Rate, in.Per = r.Signals, per
		}
	}
	// The user and the session are always looked at (flow/correlate), other members where a way of the source names them.
	in.Interprets = []string{subject.PartUser, subject.PartSession}
	for _, c := range spec.Correlate {
		if c.Part != "" {
			in.Interprets = append(in.Interprets, c.Part)
		}
	}
}
