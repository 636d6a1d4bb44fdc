package sight

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/receipt"
	"countersign/transmitter"
)

// explain says in sentences who was told, what was ordered, what came back, and what is missing until when.
func (a *OrderStory) explain(o *transmitter.SentOrder, d *receipt.Directive, there bool, now time.Time) {
	say := func(format string, args ...any) { a.Explanation = append(a.Explanation, fmt.Sprintf(format, args...)) }
	on := "stream " + o.Stream
	if a.Name != "" {
		on = "stream " + a.Name
	}
	if !there {
		on += ", which is gone,"
	}
	told := map[string]string{
		transmitter.OrderQueued: "The order waits for client %s on %s, issued at %s.", transmitter.OrderRejected: "Client %s refused the order on %s, issued at %s.",
		transmitter.OrderDropped: "Client %s was never told: the order was taken off %s, issued at %s.", transmitter.OrderExpired: "Client %s was never told: the order waited too long on %s, issued at %s.",
	}[o.State]
	if told == "" {
		told = "Client %s was told on %s, with an order issued at %s."
	}
	say(told, o.Receiver, on, stamp(o.IssuedAt))
	say("%s", ordered(o, d))
	switch n := len(a.Answers); {
	case n == 0:
		say("No receipt came back.")
	default:
		last := a.Answers[n-1]
		for i := range a.Answers {
			if !a.Answers[i].Late && a.Answers[i].Seq >= last.Seq {
				last = a.Answers[i]
			}
		}
		say("%s came back; the latest, %s seq %d at %s, is %s and says: %s.", Count(int64(n), "receipt", "receipts"), last.Number, last.Seq, At(last.Accepted), last.Stage, words(last.Outcome))
		if last.Body != nil {
			var r receipt.Receipt
			if json.Unmarshal(last.Body, &r) == nil { // it was checked when it was accepted
				t := r.Totals
				say("Of %s: %d done, %d unconfirmed, %d failed, %d skipped, %d pending.", Count(int64(t.Lines), "line", "lines"), t.Succeeded, t.Unconfirmed, t.Failed, t.Skipped, t.Pending)
			}
		}
		if last.Gap {
			say("A receipt before it is missing.")
		}
	}
	if o.Withdrawn != 0 {
		say("It was withdrawn at %s%s.", At(hub.Micros(o.Withdrawn)), colon(o.WithdrawnWhy))
	}
	if o.Disputed != "" {
		say("Two stories were told about it, and somebody must decide: %s.", o.Disputed)
	}
	if m := a.missing(o, now); m != "" {
		say("%s", m)
	}
}

// ordered says what was ordered and until when.
func ordered(o *transmitter.SentOrder, d *receipt.Directive) string {
	what := "It was ordered that the receiver answers with a receipt"
	if d != nil {
		var acts []string
		for _, x := range d.Actions {
			s := words(x.Action)
			if r := x.Reach(); r != "" && x.Action == "revoke_sessions" {
				s += " (" + words(r) + ")"
			}
			if x.Optional {
				s += ", if it can"
			}
			acts = append(acts, s)
		}
		if len(acts) > 0 {
			what = "It orders: " + strings.Join(acts, "; ")
			if d.Defaulted {
				what += ", as this type of event does by itself"
			}
		}
		if d.Obligation != "" {
			what += " (" + words(d.Obligation) + ")"
		}
	}
	switch {
	case o.InterimBy != 0 && o.CompleteBy != 0:
		what += fmt.Sprintf(", with a first word by %s and the end by %s", stamp(o.InterimBy), stamp(o.CompleteBy))
	case o.CompleteBy != 0:
		what += ", by " + stamp(o.CompleteBy)
	case o.InterimBy != 0:
		what += ", with a first word by " + stamp(o.InterimBy)
	}
	return what + "."
}

// missing says what still has to come, and until when.
func (a *OrderStory) missing(o *transmitter.SentOrder, now time.Time) string {
	switch a.Standing {
	case transmitter.StandingReceipted:
		if a.Late {
			return "Nothing is missing; the final receipt came after the time for it."
		}
		return "Nothing is missing."
	case transmitter.StandingQueued:
		if a.Withdrawn == 0 {
			return "It is still to be delivered: countersign stream show " + cmp.Or(a.Name, o.Stream)
		}
	case transmitter.StandingAcknowledged, transmitter.StandingInProgress:
		switch {
		case a.Overdue:
			return "The final receipt was due at " + stamp(o.CompleteBy) + " and has not come."
		case o.When == "exceptions" && len(a.Answers) == 0 && o.CompleteBy != 0 && now.Unix() > o.CompleteBy:
			return "No exception was reported by " + stamp(o.CompleteBy) + "; that confirms nothing."
		case a.Late:
			return "The first receipt was due at " + stamp(o.InterimBy) + " and has not come."
		case o.CompleteBy != 0:
			return "The final receipt is due by " + stamp(o.CompleteBy) + "."
		default:
			return "The final receipt is still to come; the order sets it no time."
		}
	case transmitter.StandingUnanswered:
		return "No final receipt came in the time for it, and the order is closed; one that comes late is still taken."
	case transmitter.StandingUnsupported:
		return "The stream does not take part in receipts, so none will come."
	}
	return ""
}

func stamp(s int64) string { return time.Unix(s, 0).UTC().Format("2006-01-02 15:04:05Z") }
