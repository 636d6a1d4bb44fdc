package receipt

import (
	"fmt"
	"strings"
	"time"
)

// Exit codes of Verify (A5).
const (
	ExitFulfilled   = 0 // every order has a valid, fulfilled receipt without shortfall
	ExitInvalid     = 1
	ExitOther       = 2 // valid, another outcome or a shortfall
	ExitUsage       = 3
	ExitUndecidable = 4 // a key or an order is missing
)

// Levels of a Finding (A54).
const (
	LevelInvalid    = "invalid"
	LevelUndecided  = "undecided"
	LevelShortfall  = "shortfall"
	LevelNote       = "note"
	LevelNotChecked = "not checked"
)

// Report is the verdict on an evidence file; its JSON is that of A54.
type Report struct {
	Exit     int           `json:"exit"`
	Verdict  string        `json:"verdict"`
	Orders   []OrderReport `json:"orders"`
	Findings []Finding     `json:"findings"`
}

// OrderReport is where one order stands, as of the highest seq in the file (A58, B5). Outcome is that of the
// receipt, or "no receipt", or "no exception reported" (A34).
type OrderReport struct {
	Issuer    string         `json:"iss"`
	JTI       string         `json:"jti"`
	SetHash   string         `json:"set_hash"`
	EventType string         `json:"event_type"`
	Outcome   string         `json:"outcome"`
	Stage     string         `json:"stage"`
	Seq       int            `json:"seq"` // 0: no receipt
	ReceiptNo string         `json:"receipt_no"`
	Evidence  EvidenceReport `json:"evidence"`
}

// EvidenceReport compares the wanted level with the lowest one reached on what was done.
type EvidenceReport struct {
	Wanted  string `json:"wanted"`
	Reached string `json:"reached"` // empty: nothing required was done
}

// Finding is one thing noticed. Code is the receipt_error of design §6.2 where one applies.
type Finding struct {
	Level string `json:"level"`
	Where string `json:"where"`
	Code  string `json:"code"`
	Text  string `json:"text"`
}

// verdict is the exit code in words.
func verdict(exit int) string {
	switch exit {
	case ExitFulfilled:
		return "valid, fulfilled"
	case ExitInvalid:
		return "invalid"
	case ExitOther:
		return "valid, not fulfilled or with a shortfall"
	case ExitUsage:
		return "not verified: bad usage"
	}
	return "undecidable"
}

// Text is the report for a person: the verdict, the orders, then the findings, worst first. What came from
// the file is shown without control characters.
func (r Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (exit %d)\n", strings.ToUpper(r.Verdict), r.Exit)
	for _, o := range r.Orders {
		fmt.Fprintf(&b, "\norder    %s\n         from %s\n", plain(shortType(o.EventType)+" "+o.JTI), plain(o.Issuer))
		fmt.Fprintf(&b, "         %s\n", plain(o.SetHash))
		if o.Seq == 0 {
			fmt.Fprintf(&b, "outcome  %s\n", plain(o.Outcome))
			continue
		}
		fmt.Fprintf(&b, "receipt  %s, %s\n", plain(o.ReceiptNo), plain(o.Stage))
		fmt.Fprintf(&b, "outcome  %s, as of seq %d, the highest in the file\n", plain(o.Outcome), o.Seq)
		reached := o.Evidence.Reached
		if reached == "" {
			reached = "nothing to prove"
		}
		fmt.Fprintf(&b, "evidence %s wanted, %s reached\n", plain(o.Evidence.Wanted), plain(reached))
	}
	for _, level := range []string{LevelInvalid, LevelUndecided, LevelShortfall, LevelNotChecked, LevelNote} {
		heading := false
		for _, f := range r.Findings {
			if f.Level != level {
				continue
			}
			if !heading {
				fmt.Fprintf(&b, "\n%s\n", level)
				heading = true
			}
			fmt.Fprintf(&b, "  %s: %s [%s]\n", plain(f.Where), plain(f.Text), plain(f.Code))
		}
	}
	return b.String()
}

// shortType is the last part of an event type, for people.
func shortType(uri string) string {
	if name, ok := strings.CutPrefix(uri, scimPrefix); ok {
		return name
	}
	return uri[strings.LastIndexByte(uri, '/')+1:]
}

// plain strips what a terminal could take for a command: control and format characters, line ends (design
// §10, hostile text).
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if harmless(r) {
			return r
		}
		return -1
	}, s)
}

// clock writes a moment for a person.
func clock(seconds int64) string { return time.Unix(seconds, 0).UTC().Format("2006-01-02 15:04:05Z") }
