package emit

import (
	"context"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/internal/strictjson"
	"countersign/internal/vault"
	"countersign/receiver"
	"countersign/stream"
)

// Retries of receipts (receipts design §6.5): from one second doubling to an hour, for at least 72 hours
// and until a day after complete_by.
const (
	firstPause = time.Second
	longPause  = time.Hour
	patience   = 72 * time.Hour
	afterwards = 24 * time.Hour
)

// DoSend is the step "send": one try to deliver one receipt. r may be nil; then it is read.
func (o *Office) DoSend(ctx context.Context, job *hub.Job, r *hub.Receipt) error {
	ctx = context.WithoutCancel(ctx)
	if r == nil {
		var err error
		if r, err = o.Store.ReceiptBySeq(ctx, job.Ref); err != nil {
			return err
		}
	}
	ans, err := o.Answer(ctx, r.Tenant, r.Source)
	if err != nil {
		if hub.CodeOf(err) != hub.NotFound {
			return err
		}
		ans = &Answer{} // the source is gone; its orders are still answered, without a credential
	}
	if r.Token == "" || r.Tries > 0 { // at a later try the key may have been withdrawn
		token, err := o.Complete(r.Tenant, r.KID, r.Input)
		if errors.Is(err, vault.ErrCompromised) {
			return o.again(ctx, r, job)
		}
		if err != nil {
			return fmt.Errorf("emit: sign receipt %s: %w", r.ID, err)
		}
		if r.Token == "" {
			r.Token = token
		}
	}
	r.Tries++
	o.Stop("receipt.before-send")
	end := o.post(ctx, r, ans)
	o.Stop("receipt.after-answer")
	r.Reason = end.reason
	switch {
	case end.accepted:
		r.State, r.Reason, r.Accepted = "accepted", "", hub.At(o.Now())
	case end.final || end.status == http.StatusUnauthorized && r.Tries > 1:
		r.State = "dead"
		o.Log.Error("a receipt was refused and is set aside", "receipt", r.ID, "source", r.Source, "status", end.status, "reason", end.reason)
	default:
		until, err := o.until(ctx, r)
		if err != nil {
			return err
		}
		if o.Now().After(until) {
			r.State, r.Reason = "dead", "given up: "+end.reason
			o.Log.Error("a receipt could not be delivered and is set aside", "receipt", r.ID, "source", r.Source, "reason", end.reason)
			break
		}
		next := hub.At(o.Now().Add(pause(r.Tries, end.retryAfter)))
		if err := o.Store.MarkReceipt(ctx, r, job, &next); err != nil {
			return err
		}
		o.Sent(r)
		return nil
	}
	if err := o.Store.MarkReceipt(ctx, r, job, nil); err != nil {
		return err
	}
	o.Sent(r)
	return nil
}

// again sets a receipt aside whose key was withdrawn as compromised, and lets another one say the same: what that key
// signs proves nothing, and each receipt restates the whole order.
func (o *Office) again(ctx context.Context, r *hub.Receipt, job *hub.Job) error {
	r.State, r.Reason = "dead", "its signing key was withdrawn; the next receipt of this order says the same"
	if err := o.Store.Enqueue(ctx, r.Tenant, hub.Job{Kind: "cut", Ref: r.SignalSeq, Due: hub.At(o.Now())}); err != nil {
		return err
	}
	if err := o.Store.MarkReceipt(ctx, r, job, nil); err != nil {
		return err
	}
	o.Log.Warn("a receipt is cut again, because its signing key was withdrawn", "receipt", r.ID, "source", r.Source, "kid", r.KID)
	o.Sent(r)
	return nil
}

// until is how long a receipt is tried.
func (o *Office) until(ctx context.Context, r *hub.Receipt) (time.Time, error) {
	end := r.Cut.Time().Add(patience)
	if o.Now().Before(end) {
		return end, nil
	}
	sig, err := o.Store.SignalBySeq(ctx, r.SignalSeq)
	if err != nil {
		return time.Time{}, err
	}
	if sig.Order != nil && sig.Order.CompleteBy > 0 {
		if by := time.Unix(sig.Order.CompleteBy, 0).Add(afterwards); by.After(end) {
			end = by
		}
	}
	return end, nil
}

// end is how one try ended.
type end struct {
	accepted, final bool
	status          int
	reason          string
	retryAfter      time.Duration
}

// post delivers as RFC 8935 §2 says. A credential that is refused is renewed once, and the receipt sent once more.
func (o *Office) post(ctx context.Context, r *hub.Receipt, ans *Answer) end {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if ans.Credential != nil && ans.Issuer != "" && r.Endpoint != ans.Endpoint {
		sig, err := o.Store.SignalBySeq(ctx, r.SignalSeq)
		if err != nil {
			return end{reason: "the order cannot be read"}
		}
		if sig.Issuer != ans.Issuer {
			ans = &Answer{}
		}
	}
	req, early := o.request(ctx, r, ans)
	if early != nil {
		return *early
	}
	resp, err := o.Client.Do(req)
	if err == nil && resp.StatusCode == http.StatusUnauthorized && ans.Credential != nil && ans.Credential.Renew(req) {
		resp.Body.Close()
		if req, early = o.request(ctx, r, ans); early != nil {
			return *early
		}
		resp, err = o.Client.Do(req)
	}
	shown := req.Header.Get("Authorization")
	if err != nil {
		return end{reason: clip(hide(unreached(err), shown), 256)}
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 8<<10))
	e := end{status: resp.StatusCode, retryAfter: retryAfter(resp.Header.Get("Retry-After"), o.Now())}
	switch s := resp.StatusCode; {
	case s >= 200 && s < 300:
		e.accepted = true
		return e
	case s == http.StatusRequestTimeout, s == http.StatusTooManyRequests, s >= 500, s == http.StatusUnauthorized:
	default:
		e.final = true
	}
	e.reason = fmt.Sprintf("the receipt endpoint answered %d", resp.StatusCode)
	var w stream.WireError
	if strictjson.Unmarshal(body, &w) == nil && w.Err != "" {
		e.reason += ": " + clip(hide(w.Err, shown), 64)
		if w.ReceiptError != "" {
			e.reason += " (" + clip(hide(w.ReceiptError, shown), 64) + ")"
		}
		if w.Description != "" {
			e.reason += ", " + clip(strconv.QuoteToGraphic(hide(w.Description, shown)), 256)
		}
	}
	return e
}

// request makes the request that brings a receipt, or says how the try ended before it.
func (o *Office) request(ctx context.Context, r *hub.Receipt, ans *Answer) (*http.Request, *end) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.Endpoint, strings.NewReader(r.Token))
	if err != nil {
		return nil, &end{final: true, reason: "the receipt endpoint is no address"}
	}
	req.Header.Set("Content-Type", receiver.MediaType)
	req.Header.Set("Accept", "application/json")
	if ans.Credential != nil {
		if err := ans.Credential.Authorize(req); err != nil {
			return nil, &end{reason: clip("our credential for this source cannot be had: "+err.Error(), 256)}
		}
	}
	return req, nil
}

// hide takes our credential, which the other side may send back, out of a text that is logged and kept.
func hide(text, authorization string) string {
	_, credential, found := strings.Cut(authorization, " ")
	if !found {
		credential = authorization
	}
	if credential == "" {
		return text
	}
	return strings.ReplaceAll(text, credential, "***")
}

// unreached says why nothing was answered, without the address, which may hold a credential.
func unreached(err error) string {
	var t interface{ Timeout() bool }
	if errors.As(err, &t) && t.Timeout() {
		return "the receipt endpoint did not answer in time"
	}
	for u := errors.Unwrap(err); u != nil; u = errors.Unwrap(u) {
		err = u
	}
	return "the receipt endpoint cannot be reached: " + err.Error()
}

// pause is the back-off after the n-th try, with jitter; a Retry-After above it is honoured up to an hour.
func pause(n int, asked time.Duration) time.Duration {
	d := min(firstPause<<min(max(n-1, 0), 12), longPause)
	d = d/2 + time.Duration(mathrand.Int64N(int64(d/2)+1))
	return max(d, min(asked, longPause))
}

func retryAfter(value string, now time.Time) time.Duration {
	if value == "" {
		return 0
	}
	if n, err := strconv.Atoi(value); err == nil && n >= 0 {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(value); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}
