package stage

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Hub is a hub process: the binary Exe started with serve.
type Hub struct {
	Exe  string
	Args []string // after "serve"
	Env  []string // added to a small environment of our own
	Dir  string   // its data folder; logs go to hub.log beside it
	// Admin is the base address of the admin listener, such as http://127.0.0.1:8444.
	Admin string
	Roots *x509.CertPool

	cmd    *exec.Cmd
	exited chan struct{}
	err    error
	log    *os.File
	client *http.Client
}

// FreePort finds a loopback port that nothing listens on.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Start starts the process and waits until it is ready, or says why it is not.
func (h *Hub) Start(ctx context.Context) error {
	f, err := os.OpenFile(h.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	h.log = f
	h.cmd = exec.Command(h.Exe, append([]string{"serve"}, h.Args...)...)
	h.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.Dir, "TMPDIR=" + os.TempDir()}, h.Env...)
	h.cmd.Stdout, h.cmd.Stderr = f, f
	h.cmd.SysProcAttr = dieWithParent()
	if err := h.cmd.Start(); err != nil {
		f.Close()
		return err
	}
	h.exited = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		h.err = cmd.Wait()
		close(done)
	}(h.cmd, h.exited)
	h.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.Roots}, MaxIdleConnsPerHost: 64}}
	return h.ready(ctx)
}

func (h *Hub) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.Admin+"/readyz", nil)
		if err != nil {
			return err
		}
		if resp, err := h.client.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-h.exited:
			return fmt.Errorf("the hub stopped at its start (%v):\n%s", h.err, h.Tail(2000))
		case <-ctx.Done():
			return fmt.Errorf("the hub was not ready in time:\n%s", h.Tail(2000))
		case <-tick.C:
		}
	}
}

// LogFile is where the process writes.
func (h *Hub) LogFile() string { return filepath.Join(filepath.Dir(h.Dir), "hub.log") }

// Tail gives the last bytes of the log.
func (h *Hub) Tail(n int) string {
	b, _ := os.ReadFile(h.LogFile())
	if len(b) > n {
		b = b[len(b)-n:]
	}
	return strings.TrimSpace(string(b))
}

// PID is the process id.
func (h *Hub) PID() int { return h.cmd.Process.Pid }

// Exited is closed when the process has ended.
func (h *Hub) Exited() <-chan struct{} { return h.exited }

// Kill ends the process at once (SIGKILL) and waits for it.
func (h *Hub) Kill() {
	h.cmd.Process.Kill()
	<-h.exited
	h.log.Close()
}

// Stop asks the process to end (SIGTERM), waits up to ten seconds, then kills it.
func (h *Hub) Stop() error {
	if h.cmd == nil {
		return nil
	}
	h.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-h.exited:
	case <-time.After(10 * time.Second):
		h.cmd.Process.Kill()
		<-h.exited
		h.log.Close()
		return errors.New("the hub did not stop within ten seconds of SIGTERM")
	}
	h.log.Close()
	return h.err
}

// OperatorToken reads the token that serve wrote at its first start.
func (h *Hub) OperatorToken() (string, error) {
	b, err := os.ReadFile(filepath.Join(h.Dir, "operator.token"))
	return strings.TrimSpace(string(b)), err
}

// Call asks the admin API with the operator token. A body that is not nil is sent as JSON; out, where
// not nil, takes the answer. An answer that is not 2xx is an error with what it said.
func (h *Hub) Call(ctx context.Context, method, path string, body, out any) error {
	token, err := h.OperatorToken()
	if err != nil {
		return err
	}
	var rd io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		rd = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, h.Admin+path, rd)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(b))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

// Run runs another command of the binary to its end and gives its output.
func (h *Hub) Run(ctx context.Context, args ...string) (stdout []byte, err error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, h.Exe, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.Dir}, h.Env...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.Bytes(), nil
}
