package stage

import "syscall"

// dieWithParent makes the kernel end the child when we are killed, so that no hub is left behind.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
