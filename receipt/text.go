package receipt

import (
	"strings"
	"unicode"
)

// harmless keeps what shows as a character: no control, format (bidirectional overrides among them) or
// private characters, no separators but the plain space, and no mark of an undecodable octet.
func harmless(r rune) bool { return r != unicode.ReplacementChar && unicode.IsPrint(r) }

// columns is how wide a terminal shows s: two for wide East Asian characters and emoji, none for combining marks.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff,
		r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// clip cuts s to a width, and shows that it did.
func clip(s string, width int) string {
	if columns(s) <= width {
		return s
	}
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n+runeColumns(r) > width-1 {
			break
		}
		n += runeColumns(r)
		b.WriteRune(r)
	}
	return b.String() + "…"
}

// pad fills s with spaces to a width.
func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-columns(s)))
}
