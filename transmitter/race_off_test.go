//go:build !race

package transmitter_test

// heldPollBytes bounds the memory of a held poll, both ends included: those of a connection that does nothing but wait in
// net/http are 21 KiB.
const heldPollBytes = 14 << 10
