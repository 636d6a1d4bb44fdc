// Package pgtest gives tests a real PostgreSQL: a fresh schema on the server that COUNTERSIGN_TEST_POSTGRES
// names, or on one that is started once for the test binary from the system's own programs, in a temporary
// folder, and that ends with the test binary even when that is killed. A machine without the programs
// fails the test with the command that installs them; nothing is skipped.
//
// It knows nothing of the store: who opens the URL makes the tables.
package pgtest
