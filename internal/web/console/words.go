package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode"

	"countersign/internal/hub"
)

var functions = template.FuncMap{
	"clock":   clock,
	"stamp":   stamp,
	"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"moment":  func(m hub.Micros) time.Time { return m.Time() },
	"seconds": func(s int64) time.Time { return time.Unix(s, 0).UTC() },
	"words":   words,
	"pretty":  pretty,
	"short":   shorten,
	"clean":   clean,
}

// clock is a time of day in UTC, stamp the whole moment.
func clock(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("15:04:05")
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// words turns a name of the protocol into words: revoke_sessions, session-revoked.
func words(v any) string {
	return strings.NewReplacer("_", " ", "-", " ").Replace(fmt.Sprint(v))
}

// pretty indents JSON for reading; what is no JSON is shown as it is.
func pretty(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return clean(string(raw))
	}
	return clean(b.String())
}

// shorten keeps the begin of a long value, such as a hash.
func shorten(n int, s string) string {
	s = clean(s)
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

// clean shows control and direction characters as what they are, so that text from outside cannot
// pretend to be something else.
func clean(s string) string {
	if strings.IndexFunc(s, hidden) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func hidden(r rune) bool {
	return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) || r == '\u2028' || r == '\u2029'
}

// tone is the colour class of a state word.
func tone(word string) string {
	switch word {
	case "succeeded", "fulfilled", "done", "accepted", "applies", "already_done", "final", "reported", "ok", "delivered", "receipted":
		return "good"
	case "failed", "expired", "refused", "unfulfilled", "dead", "error", "denied", "clash", "limited", "failing", "stopped", "silent", "missing", "rejected", "disputed", "closed_unreceipted":
		return "bad"
	case "unresolved", "partial", "unconfirmed", "retry", "unknown", "withdrawn", "monitor", "reversed", "paused", "warning", "dropped", "unreceiptable":
		return "warn"
	case "received", "decided", "planned", "running", "delayed", "deleting", "pending", "queued", "interim", "waiting", "acknowledged", "in_progress":
		return "busy"
	}
	return "calm"
}
