//go:build !unix

package pgtest

import "os/exec"

type person struct{}

func account() (person, error)    { return person{}, nil }
func (p person) own(string) error { return nil }
func detach(*exec.Cmd)            {}
func (p person) command(name string, args ...string) *exec.Cmd {
	return exec.Command(name, args...)
}
