package stream

import (
	"encoding/json"
	"fmt"
)

// The statuses of a stream (SSF 1.0 §8.1.2.1).
const (
	Enabled  = "enabled"  // SETs are transmitted
	Paused   = "paused"   // SETs are held
	Disabled = "disabled" // SETs are neither transmitted nor held
)

// Status is a stream's status, as it is read and as it is asked for (SSF 1.0 §8.1.2).
type Status struct {
	StreamID string `json:"stream_id"`
	Status   string `json:"status"`
	Reason   string `json:"reason,omitempty"`
}

// Validate wants a stream id and one of the three statuses, in exactly these letters.
func (s Status) Validate() error {
	if s.StreamID == "" {
		return fmt.Errorf("%w: stream_id is missing", ErrInvalid)
	}
	switch s.Status {
	case Enabled, Paused, Disabled:
		return nil
	case "":
		return fmt.Errorf("%w: status is missing", ErrInvalid)
	}
	return fmt.Errorf("%w: status is not one of enabled, paused, disabled", ErrInvalid)
}

// UnmarshalJSON reads the members, strict about types; unknown ones are ignored.
func (s *Status) UnmarshalJSON(data []byte) error {
	*s = Status{}
	_, err := readObject("stream status", data, []field{
		{"stream_id", &s.StreamID}, {"status", &s.Status}, {"reason", &s.Reason},
	})
	return err
}

// VerifyRequest asks for a verification event (SSF 1.0 §8.1.4.2).
type VerifyRequest struct {
	StreamID string `json:"stream_id"`
	State    string `json:"state,omitempty"` // echoed in the event; empty: none
}

// UnmarshalJSON reads the members, strict about types; unknown ones are ignored.
func (v *VerifyRequest) UnmarshalJSON(data []byte) error {
	*v = VerifyRequest{}
	_, err := readObject("verification request", data, []field{
		{"stream_id", &v.StreamID}, {"state", &v.State},
	})
	return err
}

// SubjectRequest adds a subject to a stream or removes one (SSF 1.0 §8.1.3.2, §8.1.3.3).
type SubjectRequest struct {
	StreamID string          `json:"stream_id"`
	Subject  json.RawMessage `json:"subject"`            // a subject identifier; nil: missing
	Verified *bool           `json:"verified,omitempty"` // of an addition: whether the receiver verified it; nil: true
}

// IsVerified gives verified with its default.
func (r SubjectRequest) IsVerified() bool { return r.Verified == nil || *r.Verified }

// UnmarshalJSON reads the members, strict about types; unknown ones are ignored.
func (r *SubjectRequest) UnmarshalJSON(data []byte) error {
	*r = SubjectRequest{}
	_, err := readObject("subject request", data, []field{
		{"stream_id", &r.StreamID}, {"subject", &r.Subject}, {"verified", &r.Verified},
	})
	return err
}
