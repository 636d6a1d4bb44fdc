package server

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"countersign/internal/config"
)

// node is a second hub on the first one's database.
type node struct {
	srv  *Server
	stop func()
}

func (w *world) anotherNode(database string) *node {
	w.t.Helper()
	cfg := w.srv.cfg
	first := cfg.Data
	cfg.Listen, cfg.AdminListen, cfg.Data, cfg.Database = "127.0.0.1:0", "127.0.0.1:0", filepath.Join(w.dir, "data-two"), database
	cfg.PublicURL, cfg.MasterKey = w.srv.publicURL, config.Reference{File: filepath.Join(first, "master.key")}
	srv, err := New(context.Background(), Options{Config: cfg, Version: "test", Node: "n2", Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Duration(w.shift.Load())) }})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	n := &node{srv: srv}
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run of the second node: %v", err)
		}
	})
	w.t.Cleanup(n.stop)
	w.eventually("the second node is ready", srv.running.Load)
	return n
}
