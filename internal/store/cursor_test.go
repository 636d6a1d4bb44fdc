package store

import (
	"testing"

	"countersign/transmitter"
)

// The cursor trap (engine §10.4): of two writers the one with the lower seq commits later. A reader that only goes on from
// what it saw never finds that row; one that comes back for lower ones does.
func TestLowerSeqThatCommitsLater(t *testing.T) {
	p := postgresPlace(t)
	a, b := p.open(t, Config{Node: "a"}), p.open(t, Config{Node: "b"})
	v, w := a.Transmitter(tenant, nil), b.Transmitter(tenant, nil)
	st := &transmitter.Stream{ID: "str_1", Receiver: "r", Status: transmitter.Enabled}
	must(t, v.CreateStream(t.Context(), st, 0))

	began, commit := make(chan bool), make(chan bool)
	done := make(chan error)
	slow := outgoing(st, 0, "slow")
	k := &keeping{tenant: tenant, out: slow, at: a.now(), loose: true}
	k.plan()
	first, err := a.seqs.take(t.Context(), k.need())
	must(t, err)
	k.assign(first)
	go func() {
		done <- a.write(t.Context(), pointNone, func(x *tx) error {
			if err := a.keepWithin(x, k); err != nil {
				return err
			}
			began <- true
			<-commit
			return nil
		})
	}()
	<-began
	fast := outgoing(st, 0, "fast")
	must(t, w.Enqueue(t.Context(), fast))
	seen, err := w.Next(t.Context(), st.Key, 0, 10)
	must(t, err)
	if len(seen) != 1 || seen[0].JTI != "fast" || seen[0].Seq != fast.Rows[0].Seq {
		t.Fatalf("before the other commits: %+v", seen)
	}
	close(commit)
	must(t, <-done)
	k.finish()
	if slow.Rows[0].Seq >= fast.Rows[0].Seq {
		t.Fatalf("the trap was not laid: %d and %d", slow.Rows[0].Seq, fast.Rows[0].Seq)
	}
	on, err := w.Next(t.Context(), st.Key, fast.Rows[0].Seq, 10)
	must(t, err)
	if len(on) != 0 {
		t.Fatalf("going on from what was seen: %+v", on)
	}
	back, err := w.Next(t.Context(), st.Key, 0, 10)
	must(t, err)
	if len(back) != 2 || back[0].JTI != "slow" || back[1].JTI != "fast" {
		t.Fatalf("coming back: %+v", back)
	}
}
