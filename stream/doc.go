// Package stream holds what both ends of a stream say to each other in JSON: the transmitter's
// metadata, a stream's configuration and status, the verification request (SSF 1.0 §7, §8.1), and the
// errors of a delivery (RFC 8935 §2.3).
//
// Reading is lenient where senders differ and strict where it matters: unknown members are kept in
// Extra and written back, null is the same as absent, aud is a string or an array, names are
// compared exactly, and a known member of a wrong type is an error that names it. Writing omits what
// is absent and never writes null.
//
// Who may do what to which stream is the transmitter's business; how a receiver asks is in receiver.
package stream
