package transmitter_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/req"
	"countersign/set"
	"countersign/ssftest"
	"countersign/stream"
	"countersign/subject"
	"countersign/transmitter"
)

// countingStore counts how often lists are looked up.
type countingStore struct {
	*transmitter.Memory
	lookups int
}

func (s *countingStore) Subjects(ctx context.Context, keys [][16]byte) ([]transmitter.SubjectEntry, error) {
	s.lookups++
	return s.Memory.Subjects(ctx, keys)
}

func parse(t testing.TB, raw string) subject.Identifier {
	t.Helper()
	id, err := subject.Parse(json.RawMessage(raw))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// putListed keeps a stream with the given default_subjects.
func putListed(t testing.TB, s transmitter.Store, id, defaults string, edit ...func(*transmitter.Stream)) *transmitter.Stream {
	t.Helper()
	st := &transmitter.Stream{ID: id, Receiver: "a", Audience: []string{"https://" + id + ".example"}, Delivered: []string{sessionRevoked, credentialChange},
		Method: stream.PollMethod, Status: transmitter.Enabled, DefaultSubjects: defaults}
	for _, f := range edit {
		f(st)
	}
	if err := s.CreateStream(t.Context(), st, 0); err != nil {
		t.Fatal(err)
	}
	return st
}

func list(t testing.TB, x *transmitter.Transmitter, id, raw string, on bool) {
	t.Helper()
	if err := x.ListSubject(t.Context(), id, parse(t, raw), on, true); err != nil {
		t.Fatal(err)
	}
}

// queued gives the ids of the streams that a message about a subject goes to.
func queued(t testing.TB, x *transmitter.Transmitter, sub string) []string {
	t.Helper()
	m := message("x")
	m.SubID = json.RawMessage(sub)
	ids := []string{}
	for _, q := range mustSend(t, x, m).Queued {
		ids = append(ids, q.StreamID)
	}
	slices.Sort(ids)
	return ids
}

const (
	mira    = `{"format":"email","email":"mira@x.example"}`
	miraSub = `{"format":"iss_sub","iss":"https://idp.example","sub":"u-1"}`
	blue    = `{"format":"opaque","id":"blue"}`
)

// The table of SUB.5, row by row, and what our own advice adds to it.
func TestSubjectLists(t *testing.T) {
	tests := []struct {
		name, listed, event string
		sent                bool
		covers              []string
	}{
		{"identical", mira, mira, true, []string{"SUB-33", "SUB-35", "TX-118"}},
		{"another case", `{"format":"email","email":"Mira@x.example"}`, mira, false, []string{"SUB-33", "SUB-35"}},
		{"another order of members", `{"sub":"u-1","iss":"https://idp.example","format":"iss_sub"}`, miraSub, true, []string{"SUB-37"}},
		{"a member more", `{"format":"iss_sub","iss":"https://idp.example","sub":"u-1","note":"x"}`, miraSub, false, []string{"SUB-37"}},
		{"wildcard in the list", `{"format":"complex","tenant":` + blue + `}`, `{"format":"complex","tenant":` + blue + `,"user":` + mira + `}`, true, []string{"SUB-34"}},
		{"wildcard in the event", `{"format":"complex","user":` + mira + `,"device":` + blue + `}`, `{"format":"complex","user":` + mira + `}`, true, []string{"SUB-34"}},
		{"one member differs", `{"format":"complex","user":` + mira + `,"group":{"format":"opaque","id":"g1"}}`,
			`{"format":"complex","user":` + mira + `,"group":{"format":"opaque","id":"g2"}}`, false, []string{"SUB-34"}},
		{"nothing in common", `{"format":"complex","tenant":` + blue + `}`, `{"format":"complex","user":` + mira + `}`, false, []string{"SUB-39"}},
		{"simple listed, complex event", mira, `{"format":"complex","user":` + mira + `,"session":` + blue + `}`, true, []string{"SUB-38"}},
		{"complex listed, simple event", `{"format":"complex","user":` + mira + `,"session":` + blue + `}`, mira, true, []string{"SUB-38"}},
		{"simple is not a complex one without members", `{"format":"email","email":"leo@x.example"}`, `{"format":"complex","user":` + mira + `}`, false, []string{"SUB-38"}},
		{"one of the aliases listed", `{"format":"aliases","identifiers":[` + mira + `,` + miraSub + `]}`, miraSub, true, []string{"SUB-39"}},
		{"one of the aliases in the event", mira, `{"format":"aliases","identifiers":[` + miraSub + `,` + mira + `]}`, true, []string{"SUB-39"}},
		{"aliases inside a complex one", miraSub, `{"format":"complex","user":{"format":"aliases","identifiers":[` + mira + `,` + miraSub + `]}}`, true, []string{"SUB-38", "SUB-39"}},
		{"aliases with another in common", `{"format":"aliases","identifiers":[` + mira + `,` + blue + `]}`, `{"format":"aliases","identifiers":[` + miraSub + `,` + blue + `]}`, true, []string{"SUB-39"}},
		{"no alias fits", `{"format":"aliases","identifiers":[` + mira + `,` + blue + `]}`, miraSub, false, []string{"SUB-39"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store := new(transmitter.Memory)
			x := newTransmitter(t, newConfig(store))
			putListed(t, store, "none", stream.DefaultNone)
			putListed(t, store, "all", stream.DefaultAll)
			if got := queued(t, x, test.event); !slices.Equal(got, []string{"all"}) {
				t.Fatalf("before anything was listed it went to %v", got)
			}
			list(t, x, "none", test.listed, true)
			if got := slices.Contains(queued(t, x, test.event), "none"); got != test.sent {
				t.Fatalf("sent: %v, want %v", got, test.sent)
			}
			req.Covers(t, test.covers...)
			// Taken off again it is not sent any more, whatever else there is.
			list(t, x, "none", test.listed, false)
			if got := queued(t, x, test.event); !slices.Equal(got, []string{"all"}) {
				t.Fatalf("after the removal it went to %v", got)
			}
		})
	}
}

// Under ALL, what was removed is left out, and only exactly that.
func TestRemovedFromAll(t *testing.T) {
	store := new(transmitter.Memory)
	x := newTransmitter(t, newConfig(store))
	putListed(t, store, "all", stream.DefaultAll)
	list(t, x, "all", mira, false)
	for event, want := range map[string]int{
		mira: 0, `{"email":"mira@x.example","format":"email"}`: 0, miraSub: 1,
		`{"format":"complex","user":` + mira + `,"session":` + blue + `}`: 1,
	} {
		if got := queued(t, x, event); len(got) != want {
			t.Errorf("%s went to %v", event, got)
		}
	}
	list(t, x, "all", mira, true)
	if got := queued(t, x, mira); len(got) != 1 {
		t.Error("put back, and still not sent")
	}
}

// SSF 1.0 §9.3: for a while after a removal events are still sent.
func TestRemovedIsStillSentForAWhile(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Now = func() time.Time { return now }
	cfg.RemovalGrace = time.Hour
	x := newTransmitter(t, cfg)
	putListed(t, store, "none", stream.DefaultNone)
	putListed(t, store, "all", stream.DefaultAll)
	list(t, x, "none", mira, true)
	for _, id := range []string{"none", "all"} {
		list(t, x, id, mira, false)
	}
	for _, test := range []struct {
		after time.Duration
		want  int
	}{{0, 2}, {time.Hour - time.Microsecond, 2}, {time.Hour, 0}} {
		at := now
		now = now.Add(test.after)
		if got := queued(t, x, mira); len(got) != test.want {
			t.Errorf("%v after the removal it went to %v", test.after, got)
		}
		now = at
	}
	req.Covers(t, "TX-121")
}

// Lists cost one lookup for each event, and nothing where there are none.
func TestListsAreLookedUpOnce(t *testing.T) {
	store := &countingStore{Memory: new(transmitter.Memory)}
	x := newTransmitter(t, newConfig(store))
	for _, id := range []string{"a1", "a2", "a3"} {
		putListed(t, store, id, stream.DefaultAll)
	}
	if queued(t, x, mira); store.lookups != 0 {
		t.Fatalf("%d lookups without a list", store.lookups)
	}
	putListed(t, store, "n1", stream.DefaultNone)
	putListed(t, store, "n2", stream.DefaultNone)
	list(t, x, "a1", mira, false)
	if queued(t, x, mira); store.lookups != 1 {
		t.Fatalf("%d lookups with three lists", store.lookups)
	}
}

// FuzzMatch holds the lookup by keys to the rule for two subjects: what is listed is sent exactly where subject.Match says so.
func FuzzMatch(f *testing.F) {
	seeds := []string{
		mira, miraSub, blue, `{"format":"complex","user":` + mira + `}`, `{"format":"complex","user":` + mira + `,"tenant":` + blue + `}`,
		`{"format":"complex","tenant":` + blue + `,"user":{"format":"aliases","identifiers":[` + mira + `,` + miraSub + `]}}`,
		`{"format":"aliases","identifiers":[` + blue + `,` + mira + `]}`, `{"user":` + mira + `}`, `{"format":"phone","phone":"+31 20 123"}`,
		`{"format":"https://x.example/own","a":[1,2.50]}`,
	}
	for _, a := range seeds {
		for _, b := range seeds {
			f.Add(a, b)
		}
	}
	f.Fuzz(func(t *testing.T, rawListed, rawEvent string) {
		listed, err := subject.Parse(json.RawMessage(rawListed))
		if err != nil {
			return
		}
		event, err := subject.Parse(json.RawMessage(rawEvent))
		if err != nil {
			return
		}
		store := new(transmitter.Memory)
		x := newTransmitter(t, newConfig(store))
		putListed(t, store, "none", stream.DefaultNone)
		if err := x.ListSubject(t.Context(), "none", listed, true, true); err != nil {
			return // too large for a list
		}
		m := message("x")
		m.SubID = json.RawMessage(rawEvent)
		sent := mustSend(t, x, m)
		if got, want := len(sent.Queued) == 1, subject.Match(listed, event); got != want {
			t.Fatalf("sent: %v, the rule says %v", got, want)
		}
		err = x.ListSubject(t.Context(), "none", listed, false, true)
		if err != nil {
			t.Fatal(err)
		}
		if sent := mustSend(t, x, m); len(sent.Queued) != 0 {
			t.Fatal("sent after it was removed")
		}
	})
}

func naming(raw string) func(*transmitter.Stream) {
	return func(s *transmitter.Stream) { s.Naming = json.RawMessage(raw) }
}

// keptClaims are the claims as they will be signed on a stream.
func keptClaims(t testing.TB, x *transmitter.Transmitter, store transmitter.Store, id string) set.Claims {
	t.Helper()
	var st *transmitter.Stream
	all, _, err := store.AllStreams(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if all[i].ID == id {
			st = &all[i]
		}
	}
	items, err := store.Next(t.Context(), st.Key, 0, 100)
	if err != nil || len(items) == 0 {
		t.Fatalf("%s: %d rows, %v", id, len(items), err)
	}
	it := items[len(items)-1]
	input := it.Input
	if input == "" {
		input = ssftest.Signer(set.ES256, "es-1").Input(transmitter.AppendClaims(nil, transmitter.ClaimsStart(issuer, st.Audience), it.IssuedAt, it.JTI, it.Event.Body))
	}
	u, err := set.Parse(input + ".AA")
	if err != nil {
		t.Fatal(err)
	}
	if u.Fault() != nil {
		t.Fatal(u.Fault())
	}
	return u.Claims()
}

// Each receiver is told the name that it knows, and none is told another's.
func TestNaming(t *testing.T) {
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Name = func(_ context.Context, s *transmitter.Stream, sub subject.Identifier, typ string) (subject.Identifier, string, error) {
		if typ != sessionRevoked || sub.Get("email") != "alice@example.com" {
			t.Errorf("asked about %s", typ)
		}
		switch string(s.Naming) {
		case `"crm"`:
			return subject.Opaque("crm-77"), "", nil
		case `"erp"`:
			return subject.IssSub("https://erp.example", "e-5"), "", nil
		case `"none"`:
			return subject.Identifier{}, "the person has no account at keycloak", nil
		}
		return subject.Identifier{}, "", nil
	}
	x := newTransmitter(t, cfg)
	putListed(t, store, "plain", "")
	putListed(t, store, "crm", "", naming(`"crm"`))
	putListed(t, store, "crm-too", "", naming(`"crm"`))
	putListed(t, store, "erp", "", naming(`"erp"`))
	none := putListed(t, store, "none", "", naming(`"none"`))
	nobody := putListed(t, store, "nobody", "", naming(`"?"`))
	m := message("alice")
	m.TXN = "txn-9"
	sent := mustSend(t, x, m)
	skips := []transmitter.Skip{
		{Stream: none.Key, StreamID: "none", Receiver: "a", Reason: "the person has no account at keycloak"},
		{Stream: nobody.Key, StreamID: "nobody", Receiver: "a", Reason: "the receiver has no name for the subject"},
	}
	if d := cmp.Diff(skips, sent.Skipped); d != "" || len(sent.Queued) != 4 {
		t.Fatalf("queued %d; skipped (-want +got):\n%s", len(sent.Queued), d)
	}
	for id, want := range map[string]string{
		"plain": `{"format":"email","email":"alice@example.com"}`, "crm": `{"format":"opaque","id":"crm-77"}`,
		"crm-too": `{"format":"opaque","id":"crm-77"}`, "erp": `{"format":"iss_sub","iss":"https://erp.example","sub":"e-5"}`,
	} {
		c := keptClaims(t, x, store, id)
		if string(c.SubID) != want || c.TXN != "txn-9" {
			t.Errorf("%s is told %s", id, c.SubID)
		}
		if id != "plain" && strings.Contains(string(c.SubID), "alice") {
			t.Errorf("%s is told another's name", id)
		}
	}
	req.Covers(t, "TX-155", "SUB-10")
	lines, err := store.Deliveries(t.Context(), transmitter.DeliveryFilter{TXN: "txn-9", Outcome: transmitter.Skipped})
	if err != nil || len(lines) != 2 {
		t.Fatalf("the history has %d skips, %v", len(lines), err)
	}
	// Without anybody who knows names nothing is sent, rather than the name that the message has.
	cfg.Name = nil
	x = newTransmitter(t, cfg)
	if sent := mustSend(t, x, m); len(sent.Queued) != 1 || len(sent.Skipped) != 5 {
		t.Fatalf("without names: %+v", sent)
	}
	// Where everybody is skipped, the history still has it.
	alone := new(transmitter.Memory)
	cfg.Store = alone
	x = newTransmitter(t, cfg)
	putListed(t, alone, "none", "", naming(`"none"`))
	m.TXN = "txn-10"
	if sent := mustSend(t, x, m); len(sent.Queued) != 0 || len(sent.Skipped) != 1 {
		t.Fatalf("everybody skipped: %+v", sent)
	}
	if lines, err := alone.Deliveries(t.Context(), transmitter.DeliveryFilter{TXN: "txn-10"}); err != nil || len(lines) != 1 {
		t.Fatalf("the history has %d lines, %v", len(lines), err)
	}
	// A fault that may pass keeps nothing.
	broken := errors.New("the store of names is away")
	cfg.Name = func(context.Context, *transmitter.Stream, subject.Identifier, string) (subject.Identifier, string, error) {
		return subject.Identifier{}, "", broken
	}
	x = newTransmitter(t, cfg)
	if _, err := x.Send(t.Context(), m); !errors.Is(err, broken) {
		t.Fatalf("error is %v", err)
	}
}

// A message for named streams says of each of them what came of it.
func TestNamedStreams(t *testing.T) {
	store := new(transmitter.Memory)
	x := newTransmitter(t, newConfig(store))
	putListed(t, store, "takes", "")
	putListed(t, store, "other", "")
	putListed(t, store, "none", stream.DefaultNone)
	putListed(t, store, "requested", "", func(s *transmitter.Stream) {
		s.Requested, s.Delivered = []string{credentialChange}, []string{credentialChange}
	})
	putListed(t, store, "offered", "", func(s *transmitter.Stream) { s.Delivered = []string{credentialChange} })
	putListed(t, store, "disabled", "", func(s *transmitter.Stream) { s.Status = transmitter.Disabled })
	putListed(t, store, "keyless", "", func(s *transmitter.Stream) { s.Algorithm = "RS256" })
	m := message("alice")
	m.Streams = []string{"takes", "none", "requested", "offered", "disabled", "keyless", "unknown"}
	sent := mustSend(t, x, m)
	if len(sent.Queued) != 1 || sent.Queued[0].StreamID != "takes" {
		t.Fatalf("queued: %+v", sent.Queued)
	}
	got := map[string]string{}
	for _, s := range sent.Skipped {
		got[s.StreamID] = s.Reason
	}
	want := map[string]string{
		"none": "the subject is not on the stream's list", "requested": "the receiver did not request this event type",
		"offered": "this event type is not offered to the receiver", "disabled": "the stream is disabled",
		"keyless": "there is no signing key for RS256", "unknown": "there is no such stream",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("skipped (-want +got):\n%s", d)
	}
	// Where no stream is named, the list that leaves a subject out is no news, but the missing key is.
	m.Streams = nil
	if sent := mustSend(t, x, m); len(sent.Queued) != 2 || len(sent.Skipped) != 1 || sent.Skipped[0].StreamID != "keyless" {
		t.Fatalf("unnamed: %+v", sent)
	}
}

// What is sent has today's form, also where the message had that of an older draft (SUB-26).
func TestOlderSubjectsAreSentAsTodays(t *testing.T) {
	store := new(transmitter.Memory)
	x := newTransmitter(t, newConfig(store))
	putListed(t, store, "s1", "")
	for given, want := range map[string]string{
		`{"format":"phone","phone":"+31 20-123 00 01"}`: `{"format":"phone_number","phone_number":"+31201230001"}`,
		`{"user":` + mira + `}`:                         `{"format":"complex","user":{"email":"mira@x.example","format":"email"}}`,
		`{"format":"jwt-id","iss":"i","jti":"j"}`:       `{"format":"jwt_id","iss":"i","jti":"j"}`,
		`{"format": "email", "email": "A@x.example"}`:   `{"format":"email","email":"A@x.example"}`,
	} {
		m := message("x")
		m.SubID = json.RawMessage(given)
		mustSend(t, x, m)
		if got := string(keptClaims(t, x, store, "s1").SubID); got != want {
			t.Errorf("%s was sent as %s, want %s", given, got, want)
		}
	}
	req.Covers(t, "SUB-26")
}

// What every stream is told is kept once, as the event; where streams are told different things, each row has its own.
func TestSharedBody(t *testing.T) {
	store := new(transmitter.Memory)
	c := newConfig(store)
	c.Name = func(_ context.Context, s *transmitter.Stream, _ subject.Identifier, _ string) (subject.Identifier, string, error) {
		return subject.Opaque(string(s.Naming)), "", nil
	}
	x := newTransmitter(t, c)
	called := func(name string) func(*transmitter.Stream) {
		return func(s *transmitter.Stream) { s.Naming = []byte(name) }
	}
	putListed(t, store, "s1", "", called(`"n1"`))
	putListed(t, store, "s2", "", called(`"n1"`))
	out, _, err := x.Plan(t.Context(), message("alice"))
	if err != nil || len(out.Rows) != 2 {
		t.Fatalf("%+v, %v", out, err)
	}
	if out.Rows[0].Body != nil || out.Rows[1].Body != nil || !strings.Contains(string(out.Event.Body), `\"n1\"`) || strings.Contains(string(out.Event.Body), "alice") {
		t.Errorf("event %s, rows %+v", out.Event.Body, out.Rows)
	}
	putListed(t, store, "s3", "", called(`"n2"`))
	if err := x.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out, _, err = x.Plan(t.Context(), message("alice")); err != nil || len(out.Rows) != 3 {
		t.Fatalf("%+v, %v", out, err)
	}
	for i, want := range []string{`\"n1\"`, `\"n1\"`, `\"n2\"`} {
		if !strings.Contains(string(out.Rows[i].Body), want) {
			t.Errorf("row %d: %s", i, out.Rows[i].Body)
		}
	}
}
