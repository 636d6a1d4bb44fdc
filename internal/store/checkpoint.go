package store

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
)

// checkpointer moves what was committed from SQLite's write-ahead log into the database, beside the writer: a
// commit that had to do it itself would keep everybody waiting for tens of milliseconds. It only ever does what
// needs no lock of the writer's (a PASSIVE checkpoint). The writer's own limit, wal_autocheckpoint, still holds
// for what is left over under an unbroken load, so that the log stays bounded.
type checkpointer struct {
	db   *sql.DB
	due  chan struct{}
	ops  atomic.Int64 // writes since the last look
	stop context.CancelFunc
	end  sync.WaitGroup
}

// checkpointEvery is after how many writes the checkpointer looks at the log.
const checkpointEvery = 1000

// startCheckpointer runs until close. failed is told of an error other than that somebody was in the way.
func startCheckpointer(db *sql.DB, failed func(error)) *checkpointer {
	ctx, cancel := context.WithCancel(context.Background())
	c := &checkpointer{db: db, due: make(chan struct{}, 1), stop: cancel}
	c.end.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-c.due:
			}
			var busy, log, moved int64
			err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &log, &moved)
			if err != nil && ctx.Err() == nil && fatalCode(err) {
				failed(err)
				return
			}
		}
	})
	return c
}

// wrote counts writes that were committed.
func (c *checkpointer) wrote(n int) {
	if c.ops.Add(int64(n)) < checkpointEvery {
		return
	}
	c.ops.Store(0)
	select {
	case c.due <- struct{}{}:
	default: // it is at work already
	}
}

func (c *checkpointer) close() {
	c.stop()
	c.end.Wait()
	c.db.Close()
}
