//go:build !unix

package store

import "os"

// lockFile relies on SQLite's own locks where the system has no flock.
func lockFile(*os.File) error { return nil }
