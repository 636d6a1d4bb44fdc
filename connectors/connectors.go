package connectors

import "embed"

// FS holds every pack folder with its pairs.
//
//go:embed */pack.yaml */README.md */testdata/*.txtar
var FS embed.FS
