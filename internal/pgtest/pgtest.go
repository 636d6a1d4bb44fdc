package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Env names a server to use instead of starting one: postgres://user:password@host:port/database.
const Env = "COUNTERSIGN_TEST_POSTGRES"

// install is what a machine without PostgreSQL is told.
const install = "PostgreSQL's server programs were not found: apt-get install -y postgresql (Debian, Ubuntu), dnf install -y postgresql-server (Fedora), brew install postgresql; " +
	"or set " + Env + " to a server"

// URL gives the address of a database whose search path is a fresh schema, and the schema's name. The schema
// is not made yet: store.Open makes it with Config.Schema. A server of our own throws it away with its folder.
func URL(t testing.TB) (address, schema string) {
	t.Helper()
	base, err := Server()
	if err != nil {
		t.Fatal(err)
	}
	var b [6]byte
	rand.Read(b[:])
	return base, "test_" + hex.EncodeToString(b[:])
}

var started = sync.OnceValues(start)

// Server gives the address of the one server of this process, starting it first where needed.
func Server() (string, error) {
	if u := os.Getenv(Env); u != "" {
		return u, nil
	}
	return started()
}

// programs finds the folder with initdb and postgres, the newest version first.
func programs() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	best, version := "", -1
	for _, f := range found {
		v, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(f))))
		if v > version {
			best, version = filepath.Dir(f), v
		}
	}
	if best != "" {
		return best, nil
	}
	initdb, err := exec.LookPath("initdb")
	if err != nil {
		return "", fmt.Errorf("%s", install)
	}
	if initdb, err = filepath.EvalSymlinks(initdb); err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(initdb), "postgres")); err != nil {
		return "", fmt.Errorf("%s", install)
	}
	return filepath.Dir(initdb), nil
}

// start makes a cluster in a temporary folder and runs it for as long as this process lives.
func start() (address string, err error) {
	bin, err := programs()
	if err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp("", "countersign-pg-")
	if err != nil {
		return "", err
	}
	user, err := account()
	if err != nil {
		return "", err
	}
	if err := user.own(folder); err != nil {
		return "", err
	}
	data := filepath.Join(folder, "data")
	out, err := user.command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").CombinedOutput()
	if err != nil {
		os.RemoveAll(folder)
		return "", fmt.Errorf("initdb: %w: %s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	log, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		return "", err
	}
	defer log.Close()
	// The watchdog holds the reading end of a pipe whose writing end is ours alone. When we end, in whatever
	// way, it reads the end of the file, stops the server and removes the folder.
	gone, hold, err := os.Pipe()
	if err != nil {
		return "", err
	}
	script := `trap '' INT TERM HUP
"$@" & server=$!
read -r _ <&3
kill -QUIT $server 2>/dev/null
wait $server 2>/dev/null
rm -rf "$FOLDER"`
	server := user.command("/bin/sh", "-c", script, "watchdog", filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+folder, "-c", "max_connections=300", "-c", "shared_buffers=64MB", "-c", "max_wal_size=512MB")
	server.Env = append(os.Environ(), "FOLDER="+folder)
	server.Dir = folder
	server.Stdout, server.Stderr = log, log
	server.ExtraFiles = []*os.File{gone}
	detach(server)
	if err := server.Start(); err != nil {
		return "", fmt.Errorf("postgres: %w", err)
	}
	gone.Close()
	holds = append(holds, hold)
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Path: "/postgres", RawQuery: "sslmode=disable"}
	if err := wait(filepath.Join(bin, "pg_isready"), port, filepath.Join(folder, "log")); err != nil {
		hold.Close()
		return "", err
	}
	return u.String(), nil
}

// holds keeps the writing ends open until the process ends.
var holds []*os.File

// wait returns when the server takes connections.
func wait(ready string, port int, log string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if exec.CommandContext(ctx, ready, "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(port)).Run() == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			text, _ := os.ReadFile(log)
			return fmt.Errorf("postgres does not start: %s", strings.TrimSpace(string(text)))
		case <-tick.C:
		}
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
