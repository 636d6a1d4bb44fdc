package server

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"countersign/internal/flow/enroll"
	"countersign/internal/hub"
	"countersign/internal/store"
	"countersign/internal/vault"
	"countersign/set"
	"countersign/stream"
)

// sealed is the vault as enrolling needs it: secrets by name, and blobs for a state.
type sealed struct {
	*vault.Secrets
	v *vault.Vault
}

// Seal seals a blob.
func (s sealed) Seal(purpose, name string, plain []byte) []byte {
	return s.v.Seal(purpose, name, plain)
}

// Open opens one.
func (s sealed) Open(purpose, name string, sealed []byte) ([]byte, error) {
	return s.v.Open(purpose, name, sealed)
}

// rounds lets those who want the resources read again share one reading that begins after all of them asked.
type rounds struct {
	mu   sync.Mutex
	next *round
}

type round struct {
	done chan struct{}
	err  error
}

// again reads the resources again, together with others who want that: with hundreds of sources their streams are made at
// the same time, and each of them says so.
func (t *tenant) again(ctx context.Context) error {
	t.rounds.mu.Lock()
	if r := t.rounds.next; r != nil {
		t.rounds.mu.Unlock()
		select {
		case <-r.done:
			return r.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r := &round{done: make(chan struct{})}
	t.rounds.next = r
	t.rounds.mu.Unlock()
	defer close(r.done)
	t.reloading.Lock()
	defer t.reloading.Unlock()
	t.rounds.mu.Lock()
	t.rounds.next = nil // who asks from here on gets another one
	t.rounds.mu.Unlock()
	r.err = t.read(context.WithoutCancel(ctx))
	return r.err
}

// metadataKeys are the keys of a source whose metadata nobody has read yet: it is read when its first token comes.
type metadataKeys struct {
	s            *Server
	tenant, name string
}

// Find reads the metadata where that is not done, and looks in the key set that it names.
func (k metadataKeys) Find(ctx context.Context, kid string) ([]set.Key, error) {
	t, err := k.s.must(k.tenant)
	if err != nil {
		return nil, err
	}
	src := t.view.Load().sources[k.name]
	if src == nil {
		return nil, set.ErrKeysUnavailable
	}
	uri, err := k.s.enroller.KeysURI(ctx, k.tenant, src.spec)
	if err != nil {
		k.s.log.WarnContext(ctx, "the metadata of a source cannot be read, so its keys are not known", "tenant", k.tenant, "source", k.name, "err", err)
		return nil, set.ErrKeysUnavailable
	}
	return k.s.remoteKeys(uri).Find(ctx, kid)
}

// lastSignal says when a source's last signal came, as far as this node knows; 0: none is known. It is bounded in time.
func (s *Server) lastSignal(ctx context.Context, tenant, source string) (hub.Micros, error) {
	if at, ok := s.heard.Load(tenant + "/" + source); ok {
		return at.(hub.Micros), nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	got, err := s.store.ListSignals(ctx, tenant, store.SignalFilter{Source: source}, hub.Page{Limit: 1})
	if err != nil || len(got.Items) == 0 {
		return 0, nil //nolint:nilerr // it is a hint
	}
	return got.Items[0].Received, nil
}

// hear notes that a signal of a source came.
func (s *Server) hear(sig *hub.Signal) { s.heard.Store(sig.Tenant+"/"+sig.Source, sig.Received) }

// showSource adds what is known of a source's stream now to what is shown of the resource.
func (s *Server) showSource(ctx context.Context, t *tenant, src *source, out map[string]any) {
	st := src.state
	if now, err := enroll.Read(ctx, s.store, t.name, src.spec.Name); err == nil && now != nil {
		st = now
	}
	shown := st.Shown()
	if raw, err := json.Marshal(shown); err == nil {
		out["stream_state"] = json.RawMessage(raw)
	}
	if src.spec.Delivery != "poll" {
		out["receive_url"] = s.receiveURL(st.ReceiveID)
	}
	out["receipts"] = shown.Receipts
	if polls := s.pollers.state(t.name, src.spec.Name); polls != nil {
		out["polls"] = polls
		if polls.Fails > 2 && out["problem"] == nil {
			out["problem"] = "polls fail: " + polls.Error
		}
	}
	if why := sourceProblem(src.spec, st); why != "" && out["problem"] == nil {
		out["problem"] = why
	}
}

// sourceProblem is what an operator has to know of a source first; empty: nothing.
func sourceProblem(spec *hub.Source, st *enroll.State) string {
	switch {
	case spec.Stream != enroll.None && st.Status == enroll.Failed:
		return st.Error
	case spec.Stream == enroll.None && len(st.Audience) == 0:
		return "nothing is taken from it yet: no audience is known. Write audience into the source, or: countersign source stream " + spec.Name + " create"
	case st.Alarm != "":
		return st.Alarm
	case st.There != "" && st.There != stream.Enabled && !st.Held:
		why := "the transmitter says that the stream is " + st.There
		if st.ThereReason != "" {
			why += ": " + st.ThereReason
		}
		return why
	}
	return ""
}

// countSources counts the sources by how they are, for the metrics.
func (s *Server) countSources(ctx context.Context) {
	n := map[string]int{"ok": 0, "pending": 0, "failed": 0, "silent": 0, "stopped": 0}
	for _, t := range s.all() {
		rows, err := s.store.SourceStreams(ctx, t.name)
		if err != nil {
			return // the last picture stays
		}
		for name, src := range t.view.Load().sources {
			st := new(enroll.State)
			if json.Unmarshal(rows[name], st) != nil {
				continue
			}
			n[sourceWord(src.spec, st)]++
		}
	}
	s.metrics.Sources(n)
}

func sourceWord(spec *hub.Source, st *enroll.State) string {
	switch {
	case st.Alarm != "":
		return "silent"
	case st.There != "" && st.There != stream.Enabled && !st.Held:
		return "stopped"
	case st.Status == enroll.Failed:
		return "failed"
	case st.Status == enroll.Pending && spec.Stream != enroll.None:
		return "pending"
	}
	return "ok"
}
