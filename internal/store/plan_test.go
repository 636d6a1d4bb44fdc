package store

import (
	"strings"
	"testing"
)

// The plans of SQLite that must not depend on what it guesses of the sizes of tables: the hot reads go from the rows that
// the caller names to the others, by their keys.
func TestPlans(t *testing.T) {
	s := sqlitePlace(t).open(t, Config{})
	for query, want := range map[string][]string{
		subjectSelect: {"SEARCH s USING PRIMARY KEY (key=?)", "SEARCH st USING INTEGER PRIMARY KEY (rowid=?)", "SEARCH c USING INDEX"},
		`SELECT ` + itemColumns + ` FROM outbox o` + itemJoins + ` WHERE o.stream = $1 AND o.seq > $2 AND e.tenant = $3 ORDER BY o.seq LIMIT $4`:                                                                                                                   {"SEARCH o USING PRIMARY KEY (stream=? AND seq>?)", "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)", "SEARCH s USING INTEGER PRIMARY KEY (rowid=?)"},
		`SELECT ` + itemColumns + ` FROM outbox o` + itemJoins + ` WHERE o.parting AND e.tenant = $1 ORDER BY o.seq`:                                                                                                                                               {"USING INDEX outbox_parting", "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)"},
		`SELECT o.stream, o.seq, o.jti, o.event FROM outbox o CROSS JOIN event e WHERE e.seq = o.event AND e.tenant = $1 AND e.at > 0 AND e.at < $2 AND NOT EXISTS (SELECT 1 FROM redriven r WHERE r.stream = o.stream AND r.seq = o.seq AND r.at >= $2) LIMIT $3`: {"SCAN o", "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)", "SEARCH r USING INDEX"},
		`SELECT seq, stream, last_at, entries FROM delivery_page WHERE tenant = $1 AND stream = $2 ORDER BY last_at DESC, seq DESC LIMIT $3`:                                                                                                                       {"delivery_page_stream"},
		`SELECT seq, stream, last_at, entries FROM delivery_page WHERE tenant = $1 ORDER BY last_at DESC, seq DESC LIMIT $2`:                                                                                                                                       {"delivery_page_tenant"},
		`SELECT e.seq FROM event e LEFT JOIN outbox o ON o.event = e.seq LEFT JOIN dead_letter d ON d.event = e.seq WHERE e.tenant = $1 AND e.at < $2 AND o.event IS NULL AND d.event IS NULL LIMIT $3`:                                                            {"event_at (tenant=? AND at<?)", "AUTOMATIC COVERING INDEX (event=?)"},
	} {
		var plan strings.Builder
		must(t, s.read(t.Context(), func(x *tx) error {
			return x.each(func(scan scanFunc) error {
				var id, parent, unused int
				var detail string
				err := scan(&id, &parent, &unused, &detail)
				plan.WriteString(detail + "\n")
				return err
			}, `EXPLAIN QUERY PLAN `+query, []any{1, 1, 1, 1}[:strings.Count(query, "$")]...)
		}))
		for _, w := range want {
			if !strings.Contains(plan.String(), w) {
				t.Errorf("%s\nwants %s, has\n%s", query, w, plan.String())
			}
		}
	}
}
