package enroll

import (
	"context"
	"iter"

	"countersign/internal/hub"
	"countersign/receiver"
)

// Subjects adds subjects to our stream at a source, or removes them, one by one and as fast as the transmitter takes them.
// progress is told of each. A transmitter answers alike for those it knows and those it does not, so nothing is concluded
// from its yes.
func (e *Enroller) Subjects(ctx context.Context, tenant, source string, remove bool, all iter.Seq[receiver.Subject], progress func(receiver.Progress)) (receiver.Progress, error) {
	src, err := e.Source(ctx, tenant, source)
	if err != nil {
		return receiver.Progress{}, err
	}
	if src == nil {
		return receiver.Progress{}, hub.Errorf(hub.NotFound, "there is no source %s", source)
	}
	s, err := Read(ctx, e.Store, tenant, source)
	if err != nil {
		return receiver.Progress{}, err
	}
	if s == nil || s.StreamID == "" {
		return receiver.Progress{}, hub.Errorf(hub.Conflict, "there is no stream at %s yet", source).WithHint("countersign source show %s", source)
	}
	c, err := e.calls(ctx, tenant, src)
	if err != nil {
		return receiver.Progress{}, e.outside(ctx, tenant, src, err)
	}
	md, _, err := e.metadata(ctx, c, tenant+"/"+source, e.placeOf(src), false)
	if err != nil {
		return receiver.Progress{}, e.outside(ctx, tenant, src, err)
	}
	endpoint, do := md.AddSubjectEndpoint, c.AddSubjects
	if remove {
		endpoint, do = md.RemoveSubjectEndpoint, c.RemoveSubjects
	}
	if endpoint == "" {
		return receiver.Progress{}, hub.Errorf(hub.Conflict, "the transmitter has no endpoint for subjects: the stream is about those that are set up there, often all")
	}
	told := func(p receiver.Progress) {
		if p.Err != nil {
			p.Err = e.outside(ctx, tenant, src, p.Err)
		}
		if progress != nil {
			progress(p)
		}
	}
	p, err := do(ctx, md, s.StreamID, all, receiver.Bulk{Progress: told})
	if err != nil && ctx.Err() == nil {
		err = e.outside(ctx, tenant, src, err)
	}
	return p, err
}
