//go:build unix

package store

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"countersign/internal/hub"
)

// fullChild keeps signals while its files may not grow beyond a limit, so that COMMIT itself fails for want of room; then
// the limit goes, and it goes on. What it prints was acknowledged.
func fullChild(url string) {
	signal.Ignore(syscall.SIGXFSZ)
	s, err := Open(context.Background(), url, Config{Fatal: func(err error) {
		fmt.Println("error fatal:", err)
		os.Exit(1)
	}})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	limit := func(n uint64) {
		var l syscall.Rlimit
		syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l)
		l.Cur = min(n, l.Max)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			fmt.Println("error", err)
		}
	}
	info, err := os.Stat(strings.TrimPrefix(url, "sqlite:") + "-wal")
	if err != nil {
		fmt.Println("error", err)
		return
	}
	limit(uint64(info.Size()) + 40_000)
	refused := 0
	for i := 0; refused < 20 && i < 1000; i++ {
		g := newSignal(fmt.Sprint("full", i))
		if _, err := s.Keep(context.Background(), g, "p", nil, nil); err == nil {
			fmt.Println("kept", g.ID)
		} else if refused++; hub.CodeOf(err) != hub.Unavailable || !strings.Contains(err.Error(), "the disk is full") {
			fmt.Println("error", err)
		}
	}
	fmt.Println("refused", refused)
	limit(math.MaxInt64)
	for i := range 20 {
		g := newSignal(fmt.Sprint("room", i))
		if _, err := s.Keep(context.Background(), g, "p", nil, nil); err != nil {
			fmt.Println("error", err)
		} else {
			fmt.Println("kept", g.ID)
		}
	}
	syscall.Kill(os.Getpid(), syscall.SIGKILL) // recovery of the log must find the same
	time.Sleep(time.Minute)
}

func TestNoRoomAtCommit(t *testing.T) {
	p := sqlitePlace(t)
	p.open(t, Config{}).Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=full|"+p.url)
	cmd.Stderr = os.Stderr
	out, _ := cmd.Output()
	s := p.open(t, Config{})
	kept := 0
	for line := range strings.Lines(string(out)) {
		what, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch what {
		case "kept":
			kept++
			if _, err := s.Signal(t.Context(), tenant, rest); err != nil {
				t.Errorf("%s: %v", rest, err)
			}
		case "refused":
			if rest != "20" {
				t.Errorf("refused %s", rest)
			}
		default:
			t.Errorf("child: %s", line)
		}
	}
	if n := count(t, s, "signal"); n != kept || kept < 21 {
		t.Fatalf("%d signals are there, %d were acknowledged", n, kept)
	}
}
