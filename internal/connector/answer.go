package connector

import (
	"time"

	"countersign/internal/hub"
)

// Class is how an answer was judged. The words are those of hub.Attempt.Class.
type Class string

// The classes, in the order in which a pack's rules are tried. What no rule names is Unknown.
const (
	Done        Class = "done"         // the act has happened
	AlreadyDone Class = "already_done" // there was nothing left to do
	Accepted    Class = "accepted"     // the app does it later: read back until proven
	Refused     Class = "refused"      // the app will not do it, and trying again does not help
	Retry       Class = "retry"        // not done; trying again can help
	Unknown     Class = "unknown"      // sent, and nobody can say: read back first, never repeat blindly
)

// Repeat is what a second identical request does (compat/app-actions §1.2).
type Repeat string

// The repeat classes. The zero value is read as RepeatConflict: not safe to repeat.
const (
	RepeatSame     Repeat = "same"     // the same success: safe to repeat without looking
	RepeatGone     Repeat = "gone"     // 404 once it is done
	RepeatConflict Repeat = "conflict" // 400, 409 or 412 once it is done
	RepeatSoft     Repeat = "soft"     // 200 with a hint inside
	RepeatLater    Repeat = "later"    // 202, done some time later
)

// Answer is what one operation at an app gave. Nothing in it holds a secret.
type Answer struct {
	Class  Class
	Status int // HTTP status; 0 where nothing was answered
	// Sent reports whether the request, or part of it, can have reached the app. It is false where the
	// egress guard, the name service, the dial or the TLS handshake refused, and where a guard of the
	// pack or the rendering of the request stopped it: then nothing was done, for certain.
	Sent bool
	// Reason is the receipt's reason code for this answer if it becomes final: app_unreachable,
	// app_denied, app_error, rate_limited, timed_out, policy_declined, no_such_subject, ambiguous_subject,
	// not_supported, internal_error; empty for Done, AlreadyDone and Accepted.
	Reason     string
	RetryAfter time.Duration // what the app asked for; 0 where it said nothing
	Request    string        // method and path, secrets masked
	Note       string        // one line for people: which rule judged it, or what went wrong
	Body       string        // the answer's text as kept: at most 2 KiB, secrets and declared fields masked
}

// Input is what one operation acts on.
type Input struct {
	Account    string // the app's id of the account
	Session    string // end_session: the id in the app's own name space
	Email      string // lookup_account: the address that is asked for
	Key        string // idempotency key, sent as Idempotency-Key with acting requests; empty sends none
	LookedUp   bool   // a look-up answered for this account in this very action: some packs count a 404 only then
	Page       string // list_accounts: what next gave on the page before; empty: the first
	PageNumber int    // list_accounts: from 1
}

// Proof is what a read-back gave.
type Proof struct {
	// Answer is that of the reading request. Only Class Done says anything about Proven.
	Answer Answer
	// Proven reports that the read-back shows the operation's effect.
	Proven bool
	// Left counts the sessions still listed; -1 where the read-back does not list sessions.
	Left int
	// Listed are their ids, at most 1000.
	Listed []string
	// Refusal reports that the proof is one of refusal (B1): a session list that shows the end of sessions,
	// and not a recorded state.
	Refusal bool
}

// ReadBack is a pack's way to see whether an operation took effect.
type ReadBack struct {
	Use   hub.Operation // list_sessions or read_account_state
	After time.Duration // wait before the first look
	Every time.Duration // between looks
	Tries int           // looks after a plain success; an accepted one is looked at until the deadline
}
