package hub

import (
	"crypto/rand"
	"encoding/base32"
	"time"
)

// Prefixes of the ids that people see.
const (
	PrefixSignal   = "sig"
	PrefixDecision = "dec"
	PrefixAction   = "act"
	PrefixReceipt  = "rct"
	PrefixToken    = "tok"
	PrefixRefusal  = "ref"
)

var crockford = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID makes a prefixed id that sorts by its millisecond and carries 80 random bits, such as
// sig_06c1zr2t3v0g9m5a7k8b1n4q2e. It is safe for concurrent use.
func NewID(prefix string, now time.Time) string {
	var b [16]byte
	ms := uint64(now.UnixMilli())
	for i := 5; i >= 0; i-- {
		b[i] = byte(ms)
		ms >>= 8
	}
	rand.Read(b[6:])
	return prefix + "_" + crockford.EncodeToString(b[:])
}

// Micros is a moment as the store keeps it: UTC microseconds since 1970. Zero means "not set".
type Micros int64

// At converts a time; the zero time gives 0.
func At(t time.Time) Micros {
	if t.IsZero() {
		return 0
	}
	return Micros(t.UnixMicro())
}

// Time converts back; 0 gives the zero time.
func (m Micros) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(m)).UTC()
}

// Seconds is the NumericDate of the moment, floored; 0 stays 0.
func (m Micros) Seconds() int64 { return int64(m) / 1e6 }
