package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"countersign/internal/hub"

	"github.com/jackc/pgx/v5/pgconn"
)

// A full disk refuses what does not fit, loses nothing, ends nothing, and writing goes on when there is room again.
func TestFullDisk(t *testing.T) {
	p := sqlitePlace(t)
	s := p.open(t, Config{Fatal: func(err error) { t.Errorf("a full disk ended the process: %v", err) }})
	for i := range 20 {
		keepNew(t, s, newSignal(fmt.Sprint("before", i)))
	}
	limit := func(pages string) {
		must(t, s.e.write(t.Context(), pointNone, func(x *tx) error {
			var n int
			_, err := x.one("PRAGMA max_page_count = "+pages, nil, &n)
			return err
		}))
	}
	limit("1") // as many as there are
	var mu sync.Mutex
	kept, refused := 20, 0
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 50 {
				_, err := s.Keep(context.Background(), newSignal(fmt.Sprintf("full-%d-%d", w, i)), "p", nil, nil)
				mu.Lock()
				if err == nil {
					kept++
				} else {
					wantFull(t, err)
					refused++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if refused == 0 {
		t.Fatal("nothing was refused")
	}
	limit("1000000")
	keepNew(t, s, newSignal("after"))
	must(t, s.Ping(t.Context()))
	s.Close()
	if n := count(t, p.open(t, Config{}), "signal"); n != kept+1 {
		t.Fatalf("%d signals are there, %d were acknowledged", n, kept+1)
	}
}

func wantFull(t testing.TB, err error) {
	var he *hub.Error
	if !errors.As(err, &he) || he.Code != hub.Unavailable || !strings.Contains(err.Error(), "the disk is full") || !strings.Contains(he.Hint, "free space") {
		t.Errorf("a caller got %v", err)
	}
}

func TestFullDiskOfPostgres(t *testing.T) {
	wantFull(t, translate(fmt.Errorf("commit: %w", &pgconn.PgError{Code: "53100", Message: "could not extend file"})))
}
