package subject

// Identical reports whether two subjects are the same as JSON values, whatever the order of their members
// (SSF 1.0 §8.1.3.1). Removing a subject from a list goes by this, never by Match.
func Identical(a, b Identifier) bool { return !a.IsZero() && a.canonical == b.canonical }

// Match reports whether an event about one subject belongs to a list that holds the other
// (SSF 1.0 §8.1.3.1). It is symmetric.
//
//   - Two simple subjects match if they are identical; aliases match if any identifier does (SUB-39).
//   - Two complex subjects match if no member that both have differs: an absent member is a wildcard on
//     either side. At least one must be the same, else two subjects with nothing in common would match
//     (SUB-39).
//   - A simple and a complex subject match if the simple one is a member of the complex one (SUB-38);
//     the standard is silent here, and treating the simple one as a complex subject without members
//     would match everything.
//
// The comparison is literal, also for e-mail addresses; the zero Identifier matches nothing.
func Match(a, b Identifier) bool {
	switch aComplex, bComplex := a.format == FormatComplex, b.format == FormatComplex; {
	case a.IsZero() || b.IsZero():
		return false
	case aComplex && bComplex:
		common := false
		for _, p := range a.parts {
			other, ok := b.Part(p.name)
			if !ok {
				continue
			}
			if !same(p.id, other) {
				return false
			}
			common = true
		}
		return common
	case aComplex:
		return isMember(b, a)
	case bComplex:
		return isMember(a, b)
	}
	return same(a, b)
}

func isMember(one, whole Identifier) bool {
	for _, p := range whole.parts {
		if same(p.id, one) {
			return true
		}
	}
	return false
}

// same compares two simple subjects; aliases are the same as anything one of their identifiers is.
func same(a, b Identifier) bool {
	if Identical(a, b) {
		return true
	}
	for _, x := range a.aliases {
		if same(x, b) {
			return true
		}
	}
	for _, y := range b.aliases {
		if Identical(a, y) {
			return true
		}
	}
	return false
}
