// Package ssf holds the two event types of the Shared Signals Framework 1.0 itself. Both are about a
// stream and not about a person; a transmitter may send them on any stream, asked for or not.
package ssf
