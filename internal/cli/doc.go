// Package cli is the command line: one file per noun, each command a thin door over the admin API,
// over the SDK (what needs no hub), or over internal/server (serve).
//
// A command prints its result to stdout, for people or with --json for programs (one object, or one
// object a line for lists). Errors go to stderr and end with the next step; the exit status is that
// of the error's code (style: 2 invalid, 3 unauthenticated or forbidden, 4 not found or conflict, 5 try
// again, 1 anything else). receipt verify alone has exit codes of its own.
//
// The hub is found by --server and --token, by COUNTERSIGN_SERVER and COUNTERSIGN_TOKEN, or in the
// data folder (--data) of a hub on this machine.
package cli
