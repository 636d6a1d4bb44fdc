package emit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"countersign/internal/hub"
	"countersign/receipt"
	"countersign/receiver"
	"countersign/set"
)

// Store is what emit needs of the store. Each writing method is one transaction.
type Store interface {
	OrderForCut(ctx context.Context, signalSeq int64) (*hub.Signal, []*hub.Action, error)
	SaveReceipt(ctx context.Context, r *hub.Receipt, prevSeq int, job *hub.Job, next *hub.Micros) (*hub.Job, error)
	ReceiptBySeq(ctx context.Context, seq int64) (*hub.Receipt, error)
	SignalBySeq(ctx context.Context, seq int64) (*hub.Signal, error)
	MarkReceipt(ctx context.Context, r *hub.Receipt, job *hub.Job, next *hub.Micros) error
	FinishJob(ctx context.Context, job *hub.Job, next *hub.Micros) error
	Enqueue(ctx context.Context, tenant string, job hub.Job) error
}

// Answer is how a source is answered as it is set up now.
type Answer struct {
	// Signer is the key that new receipts for this source are signed with.
	Signer *set.Signer
	// Off: the operator wants no receipts sent; they are cut and kept.
	Off bool
	// Credential shows us to the receipt endpoint. Nil: nothing does.
	Credential receiver.Credential
	// Issuer is whom the credential is for: the source's issuer now, and Endpoint is where its receipts go now. A receipt for an
	// order of another issuer, as the source had it before, goes without the credential.
	Issuer, Endpoint string
}

// Config is what an Office is built from. Store, Answer, Complete, Secret and Client are required.
type Config struct {
	Store Store
	// Answer gives the setting for one source.
	Answer func(ctx context.Context, tenant, source string) (*Answer, error)
	// Complete signs an input that was fixed with the key kid of the tenant, also after that key was rotated.
	Complete func(tenant, kid, input string) (string, error)
	// Secret is what the tenant's pseudonyms are made with (receipts design §8).
	Secret func(tenant string) []byte
	// Client carries deliveries.
	Client     *http.Client
	Vocabulary receipt.Vocabulary
	Merchant   receipt.Merchant
	Register   receipt.Register
	// Why gives the reason code for an order whose subject nobody fitted in time: no_such_subject,
	// ambiguous_subject or not_authorized; empty where somebody fits by now. Nil: no_such_subject.
	Why func(ctx context.Context, sig *hub.Signal) (string, error)
	// Cut is called when a receipt was kept, with the claimed job of its delivery, nil where it is owed to nobody.
	Cut func(r *hub.Receipt, job *hub.Job)
	// Sent is called when a delivery ended or failed, with the receipt's new state.
	Sent func(r *hub.Receipt)
	// Stop is called at the named stop points of the kill bench. Nil in production.
	Stop func(point string)
	Now  func() time.Time
	Log  *slog.Logger
}

// Office is the steps "cut" and "send". It is safe for concurrent use.
type Office struct{ Config }

// New makes an Office.
func New(c Config) *Office {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Vocabulary.Event == "" {
		c.Vocabulary = receipt.Default()
	}
	if c.Cut == nil {
		c.Cut = func(*hub.Receipt, *hub.Job) {}
	}
	if c.Why == nil {
		c.Why = func(context.Context, *hub.Signal) (string, error) { return "no_such_subject", nil }
	}
	if c.Sent == nil {
		c.Sent = func(*hub.Receipt) {}
	}
	if c.Stop == nil {
		c.Stop = func(string) {}
	}
	return &Office{c}
}

// DoCut is the step "cut": it cuts the receipt that is due for an order, if one is.
func (o *Office) DoCut(ctx context.Context, job *hub.Job) error {
	sig, actions, err := o.Store.OrderForCut(ctx, job.Ref)
	if err != nil {
		return err
	}
	if sig.Order == nil {
		return o.Store.FinishJob(ctx, job, nil)
	}
	ans, err := o.Answer(ctx, sig.Tenant, sig.Source)
	if err != nil {
		return err
	}
	row, next, err := o.cut(ctx, sig, actions, ans)
	if err != nil {
		return fmt.Errorf("emit: cut %s: %w", sig.ID, err)
	}
	if row == nil {
		return o.Store.FinishJob(ctx, job, next)
	}
	o.Stop("receipt.before-cut")
	send, err := o.Store.SaveReceipt(ctx, row, sig.Order.LastSeq, job, next)
	if err != nil {
		return err
	}
	o.Cut(row, send)
	return nil
}

// cut makes the row of the receipt that is due now, nil when none is. next is when to look again.
func (o *Office) cut(ctx context.Context, sig *hub.Signal, actions []*hub.Action, ans *Answer) (row *hub.Receipt, next *hub.Micros, err error) {
	ord, err := o.order(sig)
	if err != nil {
		return nil, nil, err
	}
	now := o.Now()
	reason, err := o.ending(ctx, sig, now)
	if err != nil {
		return nil, nil, err
	}
	if waits(sig) {
		// Whatever else is due for it, the order ends at its deadline.
		at := Deadline(sig)
		if at <= hub.At(now) { // somebody fits by now, and the decision is on its way
			at = hub.At(now.Add(time.Minute))
		}
		next = &at
	}
	r, err := o.write(ord, sig, actions, reason, now)
	if err != nil {
		return nil, nil, err
	}
	if r.Stage != receipt.StageInterim {
		next = nil
	}
	when := ord.Directive.Receipt.When
	if r.Stage == receipt.StageInterim {
		// An interim is asked for with "all" only; one is enough until something was promised for a time.
		if when != "all" || sig.Order.LastSeq > 0 && sig.Order.Stage == receipt.StageInterim && !o.updateDue(sig, now) {
			return nil, next, nil
		}
		if Answered(sig) {
			return nil, nil, nil // only amended may follow final (receipts design §6.3)
		}
		if due := hub.Micros(r.NextUpdateBy * 1e6); next == nil || due < *next {
			next = &due
		}
	} else if Answered(sig) && sig.State == hub.SignalUnresolved {
		return nil, nil, nil // said already, and nothing is new
	}
	payload, err := receipt.Issue(ord, r, set.NewID(), now.Unix())
	if err != nil {
		return nil, nil, err
	}
	body, err := json.Marshal(r)
	if err != nil {
		return nil, nil, err
	}
	var claims struct {
		JTI string `json:"jti"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, nil, err
	}
	input := ans.Signer.Input(payload)
	row = &hub.Receipt{ID: hub.NewID(hub.PrefixReceipt, now), Tenant: sig.Tenant, SignalID: sig.ID, SignalSeq: sig.Seq, Source: sig.Source,
		ReceiptNo: r.Number, No: r.Seq, Stage: r.Stage, Outcome: r.Outcome, JTI: claims.JTI, KID: ans.Signer.KeyID(),
		Input: input, Hash: set.Address(input), Body: body, Endpoint: sig.Order.Endpoint, State: "queued", Cut: hub.At(now)}
	switch {
	case ans.Off:
		row.State, row.Reason = "kept", "receipts to this source are switched off"
	case sig.Order.Endpoint == "":
		row.State, row.Reason = "kept", "the sender names no receipt endpoint"
	case when == "exceptions" && r.Outcome == receipt.OutcomeFulfilled:
		row.State, row.Reason = "kept", "asked for exceptions only"
	}
	return row, next, nil
}

// updateDue reports whether the time that the last interim promised has come.
func (o *Office) updateDue(sig *hub.Signal, now time.Time) bool {
	return sig.Order.CompleteBy > 0 && now.Unix() >= sig.Order.CompleteBy
}

// order reads the order of a signal as the receipt speaks of it.
func (o *Office) order(sig *hub.Signal) (*receipt.Order, error) {
	u, err := set.Parse(sig.Token)
	if err != nil {
		return nil, err
	}
	ord, err := receipt.OrderOf(u, o.Vocabulary)
	if err != nil {
		return nil, err
	}
	if sig.Order.ReceiptIssuer == "" || sig.Order.ReceiptAudience == "" {
		return nil, errors.New("the order was kept without its agreement")
	}
	ord.ReceiptIssuer, ord.ReceiptAudience = sig.Order.ReceiptIssuer, sig.Order.ReceiptAudience
	return ord, nil
}

// write makes the receipt that states everything known now (receipts design §5.2).
func (o *Office) write(ord *receipt.Order, sig *hub.Signal, actions []*hub.Action, reason string, now time.Time) (*receipt.Receipt, error) {
	d := ord.Directive
	var lines []receipt.Line
	if reason != "" {
		lines = ended(d, sig, reason, now)
	} else {
		lines = o.lines(ord, sig, actions)
	}
	totals, outcome := receipt.Compute(d, lines)
	r := &receipt.Receipt{Number: sig.Order.ReceiptNo, Seq: sig.Order.LastSeq + 1, Stage: receipt.StageFinal, Outcome: outcome,
		Order:    receipt.OrderLink{EventType: ord.EventType, SetHash: ord.SetHash, ReceivedAt: sig.Received.Seconds()},
		Merchant: &o.Merchant, Cashier: cashier(actions), Customer: receipt.CustomerFor(ord),
		Lines: lines, Totals: totals, Traceparent: d.Traceparent}
	if o.Register.ID != "" {
		r.Register = &o.Register
	}
	if d.Parent != nil {
		r.Order.ParentHash = d.Parent.OrderHash
	}
	switch {
	case outcome == receipt.OutcomePending:
		r.Stage = receipt.StageInterim
		r.NextUpdateBy = now.Add(24 * time.Hour).Unix()
		if d.CompleteBy > now.Unix() {
			r.NextUpdateBy = d.CompleteBy
		}
	case sig.Order.Stage == receipt.StageFinal || sig.Order.Stage == receipt.StageAmended:
		r.Stage = receipt.StageAmended
	}
	if r.Seq > 1 {
		r.Supersedes = &receipt.Supersedes{Seq: sig.Order.LastSeq, Hash: sig.Order.LastHash}
	}
	return r, nil
}

// cashier names what released the work: the policy where one did, else the rule that takes orders.
func cashier(actions []*hub.Action) *receipt.Who {
	for _, a := range actions {
		if a.Policy != "" {
			return &receipt.Who{Type: "policy", Ref: a.Policy}
		}
	}
	return &receipt.Who{Type: "policy", Ref: "orders.accept"}
}
