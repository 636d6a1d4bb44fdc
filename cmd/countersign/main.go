// Command countersign is a Shared Signals hub whose signals come back with a signed receipt, and the
// tools around it. The commands are in internal/cli.
package main

import (
	"context"
	"os"

	"countersign/internal/cli"
)

// version is set by the release build.
var version = "0.1-dev"

func main() { os.Exit(run()) }

func run() int {
	m := &cli.Main{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Version: version}
	return m.Run(context.Background())
}
