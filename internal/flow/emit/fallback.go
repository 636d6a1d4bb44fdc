package emit

import (
	"slices"

	"countersign/internal/hub"
	"countersign/receipt"
)

// stand is an ordered action as it is printed: as it is, or by what came of the wider action that a policy's written
// fallback put in its place.
type stand struct {
	*hub.Action
	by *hub.Action // the wider action; nil: none
}

// stands gives what is printed for the ordered actions of one line (details B3). An action with a fallback stands
// once for each account that the wider action found, and not at all where it found none.
func stands(actions, extra []*hub.Action) []stand {
	var out []stand
	for _, a := range actions {
		var wider []*hub.Action
		if a.Ordered && a.Fallback != "" {
			for _, x := range extra {
				if x.Fallback != "" && x.Name == a.Name && x.App == a.App && (a.Account == "" || a.Account == x.Account) {
					wider = append(wider, x)
				}
			}
		}
		if len(wider) == 0 {
			out = append(out, stand{Action: a})
		}
		for _, x := range wider {
			out = append(out, stand{Action: behind(a, x), by: x})
		}
	}
	return out
}

// behind is an ordered action as the wider one leaves it. While that is open the ordered one waits with it. Proven,
// it implies that the one session is ended too; otherwise the ordered action keeps its failure. Never narrower in silence.
func behind(a, x *hub.Action) *hub.Action {
	b := *a
	b.Account, b.Hidden = x.Account, x.Hidden
	if x.Hidden { // the app knows nobody
		b.State, b.Reason, b.ReasonText, b.Completed = x.State, x.Reason, x.ReasonText, x.Completed
		return &b
	}
	switch {
	case !x.State.Final():
		b.State, b.Reason, b.ReasonText = x.State, x.Reason, ""
	case proven(x):
		b.State, b.Reason, b.ReasonText = x.State, x.Reason, ""
		b.Attempts, b.Counted, b.Found, b.Acted, b.Left, b.Unit = x.Attempts, x.Counted, x.Found, x.Acted, x.Left, x.Unit
		b.Level, b.Method, b.EvidenceHash = x.Level, x.Method, x.EvidenceHash
		b.Started, b.Completed, b.VerifiedAt, b.EffectiveBy = x.Started, x.Completed, x.VerifiedAt, x.EffectiveBy
	default:
		b.Completed = max(a.Completed, x.Completed)
	}
	return &b
}

// proven reports that every session of the account was seen to be gone, whoever ended it.
func proven(x *hub.Action) bool {
	switch {
	case x.State == hub.Succeeded, x.State == hub.Skipped && x.Reason == "already_gone":
		return x.Level == hub.Verified
	}
	return false
}

// naming adds to each ordered line which extra line did it. at gives the ids of the extra lines.
func naming(l *receipt.Line, s stand, at map[*hub.Action]string) {
	id := at[s.by]
	if s.by == nil || id == "" || l.Status == receipt.Failed {
		return
	}
	text := "Waits for line " + id + ", which goes further, by a policy's fallback."
	if l.Status != receipt.Pending {
		text = "Done by line " + id + ", which went further than this order, by a policy's fallback."
	}
	l.ReasonText = map[string]string{"en": text}
}

// visible are the extra actions that have a line.
func visible(actions []*hub.Action) []*hub.Action {
	return slices.DeleteFunc(slices.Clone(actions), func(a *hub.Action) bool { return a.Hidden })
}
