package cli

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
	"countersign/internal/web/api"
)

func (a *App) streamShow() *cobra.Command {
	return &cobra.Command{Use: "show NAME|ID", Short: "Show a stream: what waits, the last answer, the next try, and what happened lately", Args: exact(1),
		ValidArgsFunction: a.streamNames(),
		RunE: func(c *cobra.Command, args []string) error {
			raw, s, err := a.streamStory(c, args[0])
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.object(json.RawMessage(raw))
			}
			a.tellStream(&s)
			return nil
		}}
}

// tellStream prints a stream for people.
func (a *App) tellStream(s *api.StreamStory) {
	name := s.Name
	if name == "" {
		name = "(made by its receiver)"
	}
	a.say("%s  %s of %s, %s", s.ID, name, s.Client, s.Status)
	a.pairs([][2]string{
		{"reason", s.Reason}, {"about", s.Description},
		{"delivery", strings.TrimSpace(s.Delivery.Method + " " + s.Delivery.Endpoint)},
		{"audience", strings.Join(s.Audience, " ")},
		{"events", shortTypes(s.Delivered)},
		{"asked for", unless(shortTypes(s.Requested), shortTypes(s.Delivered))},
		{"algorithm", s.Algorithm}, {"shape", s.Shape},
		{"subjects", subjectsOf(s.StreamInfo)},
		{"named by", naming(s.Naming)},
		{"receipts", map[bool]string{true: "negotiated, from " + s.Issuer}[s.Receipts]},
		{"inactivity", span(s.Inactivity)}, {"verified", every(s.MinVerify)},
		{"made", when(s.Created)}, {"heard from", when(s.Active)},
	})
	a.say("\nhow it does")
	health := s.Health
	if s.Why != "" {
		health += ": " + s.Why
	}
	waiting := itoa(int(s.Waiting))
	if s.Oldest != 0 {
		waiting += ", since " + when(s.Oldest)
	}
	next := when(s.Next)
	a.pairs([][2]string{
		{"health", health}, {"waiting", waiting},
		{"in flight", count(s.InFlight)}, {"polls open", count(s.Parked)},
		{"delivered", count(s.Sent)}, {"dead", count(s.Dead)},
		{"last answer", lastAnswer(s.Last)}, {"next try", next},
		{"trouble", trouble(s.Trouble)}, {"time", times(s.P50, s.P99)},
	})
	if !s.Here {
		a.say("  %-12s %s", "where", "another process of the hub delivers it")
	}
	for _, w := range s.Warnings {
		a.say("  %-12s %s", "warning", w)
	}
	if len(s.DeadBy) > 0 {
		a.say("\nset aside")
		for _, d := range s.DeadBy {
			a.say("  %6d  latest %s  %s", d.Count, when(d.Latest), d.Reason)
		}
	}
	if len(s.Skips) > 0 {
		a.say("\nskipped lately")
		for _, d := range s.Skips {
			a.say("  %s  %s: %s", when(d.At), shortType(d.Type), d.Reason)
		}
	}
	if len(s.Recent) > 0 {
		a.say("\nlately")
		for _, d := range s.Recent {
			row := deliveryRow(d)
			a.say("  %s", strings.Join(strings.Fields(strings.Join([]string{row[0], row[2], row[3], row[4], row[6], row[7]}, " ")), "  "))
		}
	}
	if s.Step != "" {
		a.note("\nnext: %s", s.Step)
	}
}

// pairs prints names and values, without those that have none.
func (a *App) pairs(list [][2]string) {
	for _, p := range list {
		if p[1] != "" {
			a.say("  %-12s %s", p[0], p[1])
		}
	}
}

func shortTypes(uris []string) string {
	var out []string
	for _, u := range uris {
		out = append(out, shortType(u))
	}
	return strings.Join(out, " ")
}

// unless gives a where it differs from b.
func unless(a, b string) string {
	if a == b {
		return ""
	}
	return a
}

func subjectsOf(s api.StreamInfo) string {
	switch {
	case s.Entries > 0:
		return s.Subjects + ", and a list of " + count(s.Entries)
	case s.Subjects == "NONE":
		return "NONE, and its list is empty: nothing about anybody is sent"
	}
	return s.Subjects
}

// naming shows how people are named to a receiver.
func naming(rule any) string {
	if rule == nil {
		return ""
	}
	raw, err := json.Marshal(rule)
	if err != nil {
		return ""
	}
	var r hub.SubjectRule
	if json.Unmarshal(raw, &r) != nil || r.Format == "" {
		return string(raw)
	}
	text := r.Format
	if r.AccountAt != "" {
		text += ", the account at " + r.AccountAt
	}
	if r.Otherwise != "" {
		text += ", otherwise " + r.Otherwise
	}
	switch r.Payload {
	case "omit":
		text += "; names inside the event are left out"
	case "send":
		text += "; names inside the event are sent as they are"
	}
	return text
}

func span(secs int64) string {
	if secs == 0 {
		return ""
	}
	return "paused after " + (time.Duration(secs) * time.Second).String() + " without a sign of the receiver"
}

func every(secs int64) string {
	if secs == 0 {
		return ""
	}
	return "at most every " + (time.Duration(secs) * time.Second).String()
}

func lastAnswer(l *api.Answer) string {
	if l == nil {
		return ""
	}
	text := when(l.At) + "  "
	if l.Status == 0 {
		text += "no answer"
	} else {
		text += itoa(l.Status)
	}
	if l.Reason != "" {
		text += "  " + l.Reason
	}
	return text
}

func trouble(t *api.Trouble) string {
	if t == nil || t.Fails == 0 {
		return ""
	}
	text := itoa(t.Fails) + " tries failed since " + when(t.Since)
	if t.Open {
		text += "; a fault of its set-up, probed at long intervals until it is put right"
	}
	if t.Reason != "" {
		text += ": " + t.Reason
	}
	return text
}

func times(p50, p99 float64) string {
	if p50 == 0 && p99 == 0 {
		return ""
	}
	return "half within " + millis(p50) + ", 99 of 100 within " + millis(p99)
}

func millis(ms float64) string {
	return time.Duration(ms * float64(time.Millisecond)).Round(10 * time.Microsecond).String()
}
