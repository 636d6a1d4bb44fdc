package store

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"countersign/internal/hub"
)

const childEnv = "COUNTERSIGN_STORE_CHILD"

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		switch kind, rest, _ := strings.Cut(spec, "|"); kind {
		case "full":
			fullChild(rest)
		case "lease":
			leaseChild(rest)
		case "sent":
			sendingChild(rest)
		case "chores":
			choringChild(rest)
		default:
			child(spec)
		}
		return
	}
	os.Exit(m.Run())
}

// child keeps and decides signals as fast as it can and prints what was acknowledged, until it is killed. At
// the stop point that it was given, if any, it kills itself.
func child(spec string) {
	f := strings.Split(spec, "|") // url, schema, run, stop point
	cfg := Config{Node: "child", Schema: f[1]}
	if f[3] != "" {
		var n sync.Mutex
		calls := 0
		cfg.Stop = func(point string) {
			n.Lock()
			defer n.Unlock()
			if point == f[3] {
				if calls++; calls == 20 {
					p, _ := os.FindProcess(os.Getpid())
					p.Kill()
					select {}
				}
			}
		}
	}
	s, err := Open(context.Background(), f[0], cfg)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	ctx := context.Background()
	out := make(chan string, 1024)
	for w := range 16 {
		go func() {
			for i := 0; ; i++ {
				g := newSignal(fmt.Sprintf("%s-%d-%d", f[2], w, i))
				k, err := s.Keep(ctx, g, "p", nil, nil)
				if err != nil {
					out <- "error " + err.Error()
					return
				}
				out <- "kept " + g.ID
				a := newAction("app")
				jobs, err := s.Decide(ctx, g, newDecision(g, a), []*hub.Action{a}, k.Job, DecideOptions{})
				if err != nil {
					out <- "error " + err.Error()
					return
				}
				out <- "planned " + a.ID
				at := &hub.Attempt{No: 1}
				if err := s.BeginAttempt(ctx, a, at, &jobs[0]); err != nil {
					out <- "error " + err.Error()
					return
				}
				out <- "tried " + a.ID
			}
		}()
	}
	w := bufio.NewWriter(os.Stdout)
	for line := range out {
		fmt.Fprintln(w, line)
		if len(out) == 0 {
			w.Flush()
		}
	}
}

// What was acknowledged before kill -9 is there afterwards, at every stop point and at none.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		p.open(t, Config{}).Close()
		for run, point := range []string{"", "", "keep.before-commit", "keep.after-commit", "decide.before-commit", "decide.after-commit", "attempt.after-commit"} {
			acked := runChild(t, p, fmt.Sprint(run), point)
			if len(acked) < 20 {
				t.Fatalf("%q: only %d lines before the end", point, len(acked))
			}
			s := p.open(t, Config{Node: "child"})
			checkAcked(t, s, point, acked)
			// No lease of the dead life is waited for. PostgreSQL may still be carrying out its last statements.
			for end := time.Now().Add(Lease / 2); ; runtime.Gosched() {
				_, err := s.ClaimJobs(t.Context(), nil, 0)
				must(t, err)
				var held int
				must(t, s.read(t.Context(), func(x *tx) error {
					_, err := x.one(`SELECT count(*) FROM job WHERE claim <> ''`, nil, &held)
					return err
				}))
				if held == 0 {
					break
				}
				if time.Now().After(end) {
					t.Errorf("%q: %d jobs are still held", point, held)
					break
				}
			}
			s.Close()
		}
	})
}

func runChild(t *testing.T, p place, run, point string) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{p.url, p.schema, run, point}, "|"))
	pipe, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	var acked []string
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "error") {
			t.Errorf("child: %s", lines.Text())
		}
		acked = append(acked, lines.Text())
		if point == "" && len(acked) == 400 {
			cmd.Process.Kill()
		}
		if len(acked) > 200_000 {
			cmd.Process.Kill()
			t.Fatalf("the stop point %q was not hit", point)
		}
	}
	cmd.Wait()
	return acked
}

func checkAcked(t *testing.T, s *Store, point string, acked []string) {
	t.Helper()
	for _, line := range acked {
		what, id, _ := strings.Cut(line, " ")
		switch what {
		case "kept":
			if _, err := s.Signal(t.Context(), tenant, id); err != nil {
				t.Fatalf("%q: signal %s: %v", point, id, err)
			}
		case "planned", "tried":
			a, err := s.Action(t.Context(), tenant, id)
			if err != nil {
				t.Fatalf("%q: action %s: %v", point, id, err)
			}
			if what == "tried" && len(a.Tries) != 1 {
				t.Fatalf("%q: action %s has %d tries", point, id, len(a.Tries))
			}
		}
	}
}

// A failed COMMIT of SQLite ends the process; where the process is a test, nothing is written afterwards.
func TestFailedCommitIsFatal(t *testing.T) {
	p := sqlitePlace(t)
	fatal := make(chan error, 10)
	s := p.open(t, Config{Fatal: func(err error) { fatal <- err }})
	keepNew(t, s, newSignal("before"))
	disk := errors.New("fsync: input/output error")
	e := s.e.(*lite)
	e.commit = func(ctx context.Context) error {
		e.st.ExecContext(ctx, "ROLLBACK")
		return disk
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, err := s.Keep(t.Context(), newSignal(fmt.Sprint(i)), "p", nil, nil)
			if hub.CodeOf(err) != hub.Unavailable {
				t.Errorf("a caller got %v", err)
			}
		})
	}
	wg.Wait()
	if err := <-fatal; !errors.Is(err, disk) {
		t.Fatalf("fatal got %v", err)
	}
	if len(fatal) != 0 {
		t.Fatal("fatal was called more than once")
	}
	wantCode(t, s.Ping(t.Context()), hub.Unavailable)
	s.Close()
	again := p.open(t, Config{})
	if n := count(t, again, "signal"); n != 1 {
		t.Fatalf("%d signals", n)
	}
}

// When the connection breaks at COMMIT nobody knows; the caller repeats, and the repeat tells.
func TestUnknownCommitOnPostgres(t *testing.T) {
	p := postgresPlace(t)
	fatal := false
	s := p.open(t, Config{Fatal: func(error) { fatal = true }})
	e := s.e.(*pg)
	commit := e.commit
	g := newSignal("j1")
	job := keepNew(t, s, g)
	e.commit = func(x *sql.Tx) error {
		commit(x)
		return errors.New("connection reset by peer")
	}
	_, err := s.Decide(t.Context(), g, newDecision(g), nil, job, DecideOptions{})
	wantCode(t, err, hub.Unavailable)
	e.commit = commit
	_, err = s.Decide(t.Context(), g, newDecision(g), nil, job, DecideOptions{})
	wantCode(t, err, hub.Conflict) // it was there
	if fatal {
		t.Fatal("an unknown commit ended the process")
	}
}

func TestSQLiteFiles(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "new")
	p := place{url: "sqlite:" + filepath.Join(folder, "c.db")}
	s := p.open(t, Config{})
	keepNew(t, s, newSignal("j1"))
	for name, want := range map[string]os.FileMode{"": 0o700, "c.db": 0o600, "c.db-wal": 0o600, "c.db.lock": 0o600} {
		info, err := os.Stat(filepath.Join(folder, name))
		must(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%q has mode %o, want %o", name, got, want)
		}
	}
	_, err := p.tryOpen(Config{})
	wantCode(t, err, hub.Unavailable)
	var sync, mode, keys string
	must(t, s.e.(*lite).conn.QueryRowContext(t.Context(), `SELECT (SELECT synchronous FROM pragma_synchronous), (SELECT journal_mode FROM pragma_journal_mode), (SELECT foreign_keys FROM pragma_foreign_keys)`).Scan(&sync, &mode, &keys))
	if sync != "2" || mode != "wal" || keys != "1" {
		t.Fatalf("synchronous %s, journal_mode %s, foreign_keys %s", sync, mode, keys)
	}
	if _, err := s.e.(*lite).readers.Exec(`DELETE FROM job`); err == nil {
		t.Fatal("a reader wrote")
	}
	s.Close()
	s.Close()
	_, err = s.Keep(t.Context(), newSignal("j2"), "p", nil, nil)
	wantCode(t, err, hub.Unavailable)
}

// After an unclean stop the database is checked before it is used.
func TestDamageIsFoundAfterAnUncleanStop(t *testing.T) {
	folder := t.TempDir()
	p := place{url: "sqlite:" + filepath.Join(folder, "c.db")}
	s := p.open(t, Config{})
	for i := range 200 {
		keepNew(t, s, newSignal(fmt.Sprint(i)))
	}
	s.Close()
	file := filepath.Join(folder, "c.db")
	data, err := os.ReadFile(file)
	must(t, err)
	for at := len(data) / 2; at < len(data)-4096; at += 4096 {
		copy(data[at:at+64], make([]byte, 64))
	}
	must(t, os.WriteFile(file, data, 0o600))
	must(t, os.WriteFile(file+".lock", []byte(markOpen), 0o600))
	if _, err := p.tryOpen(Config{}); err == nil {
		t.Fatal("a damaged database was opened")
	}
}

func TestCloseWritesWhatIsQueued(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		s := p.open(t, Config{})
		var wg sync.WaitGroup
		var mu sync.Mutex
		kept := 0
		begun := make(chan bool, 1)
		for i := range 64 {
			wg.Go(func() {
				for n := range 50 {
					_, err := s.Keep(context.Background(), newSignal(fmt.Sprintf("%d-%d", i, n)), "p", nil, nil)
					if err != nil {
						if hub.CodeOf(err) != hub.Unavailable {
							t.Errorf("a caller got %v", err)
						}
						return
					}
					mu.Lock()
					if kept++; kept == 200 {
						begun <- true
					}
					mu.Unlock()
				}
			})
		}
		<-begun
		must(t, s.Close())
		wg.Wait()
		if n := count(t, p.open(t, Config{}), "signal"); n != kept {
			t.Fatalf("%d signals are there, %d were acknowledged", n, kept)
		}
	})
}

func TestPostgresServersThatLoseThings(t *testing.T) {
	for url, code := range map[string]hub.Code{
		"mysql://x":      hub.Invalid,
		"postgres://%zz": hub.Invalid,
		"postgres://nobody@127.0.0.1:1/none?connect_timeout=1": hub.Unavailable,
	} {
		_, err := Open(t.Context(), url, Config{})
		wantCode(t, err, code)
	}
	// A server that is there, and refuses us, is a matter of the URL or of the server: neither a bug nor a crash.
	refused := &pgconn.ConnectError{Config: &pgconn.Config{}}
	wantCode(t, translate(fmt.Errorf("open: %w", refused)), hub.Unavailable)
	if err := fsyncVerdict("off"); hub.CodeOf(err) != hub.Invalid {
		t.Fatalf("fsync off: %v", err)
	}
	if err := fsyncVerdict("on"); err != nil {
		t.Fatal(err)
	}
}

// Many stores that open one empty schema at once migrate it once.
func TestMigrationsAreDoneOnce(t *testing.T) {
	p := postgresPlace(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			s, err := p.tryOpen(Config{Node: fmt.Sprint("n", i), Pool: 4})
			if err != nil {
				t.Error(err)
				return
			}
			s.Close()
		})
	}
	wg.Wait()
	p.open(t, Config{})
}
