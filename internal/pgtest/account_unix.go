//go:build unix

package pgtest

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// person is the account that the server runs under: ours, or an unprivileged one where we are root, which
// initdb refuses.
type person struct {
	root     bool
	uid, gid int
}

func account() (person, error) {
	if os.Getuid() != 0 {
		return person{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if uid > 0 {
			return person{root: true, uid: uid, gid: gid}, nil
		}
	}
	return person{}, errors.New("PostgreSQL does not run as root, and there is neither an account postgres nor nobody: adduser --system postgres")
}

// own gives a folder to the account.
func (p person) own(folder string) error {
	if !p.root {
		return nil
	}
	return os.Chown(folder, p.uid, p.gid)
}

// command makes a command that runs under the account.
func (p person) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{}
	if p.root {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(p.uid), Gid: uint32(p.gid)}
	}
	return c
}

// detach puts a command in a process group of its own, so that an interrupt at the terminal does not reach it before us.
func detach(c *exec.Cmd) { c.SysProcAttr.Setpgid = true }
