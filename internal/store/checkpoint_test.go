package store

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// What was committed moves into the database while the store is open and the writer goes on.
func TestCheckpointBesideTheWriter(t *testing.T) {
	p := sqlitePlace(t)
	s := p.open(t, Config{})
	file := strings.TrimPrefix(p.url, "sqlite:")
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 2 * checkpointEvery / 16 {
				if _, err := s.Keep(context.Background(), newSignal(fmt.Sprintf("w%d-%d", w, i)), "same", nil, nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	end := time.Now().Add(10 * time.Second)
	for {
		now, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if now.Size() > before.Size()+500<<10 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %d writes the database has %d octets, before %d", 2*checkpointEvery, now.Size(), before.Size())
		}
		time.Sleep(5 * time.Millisecond)
	}
}
