package stream

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"countersign/internal/strictjson"
)

// PollRequest is the body of a poll (RFC 8936 §2.2, §2.4). The zero value waits for as many SETs as the transmitter gives.
type PollRequest struct {
	MaxEvents         *int                 `json:"maxEvents,omitempty"`         // most SETs in the answer; nil: no limit; 0: only acknowledge
	ReturnImmediately bool                 `json:"returnImmediately,omitempty"` // do not hold the request where nothing waits
	Ack               []string             `json:"ack,omitempty"`               // jti of SETs that were kept
	SetErrs           map[string]WireError `json:"setErrs,omitempty"`           // by jti: what is wrong with SETs that were not
}

// PollResponse is the answer to a poll (RFC 8936 §2.3).
type PollResponse struct {
	Sets          map[string]string `json:"sets"` // by jti: SETs in compact form; empty: none now
	MoreAvailable bool              `json:"moreAvailable,omitempty"`
}

// MaxPollAnswer is the longest answer to a poll that is read, in bytes: it may hold many SETs.
const MaxPollAnswer = 64 << 20

// MaxJTI is the longest name of a SET in an answer that First gives, in bytes.
const MaxJTI = 4 << 10

// First gives the names of at most so many SETs, in order. A transmitter that sends more than it was asked for is left with the
// rest, which comes again, so that an answer costs no more than what was asked for; so it is with names longer than MaxJTI,
// which we would have to say back.
func (p *PollResponse) First(most int) []string {
	names := make([]string, 0, min(len(p.Sets), most))
	for _, jti := range slices.Sorted(maps.Keys(p.Sets)) {
		if len(names) == most {
			break
		}
		if len(jti) <= MaxJTI {
			names = append(names, jti)
		}
	}
	return names
}

// UnmarshalJSON reads the members, strict about types; unknown ones are ignored. A missing sets is empty: some
// transmitters leave it out where nothing waits.
func (p *PollResponse) UnmarshalJSON(data []byte) error {
	invalid := func(err error) error { return fmt.Errorf("%w: poll answer: %w", ErrInvalid, err) }
	if err := strictjson.Check(data, strictjson.Limits{Bytes: MaxPollAnswer}); err != nil {
		return invalid(err)
	}
	members, err := strictjson.Members(data)
	if err != nil {
		return invalid(err)
	}
	*p = PollResponse{Sets: map[string]string{}}
	for _, m := range members {
		if string(m.Value) == "null" {
			continue
		}
		switch m.Name {
		case "sets":
			sets, err := strictjson.Members(m.Value)
			if err != nil {
				return invalid(errors.New("sets is not an object"))
			}
			for _, one := range sets {
				if p.Sets[one.Name], err = strictjson.String(one.Value); err != nil {
					return invalid(errors.New("sets has a value that is not a string"))
				}
			}
		case "moreAvailable":
			if string(m.Value) != "true" && string(m.Value) != "false" {
				return invalid(errors.New("moreAvailable is neither true nor false"))
			}
			p.MoreAvailable = string(m.Value) == "true"
		}
	}
	return nil
}
