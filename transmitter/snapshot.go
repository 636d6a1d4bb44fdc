package transmitter

import (
	"context"
	"maps"
	"slices"
)

// snapshot is the streams as one generation of the store has them. Nothing in it is changed.
type snapshot struct {
	generation int64
	byKey      map[int64]*Stream
	byID       map[string]*Stream
	byType     map[string][]*Stream // streams that are not disabled, by event type delivered
	byReceiver map[string][]*Stream
}

func newSnapshot(streams []Stream, generation int64) *snapshot {
	s := &snapshot{generation: generation, byKey: make(map[int64]*Stream, len(streams)), byID: make(map[string]*Stream, len(streams)),
		byType: map[string][]*Stream{}, byReceiver: map[string][]*Stream{}}
	for i := range streams {
		st := &streams[i]
		s.byKey[st.Key], s.byID[st.ID] = st, st
		s.byReceiver[st.Receiver] = append(s.byReceiver[st.Receiver], st)
		for _, typ := range told(st) {
			s.byType[typ] = append(s.byType[typ], st)
		}
	}
	return s
}

// told gives the event types that a stream is looked at for. SSF 1.0 §8.1.2.1: nothing is held for a disabled stream.
func told(s *Stream) []string {
	if s.Status == Disabled {
		return nil
	}
	return s.Delivered
}

// with gives the snapshot after the streams changed or were made.
func (s *snapshot) with(changed []Stream, generation int64) *snapshot {
	now := &snapshot{generation: generation, byKey: maps.Clone(s.byKey), byID: maps.Clone(s.byID),
		byType: maps.Clone(s.byType), byReceiver: maps.Clone(s.byReceiver)}
	own := map[string]bool{} // lists that are copies already
	for i := range changed {
		st := &changed[i]
		if was := now.byKey[st.Key]; was != nil {
			delete(now.byID, was.ID)
			for _, typ := range told(was) {
				now.byType[typ] = without(now.byType[typ], st.Key, own, "type "+typ)
			}
			now.byReceiver[was.Receiver] = without(now.byReceiver[was.Receiver], st.Key, own, "receiver "+was.Receiver)
		}
		now.byKey[st.Key], now.byID[st.ID] = st, st
		for _, typ := range told(st) {
			now.byType[typ] = including(now.byType[typ], st, own, "type "+typ)
		}
		now.byReceiver[st.Receiver] = including(now.byReceiver[st.Receiver], st, own, "receiver "+st.Receiver)
	}
	return now
}

// place is where a stream stands or belongs in a list, which is by rising key.
func place(list []*Stream, key int64) (int, bool) {
	return slices.BinarySearchFunc(list, key, func(s *Stream, key int64) int { return int(min(max(s.Key-key, -1), 1)) })
}

func without(list []*Stream, key int64, own map[string]bool, name string) []*Stream {
	i, ok := place(list, key)
	if !ok {
		return list
	}
	return slices.Delete(mine(list, own, name), i, i+1)
}

func including(list []*Stream, s *Stream, own map[string]bool, name string) []*Stream {
	i, ok := place(list, s.Key)
	list = mine(list, own, name)
	if ok {
		list[i] = s
		return list
	}
	return slices.Insert(list, i, s)
}

// mine gives a list that may be changed: the one before belongs to the snapshot before.
func mine(list []*Stream, own map[string]bool, name string) []*Stream {
	if own[name] {
		return list
	}
	own[name] = true
	return slices.Clone(list)
}

// reload reads the streams anew and hands them to the pump.
func (t *Transmitter) reload(ctx context.Context) (*snapshot, error) {
	t.reloading.Lock()
	defer t.reloading.Unlock()
	streams, generation, err := t.cfg.Store.AllStreams(ctx)
	if err != nil {
		return nil, err
	}
	old := t.streams.Load()
	if old != nil && generation < old.generation {
		return old, nil
	}
	s := newSnapshot(streams, generation)
	t.streams.Store(s)
	t.Pump.adopt(old, s)
	return s, nil
}

// current gives the snapshot in memory, read where there is none yet.
func (t *Transmitter) current(ctx context.Context) (*snapshot, error) {
	if s := t.streams.Load(); s != nil {
		return s, nil
	}
	return t.reload(ctx)
}

// StreamsSince is what a Store may have besides, so that a change of one stream among many costs little.
type StreamsSince interface {
	// StreamsSince gives the streams that changed or were made after a generation, how many there are in all, and the
	// generation that this is true of. Whoever has those of before and ends up with more than there are knows that some
	// were deleted, and reads them all.
	StreamsSince(ctx context.Context, generation int64) (changed []Stream, all int, now int64, err error)
}

// refresh is reload that reads no more than what changed, where the store can tell. What it does not see is what changes no
// generation: how deliveries went.
func (t *Transmitter) refresh(ctx context.Context) (*snapshot, error) {
	since, ok := t.cfg.Store.(StreamsSince)
	if !ok || t.streams.Load() == nil {
		return t.reload(ctx)
	}
	s, err := t.catchUp(ctx, since)
	if s == nil && err == nil {
		return t.reload(ctx)
	}
	return s, err
}

// catchUp adds to the streams in memory what changed; nil where that is not all.
func (t *Transmitter) catchUp(ctx context.Context, since StreamsSince) (*snapshot, error) {
	t.reloading.Lock()
	defer t.reloading.Unlock()
	old := t.streams.Load()
	changed, all, generation, err := since.StreamsSince(ctx, old.generation)
	if err != nil || generation <= old.generation {
		return old, err
	}
	s := old.with(changed, generation)
	if len(s.byKey) != all {
		return nil, nil
	}
	t.streams.Store(s)
	t.Pump.adopt(old, s)
	return s, nil
}
