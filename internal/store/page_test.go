package store

import (
	"bytes"
	"fmt"
	"testing"

	"countersign/transmitter"

	"github.com/google/go-cmp/cmp"
)

func someOutcomes() []transmitter.Outcome {
	return []transmitter.Outcome{
		{JTI: "AAECAwQFBgcICQoLDA0ODxAR", Event: 1 << 40, Status: 202, Tries: 1, First: 1_700_000_000_000_000, At: 1_700_000_000_000_900},
		{JTI: "AAECAwQFBgcICQoLDA0ODxAR", Event: 1<<40 - 3, Dead: true, Status: 400, Reason: "invalid_request: täxt", Tries: 3, First: 1_700_000_000_000_000, At: 1_699_000_000_000_000},
		{JTI: "", Event: 7, At: 5},
		{JTI: "not base64 at all", Event: -9, Status: -1, At: -5},
		{JTI: "AB", Event: 7},     // base64, but of no bytes: its last bits are not zero
		{JTI: "AA\nAA", Event: 7}, // Decode would drop the line end
		{JTI: string(bytes.Repeat([]byte("A"), 1024)), Event: 7, Status: 500},
	}
}

func pageOf(all []transmitter.Outcome) *page {
	p := &page{}
	for i := range all {
		p.add(&all[i])
	}
	return p
}

func linesOf(t testing.TB, b []byte) []transmitter.Outcome {
	t.Helper()
	var all []transmitter.Outcome
	must(t, eachLine(b, func(o *transmitter.Outcome) error {
		all = append(all, *o)
		return nil
	}))
	return all
}

func TestPageComesBack(t *testing.T) {
	all := someOutcomes()
	p := pageOf(all)
	if d := cmp.Diff(all, linesOf(t, p.entries)); d != "" {
		t.Fatal(d)
	}
	if p.n != int64(len(all)) || p.firstEvent != -9 || p.lastEvent != 1<<40 || p.firstAt != -5 || p.lastAt != 1_700_000_000_000_900 {
		t.Fatalf("head %+v", p)
	}
	kept, gone, err := p.without(1_699_500_000_000_000)
	must(t, err)
	if d := cmp.Diff(all[:1], linesOf(t, kept.entries)); d != "" || gone != int64(len(all)-1) || kept.n != 1 {
		t.Fatalf("%d gone, %s", gone, d)
	}
}

// A usual line is short: this is what makes the history cheap.
func TestPageIsSmall(t *testing.T) {
	p := &page{}
	for i := range 100 {
		p.add(&transmitter.Outcome{JTI: fmt.Sprintf("AAECAwQFBgcICQoLDA0ODx%02d", i)[:24], Event: 1_000_000 + int64(i)*3, Status: 202, Tries: 1,
			First: 1_700_000_000_000_000, At: transmitter.Micros(1_700_000_000_000_900 + i*100)})
	}
	if each := len(p.entries) / 100; each > 30 {
		t.Fatalf("a line has %d bytes", each)
	}
}

func TestBrokenPages(t *testing.T) {
	whole := pageOf(someOutcomes()).entries
	for name, b := range map[string][]byte{
		"empty": nil, "version": append([]byte{2}, whole[1:]...), "flags": append(bytes.Clone(pageBase{}.appendTo(nil)), 0xff), "no base": {1, 2},
	} {
		if err := eachLine(b, func(*transmitter.Outcome) error { return nil }); err != errPage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzPage: whatever lies in the column, reading it ends without a panic, and what was read is written and read again
// as the same.
func FuzzPage(f *testing.F) {
	whole := pageOf(someOutcomes()).entries
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add([]byte{1, 0, 0, 31, 1, 'x', 0, 0, 0, 0, 0, 1, 'y'})
	f.Add([]byte{1, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var all []transmitter.Outcome
		if eachLine(b, func(o *transmitter.Outcome) error { all = append(all, *o); return nil }) != nil || len(all) == 0 {
			return
		}
		if d := cmp.Diff(all, linesOf(t, pageOf(all).entries)); d != "" {
			t.Fatal(d)
		}
	})
}
