// Package connectors holds the packs that are part of the program, one folder per product: pack.yaml,
// README.md and testdata/*.txtar. It is data; internal/connector reads and runs it.
package connectors

import "embed"

// FS holds every pack folder with its pairs.
//
//go:embed */pack.yaml */README.md */testdata/*.txtar
var FS embed.FS
