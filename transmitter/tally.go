package transmitter

import "context"

// Tally is what there is of one stream in figures.
type Tally struct {
	Key      int64
	StreamID string
	Counts
	Failing bool // it is in back-off, or its set-up is at fault
}

// TallyStore is what a Store may have besides, so that counting what 10,000 streams have is one question and not 10,000.
type TallyStore interface {
	// Tallies counts what every stream of every receiver has.
	Tallies(ctx context.Context) ([]Tally, error)
}

// Tallies counts what every stream has. It is Overview for metrics: without the settings.
func (t *Transmitter) Tallies(ctx context.Context) ([]Tally, error) {
	store, ok := t.cfg.Store.(TallyStore)
	if !ok {
		views, err := t.Overview(ctx)
		all := make([]Tally, len(views))
		for i := range views {
			s := &views[i].Stream
			all[i] = Tally{s.Key, s.ID, views[i].Counts, s.Trouble.Fails > 0 || s.Trouble.Open}
		}
		return all, err
	}
	all, err := store.Tallies(ctx)
	p := t.Pump
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range all {
		if key := all[i].Key; p.running && p.shards.Has(key) { // what we deliver ourselves we know better than the store
			tr := p.trouble[key]
			all[i].Failing = tr.Fails > 0 || tr.Open
		}
	}
	return all, err
}
