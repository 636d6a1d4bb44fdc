//go:build race

package transmitter_test

// heldPollBytes bounds the memory of a held poll. The race detector keeps more for each goroutine.
const heldPollBytes = 48 << 10
