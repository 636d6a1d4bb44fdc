// Package idp is an identity provider for the demo and the bench: a complete SSF Transmitter on the
// public SDK alone. It keeps what it sent and what receipts it accepted, and writes the evidence file
// that somebody can verify offline. It knows nothing of the hub but its credential.
package idp
