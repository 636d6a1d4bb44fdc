package hostile

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
)

// quiet keeps what a goroutine finds until the test that it belongs to asks for it.
type quiet struct {
	testing.TB
	mu   sync.Mutex
	said []string
}

// Errorf keeps a failure.
func (q *quiet) Errorf(format string, args ...any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.said = append(q.said, fmt.Sprintf(format, args...))
}

// Fatalf keeps a failure and ends the goroutine.
func (q *quiet) Fatalf(format string, args ...any) {
	q.Errorf(format, args...)
	runtime.Goexit()
}

// Fatal keeps a failure and ends the goroutine.
func (q *quiet) Fatal(args ...any) { q.Fatalf("%s", fmt.Sprint(args...)) }
