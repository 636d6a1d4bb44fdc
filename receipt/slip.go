package receipt

import (
	"fmt"
	"strings"
)

// SlipOptions says what a slip shows beside the receipt itself. The zero value is 50 columns, no margin, and
// no word about a signature.
type SlipOptions struct {
	Width    int    // columns; 0: 50, never below 32
	Margin   int    // spaces before every line
	Title    string // empty: merchant.name, else ACTION RECEIPT
	Copy     string // empty: "copy" and the seq
	IssuedAt int64  // iat of the receipt, in seconds; 0: not shown
	Signed   string // key and algorithm, "r1 (EdDSA)"; empty: not shown
	Good     bool   // the caller has verified the signature: the slip says so only then
}

// Slip prints a receipt the way a till does: for a terminal, or for a <pre> element once escaped there. It
// shows what the receipt says; whether that is valid is for Check or Verify to tell. Text of the other side
// loses its control and format characters and is cut at the width, so that it can neither steer a terminal
// nor forge a line of the slip.
func Slip(r *Receipt, opt SlipOptions) string {
	s := &slip{width: max(opt.Width, 32), margin: strings.Repeat(" ", max(opt.Margin, 0))}
	if opt.Width == 0 {
		s.width = 50
	}
	s.head(r, opt)
	s.rule()
	ordered, extra := 0, 0
	for i := range r.Lines {
		if r.Lines[i].actionID() == ExtraWork {
			extra++
			continue
		}
		ordered++
	}
	s.measure(r.Lines)
	for i := range r.Lines {
		if l := &r.Lines[i]; l.actionID() != ExtraWork {
			s.line(l)
		}
	}
	if extra > 0 {
		if ordered > 0 {
			s.rule()
		}
		s.text("also done, not ordered")
		for i := range r.Lines {
			if l := &r.Lines[i]; l.actionID() == ExtraWork {
				s.line(l)
			}
		}
	}
	s.rule()
	s.totals(r)
	s.footnotes(opt.IssuedAt)
	if r.NextUpdateBy != 0 {
		s.text("next update by " + clock(r.NextUpdateBy))
	}
	if opt.Signed != "" {
		s.rule()
		word := "signature not checked"
		if opt.Good {
			word = "signature good"
		}
		s.sides("signed "+opt.Signed, word)
	}
	return s.b.String()
}

// slip is a slip being printed.
type slip struct {
	b             strings.Builder
	width         int
	margin        string
	id, act, app  int     // columns of the lines
	residue       []int64 // distinct effective_by, in order of appearance
	hasCounts     bool
	columnsCounts int
}

func (s *slip) head(r *Receipt, opt SlipOptions) {
	s.rule()
	title := opt.Title
	if title == "" && r.Merchant != nil {
		title = r.Merchant.Name
	}
	title = clip(strings.ToUpper(plain(title)), s.width)
	if title == "" {
		title = "ACTION RECEIPT"
	}
	s.row(strings.Repeat(" ", (s.width-columns(title))/2) + title)
	register, when := "", ""
	if r.Register != nil && r.Register.ID+r.Register.Zone != "" {
		register = "register " + strings.Trim(r.Register.ID+" · "+r.Register.Zone, " ·")
	}
	if opt.IssuedAt != 0 {
		when = clock(opt.IssuedAt)
	}
	if register != "" || when != "" {
		s.sides(register, when)
	}
	name := opt.Copy
	if name == "" {
		name = fmt.Sprintf("copy %d", r.Seq)
	}
	s.sides("receipt "+r.Number, name+", "+r.Stage)
	s.sides("order   "+shortType(r.Order.EventType), shortHash(r.Order.SetHash))
}

// measure sets the columns of the lines, so that they stand under each other where the width allows.
func (s *slip) measure(lines []Line) {
	for i := range lines {
		l := &lines[i]
		s.id = max(s.id, columns(clip(plain(l.ID), 12)))
		s.act = max(s.act, columns(clip(plain(l.Action), s.width)))
		s.app = max(s.app, columns(clip(plain(appOf(l)), s.width)))
		s.columnsCounts = max(s.columnsCounts, len(countsOf(l)))
	}
	s.hasCounts = s.columnsCounts > 0
}

// line prints one line; what does not fit beside the action goes under it.
func (s *slip) line(l *Line) {
	result := plain(resultOf(l)) + s.mark(l)
	left := pad(clip(plain(l.ID), 12), s.id) + "  " + plain(l.Action)
	tail := pad(plain(appOf(l)), s.app)
	if s.hasCounts {
		tail += "  " + pad(countsOf(l), s.columnsCounts)
	}
	tail += "  " + result
	whole := pad(left, s.id+2+s.act) + "  " + tail
	if columns(strings.TrimRight(whole, " ")) <= s.width {
		s.row(whole)
	} else {
		s.row(clip(left, s.width))
		indent := strings.Repeat(" ", min(s.id+2, 14))
		if rest := strings.TrimSpace(tail); columns(indent+rest) <= s.width {
			s.row(indent + rest)
		} else {
			for _, part := range []string{strings.TrimSpace(appOf(l) + "  " + countsOf(l)), result} {
				s.wrap(indent, indent, plain(part))
			}
		}
	}
	if class, _ := ClassOf(l.Status, l.Reason); class != ClassSatisfied && l.ReasonText["en"] != "" {
		indent := strings.Repeat(" ", min(s.id+2, 14))
		s.wrap(indent, indent, plain(l.ReasonText["en"]))
	}
}

// mark is the footnote sign of a line that leaves access behind.
func (s *slip) mark(l *Line) string {
	if l.EffectiveBy == 0 {
		return ""
	}
	for i, at := range s.residue {
		if at == l.EffectiveBy {
			return footmark(i)
		}
	}
	s.residue = append(s.residue, l.EffectiveBy)
	return footmark(len(s.residue) - 1)
}

func footmark(i int) string {
	if i < 3 {
		return strings.Repeat("*", i+1)
	}
	return fmt.Sprintf("*%d", i+1)
}

func (s *slip) totals(r *Receipt) {
	t := r.Totals
	var parts []string
	for _, p := range []struct {
		n    int
		word string
	}{{t.Succeeded, "done"}, {t.Unconfirmed, "unconfirmed"}, {t.Failed, "failed"}, {t.Skipped, "skipped"}, {t.Pending, "pending"}, {t.Reversed, "reversed"}} {
		if p.n != 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	left, right := fmt.Sprintf("ordered %d   lines %d", t.Requested, t.Lines), strings.Join(parts, " · ")
	if columns(left)+2+columns(right) <= s.width {
		s.sides(left, right)
	} else {
		s.row(left)
		s.wrap("  ", "  ", right)
	}
	s.sides("TOTAL", strings.ToUpper(r.Outcome))
}

func (s *slip) footnotes(issued int64) {
	for i, at := range s.residue {
		until := clock(at)
		if issued != 0 && until[:10] == clock(issued)[:10] {
			until = until[11:]
		}
		s.wrap(footmark(i)+" ", strings.Repeat(" ", len(footmark(i))+1), "access already granted can last until "+until)
	}
}

func (s *slip) rule() { s.row(strings.Repeat("─", s.width)) }

// text prints words of our own, wrapped.
func (s *slip) text(words string) { s.wrap("", "", words) }

// sides prints one thing at each edge, or under each other where they do not fit.
func (s *slip) sides(left, right string) {
	left, right = clip(plain(left), s.width), clip(plain(right), s.width)
	gap := s.width - columns(left) - columns(right)
	if gap < 1 && left != "" {
		s.row(left)
		left, gap = "", s.width-columns(right)
	}
	s.row(left + strings.Repeat(" ", gap) + right)
}

// wrap breaks words at the width; a word longer than a row is cut.
func (s *slip) wrap(first, next, words string) {
	row, empty := first, true
	for _, w := range strings.Fields(words) {
		w = clip(w, s.width-columns(next))
		if !empty && columns(row)+1+columns(w) > s.width {
			s.row(row)
			row, empty = next, true
		}
		if !empty {
			row += " "
		}
		row, empty = row+w, false
	}
	if !empty {
		s.row(row)
	}
}

func (s *slip) row(text string) {
	if text = strings.TrimRight(text, " "); text != "" {
		s.b.WriteString(s.margin)
		s.b.WriteString(text)
	}
	s.b.WriteByte('\n')
}

func appOf(l *Line) string {
	switch {
	case l.Target != nil:
		return l.Target.App
	case l.quantity() > 1:
		return fmt.Sprintf("%d targets", l.Quantity)
	}
	return ""
}

func countsOf(l *Line) string {
	if c := l.Counts; c != nil && c.Acted != nil && c.Found != nil {
		return fmt.Sprintf("%d of %d", *c.Acted, *c.Found)
	}
	return ""
}

// resultOf is what became of a line, in words.
func resultOf(l *Line) string {
	words := strings.ReplaceAll(l.Reason, "_", " ")
	switch l.Reason {
	case "done", "done_with_residue":
		words = "done"
	case "already_in_state":
		words = "already so"
	}
	if class, _ := ClassOf(l.Status, l.Reason); class == ClassSatisfied {
		return words
	}
	switch l.Status {
	case Failed:
		return "failed: " + words
	case Pending:
		return "waiting: " + words
	case Unconfirmed:
		return "unconfirmed"
	case Skipped:
		return "skipped: " + words
	}
	return words
}

func shortHash(hash string) string {
	if name, sum, ok := strings.Cut(hash, ":"); ok && len(sum) > 8 {
		return name + ":" + sum[:8] + "…"
	}
	return hash
}
