//go:build linux || darwin

package cli

import "syscall"

// diskSpace gives what is free for us below path, and the size of its file system, in bytes.
func diskSpace(path string) (free, total uint64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return 0, 0, err
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}
