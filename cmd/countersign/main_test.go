package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary be the program: a copy of it named countersign is on PATH, so that
// scenarios, and the hubs that a demo or a bench starts, run exactly what is under test.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"countersign": main})
}

// program is the path of that copy.
func program(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("countersign")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestScenarios(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"PUBLIC", "ADMIN", "OTHER"} {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				e.Setenv(name, l.Addr().String())
				_, port, _ := net.SplitHostPort(l.Addr().String())
				e.Setenv(name+"PORT", port)
				l.Close()
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": ready, "mode": mode, "exits": exits, "field": field, "answers": answers, "until": until,
		},
	})
}

// ready waits until the hub on $ADMIN takes work.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: ready [URL]")
	}
	url := "http://" + ts.Getenv("ADMIN") + "/readyz"
	if len(args) == 1 {
		url = args[0]
	}
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for {
		if resp, err := client.Get(url); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-limit:
			ts.Fatalf("%s was not ready in time", url)
		case <-tick.C:
		}
	}
}

// mode holds a file's permission bits.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode OCTAL FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// exits runs a command and wants its exit status.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if neg || err != nil || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND…")
	}
	err = ts.Exec(args[1], args[2:]...)
	var ee *exec.ExitError
	got := 0
	if errors.As(err, &ee) {
		got = ee.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("%s exited %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// field puts a member of the JSON object on stdout into a variable: field NAME member.
func field(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: field VARIABLE MEMBER")
	}
	var m map[string]any
	line, _, _ := strings.Cut(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	ts.Check(json.Unmarshal([]byte(line), &m))
	v, ok := m[args[1]]
	if !ok {
		ts.Fatalf("no member %q in %s", args[1], line)
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

// answers waits until somebody listens at an address.
func answers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: answers ADDRESS")
	}
	repeat(ts, "nobody listens at "+args[0], func() bool {
		c, err := net.DialTimeout("tcp", args[0], time.Second)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
}

// until repeats a command until its standard output matches: until REGEXP COMMAND…
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP COMMAND…")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	repeat(ts, strings.Join(args[1:], " ")+" never showed "+args[0], func() bool {
		return ts.Exec(args[1], args[2:]...) == nil && re.MatchString(ts.ReadFile("stdout"))
	})
}

// repeat tries something often, for 30 seconds.
func repeat(ts *testscript.TestScript, complaint string, try func() bool) {
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for !try() {
		select {
		case <-limit:
			ts.Fatalf("%s", complaint)
		case <-tick.C:
		}
	}
}
