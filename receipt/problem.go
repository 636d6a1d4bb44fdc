package receipt

import "fmt"

// Values of receipt_error (design §6.2, A36).
const (
	CodeMalformed        = "malformed"
	CodeWrongIssuer      = "wrong_issuer"
	CodeBadSignature     = "bad_signature"
	CodeWrongAudience    = "wrong_audience"
	CodeBadTime          = "bad_time"
	CodeUnknownOrder     = "unknown_order"
	CodeOrderMismatch    = "order_mismatch"
	CodeSequenceConflict = "sequence_conflict"
	CodeSchema           = "schema"
	CodeTotalsMismatch   = "totals_mismatch"
)

// Problem is why a receipt is refused: the check of design §6.2 that failed and its error names (A36).
type Problem struct {
	Check        int    // 1 to 8
	Err          string // RFC 8935 err
	ReceiptError string
	Text         string // for the description; names members, never quotes values of the sender
	// Disputed asks for the order to be marked disputed and both contents kept (design §6.3).
	Disputed bool
}

// Error makes a Problem an error.
func (p *Problem) Error() string {
	return fmt.Sprintf("receipt: check %d: %s/%s: %s", p.Check, p.Err, p.ReceiptError, p.Text)
}

// problem builds one from its receipt_error; check and err follow from A36.
func problem(code, format string, args ...any) *Problem {
	p := &Problem{ReceiptError: code, Err: "invalid_request", Text: fmt.Sprintf(format, args...)}
	switch code {
	case CodeMalformed:
		p.Check = 2
	case CodeWrongIssuer:
		p.Check, p.Err = 3, "invalid_issuer"
	case CodeBadSignature:
		p.Check, p.Err = 3, "invalid_key"
	case CodeWrongAudience:
		p.Check, p.Err = 4, "invalid_audience"
	case CodeBadTime:
		p.Check = 4
	case CodeUnknownOrder:
		p.Check, p.Err = 5, "access_denied"
	case CodeOrderMismatch:
		p.Check, p.Err = 6, "access_denied"
	case CodeSequenceConflict:
		p.Check = 7
	default:
		p.Check = 8
	}
	return p
}

// NewProblem is the Problem a caller answers with for the checks that are its own: 1 (CodeMalformed), 3
// (CodeWrongIssuer, CodeBadSignature) and 5 (CodeUnknownOrder).
func NewProblem(code, text string) *Problem { return problem(code, "%s", text) }
