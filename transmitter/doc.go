// Package transmitter is an SSF Transmitter.
package transmitter
