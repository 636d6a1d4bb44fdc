package emit

import (
	"context"
	"time"

	"countersign/internal/hub"
	"countersign/receipt"
)

// Deadline is when an order ends though its subject is still unresolved (design §3, when to give up): 10 s before
// complete_by, or a tenth of the span if that is less; without complete_by 24 h after it was received. Where
// not_after comes first nothing can begin after it, and the wait ends there.
func Deadline(sig *hub.Signal) hub.Micros {
	end := sig.Received + hub.Micros(24*time.Hour/time.Microsecond)
	o := sig.Order
	if o == nil {
		return end
	}
	if o.CompleteBy > 0 {
		end = hub.Micros(o.CompleteBy * 1e6)
		before := hub.Micros(10 * time.Second / time.Microsecond)
		if tenth := (end - sig.Received) / 10; tenth < before {
			before = max(tenth, 0)
		}
		end -= before
	}
	if expires := notAfter(sig); expires != 0 {
		end = min(end, expires)
	}
	return end
}

// notAfter is the first moment at which nothing of the order may begin any more; 0: none.
func notAfter(sig *hub.Signal) hub.Micros {
	if sig.Order.NotAfter == 0 {
		return 0
	}
	return hub.Micros(sig.Order.NotAfter*1e6) + 1
}

// Answered reports whether the order has its final receipt. What comes after it can only be amended.
func Answered(sig *hub.Signal) bool {
	return sig.Order != nil && (sig.Order.Stage == receipt.StageFinal || sig.Order.Stage == receipt.StageAmended)
}

// waits reports whether nobody known fits the subject of an order, and its time is not over.
func waits(sig *hub.Signal) bool {
	return sig.State == hub.SignalUnresolved && sig.Order.Refused == "" && !Answered(sig)
}

// ending gives the reason code with which an unresolved order ends now, "" while it waits.
func (o *Office) ending(ctx context.Context, sig *hub.Signal, now time.Time) (string, error) {
	if waits(sig) && sig.Order.Withdrawn != 0 {
		return "withdrawn", nil
	}
	if !waits(sig) || hub.At(now) < Deadline(sig) {
		return "", nil
	}
	if expires := notAfter(sig); expires != 0 && expires == Deadline(sig) {
		return "expired", nil
	}
	return o.Why(ctx, sig)
}

// ended makes the lines of an order whose subject nobody fitted in time, or that was taken back before: one for each required action (A28), or
// for each action where none is required (A29).
func ended(d *receipt.Directive, sig *hub.Signal, reason string, now time.Time) []receipt.Line {
	lines := receipt.RefusedLines(d, reason, now.Unix())
	for i := range lines {
		if reason == "no_such_subject" || reason == "withdrawn" {
			lines[i].Status = receipt.Skipped
		}
		lines[i].RequestedAt = sig.Received.Seconds()
		lines[i].ReasonText = map[string]string{"en": unresolvedTexts[reason]}
	}
	return lines
}

// unresolvedTexts say what the sender may know, and nothing of what was found here.
var unresolvedTexts = map[string]string{
	"no_such_subject":   "Nobody known here fitted the subject until the time for it was over.",
	"ambiguous_subject": "More than one person known here fits the subject, and none was taken for the right one.",
	"not_authorized":    "This sender has no authority over the subject.",
	"withdrawn":         "The order was taken back before anybody known here fitted the subject.",
	"expired":           "Nobody known here fitted the subject until not_after.",
}
