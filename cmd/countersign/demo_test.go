package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"countersign/internal/demo"
	"countersign/internal/pgtest"
	"countersign/internal/req"
)

// play runs demo --once --json and gives its one object and its exit status.
func play(t *testing.T, args ...string) (*demo.Result, int) {
	t.Helper()
	cmd := exec.Command(program(t), append([]string{"demo", "--once", "--json"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	exit := 0
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		exit = ee.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(&stdout)
	dec.DisallowUnknownFields()
	var r demo.Result
	if err := dec.Decode(&r); err != nil {
		t.Fatalf("stdout is no result: %v\n%s", err, stderr.String())
	}
	if rest := strings.TrimSpace(stdout.String()); dec.More() || rest != "" && !strings.HasSuffix(rest, "") {
		t.Errorf("stdout has more than one object: %q", rest)
	}
	if !strings.Contains(fmt.Sprint(args), "--keep") && r.Evidence != "" {
		t.Cleanup(func() { os.RemoveAll(filepath.Dir(r.Evidence)) })
	}
	return &r, exit
}

func after(r *demo.Result) map[string]int {
	m := map[string]int{}
	for _, s := range r.Sessions {
		if s.Before != 200 {
			m["before"] = s.Before
		}
		m[s.Person+" "+s.App+" "+s.Session] = s.After
	}
	return m
}

func TestDemo(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			keep := filepath.Join(t.TempDir(), "run")
			args := []string{"--keep", keep}
			if engine == "postgres" {
				address, _ := pgtest.URL(t)
				args = append(args, "--database", address)
			}
			r, exit := play(t, args...)
			if !r.OK || exit != 0 || len(r.Problems) > 0 {
				t.Fatalf("ok %v, exit %d, problems %q", r.OK, exit, r.Problems)
			}
			if r.Engine != engine {
				t.Errorf("engine %q, want %q", r.Engine, engine)
			}
			want := map[string]int{"alice wiki browser 1": 401, "alice wiki browser 2": 401, "alice crm browser 1": 401, "alice forum browser 1": 401, "bob wiki browser 1": 200}
			if got := after(r); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("sessions after: %v, want %v", got, want)
			}
			if r.Receipt.Outcome != "fulfilled" || r.Receipt.Lines != 3 || !r.Receipt.AcceptedBySender || r.Verify.Exit != 0 {
				t.Errorf("receipt %+v, verify %+v", r.Receipt, r.Verify)
			}
			req.Covers(t, "S1", "S2", "S4", "S5", "S6", "S12", "S13")
			if len(r.Tokens) != 1 || r.Tokens[0].StillValidUntil < time.Now().Unix() {
				t.Errorf("the token that outlives the session: %+v", r.Tokens)
			}
			for _, name := range []string{"evidence.json", "order.jwt", "receipt.jwt", "slip.txt", "hub.log", "data"} {
				if info, err := os.Stat(filepath.Join(keep, name)); err != nil || info.Size() == 0 {
					t.Errorf("--keep left no %s: %v", name, err)
				}
			}
			slip, _ := os.ReadFile(filepath.Join(keep, "slip.txt"))
			for _, text := range []string{"FULFILLED", "signature good", "done*", r.Receipt.ReceiptNo} {
				if !bytes.Contains(slip, []byte(text)) {
					t.Errorf("the slip does not say %q:\n%s", text, slip)
				}
			}
			for _, secret := range []string{"correct horse", "Bearer "} {
				if out, _ := os.ReadFile(filepath.Join(keep, "hub.log")); bytes.Contains(out, []byte(secret)) {
					t.Errorf("the hub's log holds %q", secret)
				}
			}
			log, _ := os.ReadFile(filepath.Join(keep, "hub.log"))
			if bytes.Contains(log, []byte("alice@example.test")) {
				t.Error("the hub's log names the subject")
			}
		})
	}
}

func TestDemoBreaks(t *testing.T) {
	t.Parallel()
	for name, check := range map[string]func(t *testing.T, r *demo.Result){
		"app-down": func(t *testing.T, r *demo.Result) {
			if r.Receipt.Outcome != "partial" || !r.Receipt.AcceptedBySender || r.Verify.Exit != 2 {
				t.Errorf("receipt %+v, verify %+v", r.Receipt, r.Verify)
			}
			if a := after(r); a["alice wiki browser 1"] != 200 || a["alice crm browser 1"] != 401 {
				t.Errorf("sessions %v", a)
			}
			saysProblem(t, r, "the line about wiki says failed/app_error")
		},
		"forged-receipt": func(t *testing.T, r *demo.Result) {
			if r.Receipt.AcceptedBySender || r.Verify.Exit != 2 {
				t.Errorf("receipt %+v, verify %+v", r.Receipt, r.Verify)
			}
			saysProblem(t, r, "bad_signature")
		},
		"wrong-person": func(t *testing.T, r *demo.Result) {
			if after(r)["bob wiki browser 1"] != 401 {
				t.Errorf("sessions %v", after(r))
			}
			saysProblem(t, r, "bob was not meant")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, exit := play(t, "--break", name)
			if r.OK || exit == 0 {
				t.Fatalf("ok %v, exit %d", r.OK, exit)
			}
			check(t, r)
		})
	}
}

func saysProblem(t *testing.T, r *demo.Result, text string) {
	t.Helper()
	if !slices.ContainsFunc(r.Problems, func(p string) bool { return strings.Contains(p, text) }) {
		t.Errorf("problems %q do not say %q", r.Problems, text)
	}
}

// TestDemoHubIsAChild looks at the processes while the scene stands: the hub is a child of the demo, the same
// binary with serve, and listens itself.
func TestDemoHubIsAChild(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(program(t), "demo", "--break", "app-down", "--once")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Signal(os.Interrupt)
	lines := make([]byte, 0, 4096)
	buf := make([]byte, 512)
	for !bytes.Contains(lines, []byte("runs as process ")) {
		n, err := stdout.Read(buf)
		if err != nil {
			t.Fatalf("the demo ended early: %v\n%s", err, lines)
		}
		lines = append(lines, buf[:n]...)
	}
	_, rest, _ := strings.Cut(string(lines), "runs as process ")
	pid, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if fields[1] != strconv.Itoa(cmd.Process.Pid) {
		t.Errorf("the hub's parent is %s, the demo is %d", fields[1], cmd.Process.Pid)
	}
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		t.Fatal(err)
	}
	if parts := strings.Split(string(args), "\x00"); len(parts) < 2 || parts[1] != "serve" || filepath.Base(parts[0]) != "countersign" {
		t.Errorf("the hub's command line is %q", parts)
	}
	go func() { // let it end without filling the pipe
		for {
			if _, err := stdout.Read(buf); err != nil {
				return
			}
		}
	}()
}
