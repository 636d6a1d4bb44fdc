package caep

import "countersign/event"

// Who started what the event reports (CAEP 1.0 §2). It is a statement of the sender, and some senders
// get it wrong; do not take it for proof.
const (
	ByAdmin  = "admin"
	ByUser   = "user"
	ByPolicy = "policy"
	BySystem = "system"
)

// Common holds the claims that every CAEP event may carry (CAEP 1.0 §2).
type Common struct {
	EventTimestamp   int64      // when it happened, seconds since 1970; 0: not said
	Milliseconds     bool       // the sender wrote milliseconds; EventTimestamp is in seconds all the same
	InitiatingEntity string     // ByAdmin, ByUser, ByPolicy, BySystem; empty: not said
	ReasonAdmin      event.Text // for logs and audit; nil: not said
	ReasonUser       event.Text // for the end user; nil: not said
	Extra            []event.Extra
}

func (c *Common) describe(m *event.Members) {
	m.Time("event_timestamp", &c.EventTimestamp, &c.Milliseconds)
	m.String("initiating_entity", &c.InitiatingEntity)
	m.Text("reason_admin", &c.ReasonAdmin)
	m.Text("reason_user", &c.ReasonUser)
	m.Rest(&c.Extra)
}

func (c *Common) validate() error {
	return event.First(
		event.OneOf("initiating_entity", c.InitiatingEntity, ByAdmin, ByUser, ByPolicy, BySystem),
		event.NotEmpty("reason_admin", c.ReasonAdmin),
		event.NotEmpty("reason_user", c.ReasonUser),
	)
}
