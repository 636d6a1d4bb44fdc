package receipt

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"countersign/internal/strictjson"
)

// ErrPolicy is wrapped by every error about a policy file (A2); it is a usage error, exit 3.
var ErrPolicy = errors.New("receipt: not a verification policy")

// policy is the policy file of A2. Unknown members are an error, so that a misspelt rule never weakens a check.
type policy struct {
	Now             int64               `json:"now"`
	Pins            map[string][]string `json:"pins"` // issuer to RFC 7638 SHA-256 thumbprints (A3)
	Streams         []StreamRule        `json:"streams"`
	Evidence        string              `json:"evidence"` // lowest level acceptable whatever the order asked
	Vocabularies    []Vocabulary        `json:"vocabularies"`
	RequireLog      bool                `json:"require_log"`
	MaxReceiptBytes int                 `json:"max_receipt_bytes"` // 0: not applied (A42)
}

var thumbprintForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

var policySchema = closed(nil, members{
	"now":      timeRule,
	"pins":     each(0, 0, list(0, 0, str(0, thumbprintForm))),
	"streams":  list(0, 0, closed([]string{"iss", "aud", "receipt_issuer", "receipt_audience"}, members{"iss": str(0, nil), "aud": str(0, nil), "receipt_issuer": str(0, nil), "receipt_audience": str(0, nil)})),
	"evidence": levelRule,
	"vocabularies": list(0, 0, closed([]string{"directive", "event"}, members{"settings": str(0, nil), "directive": str(0, nil), "event": str(0, nil),
		"withdrawn": str(0, nil), "directive_location": enum(AtClaim, AtEvent)})),
	"require_log":       boolean,
	"logs":              list(0, 0, closed([]string{"origin", "vkey"}, members{"origin": str(0, nil), "vkey": str(0, nil)})),
	"max_receipt_bytes": whole(1, 0),
})

// closed is obj without room for members it does not know.
func closed(required []string, props members) rule {
	open := obj(required, props)
	return func(v any) error {
		if o, ok := v.(map[string]any); ok {
			for name := range o {
				if props[name] == nil {
					return fault("has the unknown member %q", name)
				}
			}
		}
		return open(v)
	}
}

// parsePolicy reads a policy; nil data is the policy without rules.
func parsePolicy(data []byte, now time.Time) (*policy, error) {
	p := &policy{Now: now.Unix()}
	if data == nil {
		return p, nil
	}
	if err := strictjson.Check(data, strictjson.Limits{NoFloats: true}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	t, err := tree(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	if err := policySchema(t); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	if err := decode(data, p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	return p, nil
}
