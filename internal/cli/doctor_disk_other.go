//go:build !linux && !darwin

package cli

import "errors"

// diskSpace is not known for this system.
func diskSpace(string) (free, total uint64, err error) {
	return 0, 0, errors.New("how to ask for disk space is not known on this system")
}
