package server

import (
	"context"
	"fmt"
	"time"

	"countersign/internal/flow/ingest"
	"countersign/internal/hub"
	"countersign/internal/partner"
	"countersign/subject"
)

// receiveRules fills in what the receive door needs of a source besides its keys and its stream. A profile that this
// version does not know was refused at apply; one that a newer version wrote is an error here.
func receiveRules(in *ingest.Source, spec *hub.Source) error {
	in.Profile = spec.Profile
	profile, ok := partner.Find(spec.Profile)
	if !ok {
		return fmt.Errorf("there is no partner profile %q", spec.Profile)
	}
	var err error
	if in.Quirks, err = profile.QuirksWith(spec.Relax); err != nil {
		return fmt.Errorf("relax: %w", err)
	}
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
	return nil
}

// cure says what to change about a refused token, and on which side.
func cure(profile, code string, reason error) (text, side string) {
	p, _ := partner.Find(profile)
	text, side, id := partner.CureFor(p, code, reason)
	if id != "" {
		text += "; or allow it here with relax: [" + id + "]"
	}
	return text, side
}

// Refusals writes down at once what was refused, which otherwise takes a moment.
func (s *Server) Refusals(ctx context.Context) { s.refusals.Flush(ctx) }
