package hub

import (
	"errors"
	"fmt"
)

// Code classifies an error once, for every door. The zero value is Internal.
type Code string

// The codes, with their HTTP status and CLI exit status in Code.HTTP and Code.Exit.
const (
	Internal        Code = "internal"
	Invalid         Code = "invalid"
	Unauthenticated Code = "unauthenticated"
	Forbidden       Code = "forbidden"
	NotFound        Code = "not_found"
	Conflict        Code = "conflict"
	Limited         Code = "limited"
	Unavailable     Code = "unavailable"
)

// HTTP is the status a door answers with.
func (c Code) HTTP() int {
	switch c {
	case Invalid:
		return 400
	case Unauthenticated:
		return 401
	case Forbidden:
		return 403
	case NotFound:
		return 404
	case Conflict:
		return 409
	case Limited:
		return 429
	case Unavailable:
		return 503
	}
	return 500
}

// Exit is the exit status of the command line.
func (c Code) Exit() int {
	switch c {
	case Invalid:
		return 2
	case Unauthenticated, Forbidden:
		return 3
	case NotFound, Conflict:
		return 4
	case Limited, Unavailable:
		return 5
	}
	return 1
}

// Error is the hub's one error type: a code for machines, a message for people, a hint that says
// what to do next, over whatever it wraps. Message and Hint never hold tokens, secrets or subjects.
type Error struct {
	Code    Code
	Message string
	Hint    string // what to run or check next; may be empty
	Err     error  // the cause; may be nil
}

// Error gives the message, and the cause where there is one.
func (e *Error) Error() string {
	if e.Err != nil && e.Message != "" {
		return e.Message + ": " + e.Err.Error()
	}
	if e.Err != nil {
		return e.Err.Error()
	}
	return e.Message
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error. A %w verb wraps its cause.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// WithHint returns a copy of e that says what to do next.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// CodeOf gives the code of the first Error in err's chain, and Internal where there is none.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}
