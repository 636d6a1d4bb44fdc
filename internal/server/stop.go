package server

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

// StopEnv names the variable that makes a hub under --dev kill itself at named points; docs/flow.md lists them.
const StopEnv = "COUNTERSIGN_STOP"

// stopper gives the hook of the kill bench: it ends the process at the n-th passing of a point, at once, as
// a power cut would. spec is "name:n", or several with commas; empty gives nil.
func stopper(spec string) (func(point string), error) {
	if spec == "" {
		return nil, nil
	}
	left := map[string]*atomic.Int64{}
	for _, part := range strings.Split(spec, ",") {
		name, n, ok := strings.Cut(part, ":")
		nth, err := strconv.Atoi(n)
		if !ok || err != nil || nth < 1 || name == "" {
			return nil, fmt.Errorf("%s: %q is not name:number", StopEnv, part)
		}
		c := new(atomic.Int64)
		c.Store(int64(nth))
		left[name] = c
	}
	return func(point string) {
		c := left[point]
		if c == nil || c.Add(-1) != 0 {
			return
		}
		kill()
	}, nil
}

// kill ends the process without any farewell.
var kill = func() {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Kill()
	}
	select {}
}
