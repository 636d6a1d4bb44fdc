package receiver

import (
	"errors"
	mathrand "math/rand/v2"
	"net/url"
	"time"
)

// maxRetryAfter is the longest that a Retry-After of the other side holds us.
const maxRetryAfter = time.Hour

// backOff is the pause after the n-th failure in a row: full jitter under a bound that doubles from first to most, and no
// sooner than a Retry-After in err says.
func backOff(n int, first, most time.Duration, err error) time.Duration {
	bound := most
	if n < 30 && first<<(n-1) < most && first<<(n-1) > 0 {
		bound = first << (n - 1)
	}
	pause := time.Duration(mathrand.Int64N(int64(bound))) + 1
	return max(pause, asked(err))
}

// asked is the Retry-After that an error brings.
func asked(err error) time.Duration {
	if e, ok := errors.AsType[*APIError](err); ok {
		return e.RetryAfter
	}
	if e, ok := errors.AsType[*TokenError](err); ok {
		return e.RetryAfter
	}
	if e, ok := errors.AsType[*Busy](err); ok {
		return e.RetryAfter
	}
	return 0
}

// temporary tells whether the same call may succeed in a moment: the other side says so, or the connection failed.
func temporary(err error) bool {
	if e, ok := errors.AsType[*APIError](err); ok {
		return e.Temporary()
	}
	if e, ok := errors.AsType[*TokenError](err); ok {
		return e.Temporary()
	}
	_, ok := errors.AsType[*url.Error](err)
	return ok
}
