package server

import (
	"strings"
	"testing"
)

// An audience is written only where nothing can be read that says it: a stream that is adopted or made by a step says it itself.
func TestWhoNeedsAnAudience(t *testing.T) {
	w := newWorld(t)
	p := newPeer(w)
	doc := func(stream, more string) string {
		return strings.Replace(w.docPeer(p, more), "stream: create", "stream: "+stream, 1)
	}
	auth := "auth: {method: bearer, token: {stored: idp}}\n"
	for _, c := range []struct {
		name, doc string
		status    int
		says      string
	}{
		{"adopt", doc("adopt", auth), 200, ""},
		{"none with steps", doc("none", auth), 200, "no audience is known. Write audience into the source, or: countersign source stream peer create"},
		{"none by hand", doc("none", ""), 400, "audience: is needed with stream: none and no auth"},
		{"none by hand, with it", doc("none", "audience: [x]\n"), 200, ""},
	} {
		status, body := w.tryApply(docWiki + c.doc)
		if status != c.status || !strings.Contains(string(body), c.says) || c.says == "" && strings.Contains(string(body), "warning") {
			t.Errorf("%s: %d %s", c.name, status, body)
		}
	}
}
