// Package connectors holds the packs that are part of the program, one folder per product: pack.yaml,
// README.md and testdata/*.txtar. It is data; internal/connector reads and runs it.
package connectors
