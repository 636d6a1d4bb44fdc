package receiver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"countersign/internal/strictjson"
	"countersign/receipt"
	"countersign/set"
	"countersign/stream"
)

// Receipts is how a Mux answers orders: by a signed receipt, pushed to the transmitter's receipt endpoint (receipts design
// §6). Ask puts the offer into a stream configuration, Agree reads the answer; both come before Mux.Run. Without an agreement
// nothing is an order.
type Receipts struct {
	// Signer signs receipts. Its public key is part of the offer.
	Signer *set.Signer
	// Issuer is who answers, an https URL of ours: the iss of receipts.
	Issuer string
	// Credential is shown at the receipt endpoint: that of the stream API. Nil: none.
	Credential Credential
	// Merchant is how we want to be shown on receipts.
	Merchant receipt.Merchant
	// Vocabulary is the set of names. The zero value is receipt.Default().
	Vocabulary receipt.Vocabulary

	// What was agreed; Agree fills it in. Endpoint takes receipts, and is empty where there is no agreement.
	Endpoint string
	// Audience is the aud of receipts. Empty: the transmitter's issuer.
	Audience string
	// Actions are those that may be ordered. Nil: any for which there is a function.
	Actions []string

	// Sent is told of each receipt: nil when the transmitter has taken it, and an error when it was refused or given up. Nil:
	// nobody is told, and the log has it.
	Sent func(r *receipt.Receipt, err error)
}

func (r *Receipts) check() error {
	if r.Signer == nil || r.Issuer == "" {
		return errors.New("receiver: receipts need a signer and an issuer")
	}
	return nil
}

func (r *Receipts) agreed() bool { return r != nil && r.Endpoint != "" }

func (r *Receipts) vocabulary() receipt.Vocabulary {
	if r.Vocabulary.Event == "" {
		return receipt.Default()
	}
	return r.Vocabulary
}

// Ask adds the offer to answer orders of these actions to a configuration that is about to be sent, and reports whether the
// transmitter takes receipts: to one that does not, nothing may be sent about them (receipts design §3.3).
func (r *Receipts) Ask(md *stream.Metadata, cfg *stream.Configuration, can ...receipt.Capability) (bool, error) {
	offered, v, ok := receipt.Offered(md.Extra, r.vocabulary())
	if !ok || !slices.Contains(offered.DeliveryMethods, receipt.DeliveryPush) {
		return false, nil
	}
	settings := receipt.Settings{ReceiptIssuer: r.Issuer, JWKS: set.MarshalJWKS([]set.Key{r.Signer.Public()}), Delivery: receipt.DeliveryPush, Capabilities: can}
	if err := settings.CheckRequest(); err != nil {
		return false, err
	}
	raw, err := settings.Marshal()
	if err != nil {
		return false, err
	}
	if cfg.Extra == nil {
		cfg.Extra = map[string]json.RawMessage{}
	}
	cfg.Extra[v.Settings] = raw
	return true, nil
}

// Agree reads what the transmitter answered to a configuration with an offer, and reports whether orders may come.
func (r *Receipts) Agree(md *stream.Metadata, got *stream.Configuration) bool {
	answer, ok := receipt.Agreed(got.Extra, r.vocabulary())
	r.Endpoint = ""
	if !ok {
		return false
	}
	offered, _, _ := receipt.Offered(md.Extra, r.vocabulary())
	r.Endpoint = cmp.Or(answer.Endpoint, offered.Endpoint)
	r.Audience = cmp.Or(answer.ReceiptAudience, md.Issuer)
	r.Actions = answer.Actions
	return r.agreed()
}

// mayOrder tells whether an action was agreed.
func (r *Receipts) mayOrder(action string) bool {
	return r.Actions == nil || slices.Contains(r.Actions, action)
}

// Retries of a receipt (receipts design §6.5).
const (
	receiptPause    = time.Second
	receiptLongest  = time.Hour
	receiptPatience = 72 * time.Hour
	receiptAfter    = 24 * time.Hour // after complete_by
)

// errReceipt is a receipt that the transmitter refused for good.
var errReceipt = errors.New("receiver: the transmitter refused the receipt")

// post delivers a receipt (RFC 8935 §2). An error that is an errReceipt is final.
func (r *Receipts) post(ctx context.Context, h *http.Client, compact string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	renewed := false
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.Endpoint, strings.NewReader(compact))
		if err != nil {
			return fmt.Errorf("%w: its endpoint is no address", errReceipt)
		}
		req.Header.Set("Content-Type", MediaType)
		req.Header.Set("Accept", "application/json")
		if r.Credential != nil {
			if err := r.Credential.Authorize(req); err != nil {
				return err
			}
		}
		res, err := h.Do(req)
		if err != nil {
			return err
		}
		body, _ := io.ReadAll(io.LimitReader(res.Body, 8<<10))
		res.Body.Close()
		if res.StatusCode >= 200 && res.StatusCode < 300 {
			return nil
		}
		if res.StatusCode == http.StatusUnauthorized && !renewed && r.Credential != nil && r.Credential.Renew(req) {
			renewed = true
			continue
		}
		failed := &APIError{Operation: "send receipt", Status: res.StatusCode, RetryAfter: retryAfter(res.Header), Renewed: renewed}
		var wrong stream.WireError
		if strictjson.Unmarshal(body, &wrong) == nil && wrong.Err != "" {
			failed.Excerpt = excerpt([]byte(wrong.Err + " " + wrong.ReceiptError + " " + wrong.Description))
		}
		if failed.Temporary() {
			return failed
		}
		return fmt.Errorf("%w: %w", errReceipt, failed)
	}
}
