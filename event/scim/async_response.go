package scim

import (
	"encoding/json"

	"countersign/event"
)

// AsyncResponse is the outcome of one request that was answered 202 earlier: one operation of a SCIM
// bulk response (RFC 9967 §2.5.1.3). The txn of its token is the Set-Txn value of that answer.
type AsyncResponse struct {
	Method   string          // the HTTP method of the request
	Status   string          // the HTTP status as text, such as "200"
	Version  string          // ETag of the resource after the event
	BulkID   string          // of the request, where it had one
	Location string          // of the resource
	Response json.RawMessage // the SCIM error; REQUIRED when the request failed
	Extra    []event.Extra
}

// Describe lists the members.
func (e *AsyncResponse) Describe(m *event.Members) {
	m.String("method", &e.Method)
	m.String("status", &e.Status)
	m.String("version", &e.Version)
	m.String("bulkId", &e.BulkID)
	m.String("location", &e.Location)
	m.Object("response", &e.Response)
	m.Rest(&e.Extra)
}

// Validate wants a status, and the SCIM error with one that is not 2xx.
func (e *AsyncResponse) Validate() error {
	if err := event.Need("status", e.Status); err != nil {
		return err
	}
	if e.Status[0] != '2' && len(e.Response) == 0 {
		return event.Problem("response", "is required when the request failed")
	}
	return nil
}

// MarshalJSON writes the members and all unknown ones.
func (e *AsyncResponse) MarshalJSON() ([]byte, error) { return event.Marshal(e) }

// UnmarshalJSON reads the members, strict about their types, and keeps unknown ones.
func (e *AsyncResponse) UnmarshalJSON(data []byte) error { return event.Unmarshal(data, e) }
