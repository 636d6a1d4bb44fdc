package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// outage lets the database go away under load and come back: every signal must be acknowledged and delivered, or refused with 503
// and a time to come again; nothing acknowledged is lost, and the hub recovers by itself.
func outage(ctx context.Context, opt Options) (*Result, error) {
	if opt.Database == "" {
		return nil, errors.New("outage cuts the hub off from PostgreSQL: --database postgres://…")
	}
	line, address, err := cut(opt.Database)
	if err != nil {
		return nil, err
	}
	defer line.close()
	opt.Database = address
	drop := opt.DropSchema
	opt.DropSchema = func(ctx context.Context, _, schema string) error { return drop(ctx, line.direct, schema) }
	return spell(ctx, opt, "", func(*rig) error { return line.set(true) }, func(*rig) error { return line.set(false) })
}

// full lets the disk fill up under load, and makes room again. The data lies in opt.Dir, a small file system of its own.
func full(ctx context.Context, opt Options) (*Result, error) {
	if opt.Dir == "" {
		return nil, errors.New("full fills a file system: name a small one of its own with --dir")
	}
	ballast := filepath.Join(opt.Dir, "ballast")
	fill := func(*rig) error {
		f, err := os.Create(ballast)
		if err != nil {
			return err
		}
		defer f.Close()
		block := make([]byte, 1<<16)
		for size := 0; size < 1<<30; size += len(block) {
			if _, err := f.Write(block); err != nil {
				return nil // it is full
			}
		}
		return fmt.Errorf("%s is no small file system: a gigabyte did not fill it", opt.Dir)
	}
	return spell(ctx, opt, opt.Dir, fill, func(*rig) error { return os.Remove(ballast) })
}

// spell runs a steady load, breaks something for opt.Seconds, mends it, and counts.
func spell(ctx context.Context, opt Options, dir string, breaks, mends func(*rig) error) (*Result, error) {
	if opt.Alg == "" {
		opt.Alg = "ES256"
	}
	if opt.Rate <= 0 {
		opt.Rate = 200
	}
	r := &Result{Alg: opt.Alg, FanOut: opt.FanOut, Offered: opt.Rate}
	g, err := newRig(ctx, opt, props{dir: dir})
	defer g.close()
	if err != nil {
		return nil, err
	}
	rc, err := startReceivers(g.cert, 1)
	if err != nil {
		return nil, err
	}
	defer rc.close()
	if err := g.streams(ctx, opt.FanOut, func(i int) string { return fmt.Sprintf("%s/s%d", rc.url, i) }, sessionRevoked); err != nil {
		return nil, err
	}
	loadCtx, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	acked := map[int64]bool{}
	var refusals, bare, last atomic.Int64
	d := g.door()
	d.client.Timeout = 20 * time.Second
	d.bare = &bare
	var wg sync.WaitGroup
	wg.Go(func() {
		openLoop(loadCtx, opt.Rate, 3600, func(n int64, _ time.Time) {
			_, err := d.post(loadCtx, n)
			if b, ok := err.(*refused); ok && b.status == http.StatusServiceUnavailable {
				refusals.Add(1)
			}
			if err == nil {
				mu.Lock()
				acked[n] = true
				mu.Unlock()
				last.Store(time.Now().UnixNano())
			}
		})
	})
	time.Sleep(3 * time.Second)
	if err := breaks(g); err != nil {
		return nil, err
	}
	time.Sleep(time.Duration(opt.Seconds * float64(time.Second)))
	if refusals.Load() == 0 {
		r.problem("no signal was refused with 503 while it was broken")
	}
	if err := mends(g); err != nil {
		return nil, err
	}
	mended := time.Now()
	if !waitFor(ctx, 60*time.Second, func() bool { return last.Load() > mended.UnixNano() }) {
		r.problem("nothing was acknowledged within 60 s after it was mended")
	}
	r.Recovered = round(time.Since(mended).Seconds(), 2)
	time.Sleep(5 * time.Second)
	stop()
	wg.Wait()
	waitFor(ctx, 60*time.Second, func() bool { return rc.missing(acked, opt.FanOut) == 0 })
	if ended(g.hub.Exited()) {
		r.problem("the hub ended itself; the end of its log: %s", g.hub.Tail(500))
	}
	r.Events, r.SETs = int64(len(acked)), rc.count.Load()
	r.Refused = refusals.Load()
	if n := bare.Load(); n > 0 {
		r.problem("%d refusals had no Retry-After", n)
	}
	r.Lost, r.SentTwice = rc.missing(acked, opt.FanOut), rc.twice()
	return r, nil
}

// wire is a way to the database that can be cut.
type wire struct {
	l      net.Listener
	to     string
	direct string // the URL behind it

	mu    sync.Mutex
	open  map[net.Conn]bool
	isCut bool
}

// cut puts a wire before the database and gives the URL that goes through it.
func cut(database string) (*wire, string, error) {
	u, err := url.Parse(database)
	if err != nil {
		return nil, "", err
	}
	w := &wire{to: u.Host, direct: database, open: map[net.Conn]bool{}}
	if u.Port() == "" {
		w.to = net.JoinHostPort(u.Hostname(), "5432")
	}
	if w.l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, "", err
	}
	u.Host = "127.0.0.1:" + strconv.Itoa(w.l.Addr().(*net.TCPAddr).Port)
	go w.run()
	return w, u.String(), nil
}

func (w *wire) run() {
	for {
		in, err := w.l.Accept()
		if err != nil {
			return
		}
		go w.join(in)
	}
}

func (w *wire) join(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer out.Close()
	w.mu.Lock()
	if w.isCut {
		w.mu.Unlock()
		return
	}
	w.open[in], w.open[out] = true, true
	w.mu.Unlock()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
		go func() {
			io.Copy(pair[0], pair[1])
			done <- struct{}{}
		}()
	}
	<-done
	w.mu.Lock()
	delete(w.open, in)
	delete(w.open, out)
	w.mu.Unlock()
}

// set cuts the wire, with all that goes over it, or mends it.
func (w *wire) set(isCut bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = isCut
	if isCut {
		for c := range w.open {
			c.Close()
		}
	}
	return nil
}

func (w *wire) close() { w.l.Close() }
