package receiver

import (
	"context"

	"countersign/event"
	"countersign/event/caep"
	"countersign/receipt"
)

// Signal is one event on its way to the function that acts on it.
type Signal[P event.Payload] struct {
	*Delivery
	// Event is the payload as its type has it.
	Event P
	// Order is the order that the token carries. Nil: it is a signal only, and no receipt is owed.
	Order *receipt.Order
	// Action is what is asked for, one of the order's actions. Zero where there is no order.
	Action receipt.OrderedAction
	// Ref is the same at each try of this action: a key by which the application knows a repeat (receipts design §5.3).
	Ref string
	// Try counts the calls for this action, from 1.
	Try int
}

// The signals of CAEP 1.0.
type (
	SessionRevoked         = Signal[*caep.SessionRevoked]
	TokenClaimsChange      = Signal[*caep.TokenClaimsChange]
	CredentialChange       = Signal[*caep.CredentialChange]
	AssuranceLevelChange   = Signal[*caep.AssuranceLevelChange]
	DeviceComplianceChange = Signal[*caep.DeviceComplianceChange]
	SessionEstablished     = Signal[*caep.SessionEstablished]
	SessionPresented       = Signal[*caep.SessionPresented]
	RiskLevelChange        = Signal[*caep.RiskLevelChange]
	// Other is a signal of any type.
	Other = Signal[event.Payload]
)

// Act is a function that acts on signals of one type and says what became of it.
type Act[P event.Payload] func(ctx context.Context, s *Signal[P]) (receipt.Line, error)
