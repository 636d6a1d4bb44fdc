package cli

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/receipt"
	"countersign/set"
	"countersign/stream"
)

// till answers orders with receipts. Its key lives as long as the run.
type till struct {
	l      *listener
	token  string // for the receipt endpoint; empty: none
	signer *set.Signer
	words  receipt.Vocabulary
	offer  receipt.Settings // what we say when the stream is made
	agreed receipt.Settings // what the transmitter answered; guarded by l.mu, since orders may come before the answer
}

// terms are what was agreed, as far as it is known yet.
func (t *till) terms() receipt.Settings {
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	return t.agreed
}

// newTill negotiates on our side: with the transmitter's metadata at hand, and before a stream is made.
func newTill(l *listener, token string) (*till, error) {
	theirs, words, ok := receipt.Offered(l.md.Extra, receipt.Default())
	if !ok {
		return nil, hub.Errorf(hub.Invalid, "the transmitter offers no receipts").WithHint("leave --receipts out")
	}
	if l.f.stream != "" {
		return nil, hub.Errorf(hub.Invalid, "receipts are negotiated when a stream is made; --stream uses one that is there").WithHint("leave out --stream or --receipts")
	}
	t := &till{l: l, token: token, words: words}
	key, err := set.GenerateKey(set.ES256)
	if err != nil {
		return nil, err
	}
	if t.signer, err = set.NewSigner(set.ES256, "", key); err != nil {
		return nil, err
	}
	actions := []string{"record"}
	if l.f.receipts == "done" {
		actions = theirs.Actions
	}
	t.offer = receipt.Settings{
		// Nobody can look up a name below .invalid (RFC 2606 §2): the key that is sent along is what counts.
		ReceiptIssuer: "https://listen.invalid/" + t.signer.KeyID(),
		JWKS:          set.MarshalJWKS([]set.Key{t.signer.Public()}),
		Delivery:      receipt.DeliveryPush,
	}
	for _, action := range actions {
		t.offer.Capabilities = append(t.offer.Capabilities, receipt.Capability{Action: action})
	}
	return t, nil
}

// answer issues the final receipt of an order and sends it. Of exceptions alone nothing is said where all was done.
func (t *till) answer(o *receipt.Order) {
	r, err := t.receipt(o)
	if r == nil && err == nil {
		return
	}
	var compact string
	if err == nil {
		compact, err = t.sign(o, r)
	}
	if err == nil {
		err = t.send(compact)
	}
	if t.l.a.flags.json {
		line := map[string]any{"order": o.JTI}
		if r != nil {
			line["receipt_no"], line["outcome"], line["receipt"] = r.Number, r.Outcome, compact
		}
		if err != nil {
			line["error"] = err.Error()
		}
		t.l.print(line)
		return
	}
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	now := time.Now().UTC().Format("15:04:05.000Z")
	if err != nil {
		t.l.a.say("%s  receipt for %s: %v", now, o.JTI, err)
		return
	}
	t.l.a.say("%s  receipt %s for %s: %s, taken", now, r.Number, o.JTI, r.Outcome)
}

// receipt says what was done: nothing but what --receipts says.
func (t *till) receipt(o *receipt.Order) (*receipt.Receipt, error) {
	o.ReceiptIssuer, o.ReceiptAudience, o.Vocabulary = t.offer.ReceiptIssuer, t.terms().ReceiptAudience, t.words
	now := time.Now().Unix()
	r := &receipt.Receipt{Number: receipt.NewNumber(), Seq: 1, Stage: receipt.StageFinal, Order: receipt.OrderLink{ReceivedAt: now},
		Merchant: &receipt.Merchant{Name: "countersign listen"}, Customer: receipt.CustomerFor(o)}
	if why := o.Directive.Refusal(); why != "" {
		r.Lines = receipt.RefusedLines(o.Directive, why, now)
	} else {
		for _, action := range o.Directive.Actions {
			line := receipt.Line{ID: action.ID, Action: action.Action, Target: action.Target, Status: receipt.Failed, Reason: "not_supported", CompletedAt: now}
			if action.Action == "revoke_sessions" {
				line.Reach = action.Reach()
			}
			if action.Action == "record" || t.l.f.receipts == "done" {
				line.Status, line.Reason = receipt.Succeeded, "done"
			}
			r.Lines = append(r.Lines, line)
		}
	}
	r.Totals, r.Outcome = receipt.Compute(o.Directive, r.Lines)
	if o.Directive.Receipt.When == "exceptions" && r.Outcome == receipt.OutcomeFulfilled {
		return nil, nil
	}
	return r, nil
}

func (t *till) sign(o *receipt.Order, r *receipt.Receipt) (string, error) {
	payload, err := receipt.Issue(o, r, set.NewID(), time.Now().Unix())
	if err != nil {
		return "", err
	}
	return t.signer.Sign(payload)
}

// send posts a receipt, some times where that can help.
func (t *till) send(compact string) error {
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	var err error
	for try := range 4 {
		if try > 0 {
			wait(ctx, time.Duration(try)*time.Second)
		}
		var again bool
		if again, err = t.post(ctx, compact); err == nil || !again {
			return err
		}
	}
	return err
}

func (t *till) post(ctx context.Context, compact string) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.terms().Endpoint, strings.NewReader(compact))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/secevent+jwt")
	req.Header.Set("Accept", "application/json")
	if t.token != "" {
		req.Header.Set("Authorization", "Bearer "+t.token)
	}
	resp, err := t.l.http.Do(req)
	if err != nil {
		return true, reached("the receipt endpoint", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return true, reached("the receipt endpoint", err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return false, nil
	}
	var we stream.WireError
	text := http.StatusText(resp.StatusCode)
	if json.Unmarshal(body, &we) == nil && we.Err != "" {
		text = strings.TrimSpace(we.Err + " " + we.ReceiptError + ": " + we.Description)
	}
	return resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500, hub.Errorf(hub.Invalid, "the receipt endpoint answered %d %s", resp.StatusCode, text)
}
