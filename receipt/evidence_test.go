package receipt

import (
	"slices"
	"testing"

	"countersign/internal/req"
)

func TestReached(t *testing.T) {
	req.Covers(t, "A17", "AR-5.4")
	hash, full, left := DocumentHash(nil), CountsOf("sessions", 2, 2, 0), CountsOf("sessions", 2, 1, 1)
	partly := &Counts{Unit: "sessions", Found: new(2), Left: new(0)}
	for _, c := range []struct {
		action string
		counts *Counts
		e      *Evidence
		want   string
	}{
		{"revoke_sessions", full, nil, Assertion},
		{"revoke_sessions", nil, &Evidence{Level: Assertion, Hash: hash, VerifiedAt: 5}, Assertion},
		{"revoke_sessions", nil, &Evidence{Level: Counted}, Assertion},
		{"revoke_sessions", partly, &Evidence{Level: Counted}, Assertion},
		{"revoke_sessions", full, &Evidence{Level: Counted}, Counted},
		{"revoke_tokens", nil, &Evidence{Level: Verified, Hash: hash, VerifiedAt: 5}, Assertion},
		{"reauthenticate", nil, &Evidence{Level: Counted}, Counted},
		{"revoke_sessions", full, &Evidence{Level: Committed}, Counted},
		{"revoke_sessions", full, &Evidence{Level: Committed, Hash: hash}, Committed},
		{"revoke_sessions", full, &Evidence{Level: Verified, VerifiedAt: 5}, Counted},
		{"revoke_sessions", full, &Evidence{Level: Verified, Hash: hash}, Committed},
		{"revoke_sessions", full, &Evidence{Level: Verified, Hash: hash, VerifiedAt: 5}, Verified},
		{"revoke_sessions", left, &Evidence{Level: Verified, Hash: hash, VerifiedAt: 5}, Committed},
		{"reauthenticate", nil, &Evidence{Level: Verified, Hash: hash, VerifiedAt: 5}, Verified},
		{"disable_account", left, &Evidence{Level: Verified, Hash: hash, VerifiedAt: 5}, Committed},
	} {
		l := Line{Action: c.action, Counts: c.counts, Evidence: c.e}
		if got := l.Reached(); got != c.want {
			t.Errorf("%s %+v %+v: %s, want %s", c.action, c.counts, c.e, got, c.want)
		}
	}
}

func TestReview(t *testing.T) {
	const iat = 1789462808
	for _, c := range []struct {
		name   string
		rules  []string
		change func(o *Order, r *Receipt)
		floor  string
		level  string
		code   string // empty: nothing of that level
	}{
		{"as it is", []string{"A17"}, func(*Order, *Receipt) {}, "", LevelShortfall, ""},
		{"residue", []string{"A11"}, func(*Order, *Receipt) {}, "", LevelNote, "residue"},
		{"less than wanted", []string{"A17"}, func(_ *Order, r *Receipt) { r.Lines[0].Evidence.VerifiedAt = 0 }, "", LevelShortfall, "evidence"},
		{"less than claimed", []string{"A17"}, func(_ *Order, r *Receipt) { r.Lines[0].Evidence.VerifiedAt = 0 }, "", LevelNote, "evidence_claim"},
		{"less, on an interim", []string{"A17"}, func(_ *Order, r *Receipt) { r.Stage, r.Lines[0].Evidence = StageInterim, nil }, "", LevelShortfall, ""},
		{"less, on a failed line", []string{"A17"}, func(_ *Order, r *Receipt) {
			r.Lines[0].Evidence, r.Lines[0].Status, r.Lines[0].Reason = nil, Failed, "app_error"
		}, "", LevelShortfall, ""},
		{"less, on an optional action", []string{"A17"}, func(o *Order, r *Receipt) { r.Lines[0].Evidence, o.Directive.Actions[0].Optional = nil, true }, "", LevelShortfall, ""},
		{"less, on extra work", []string{"A30"}, func(_ *Order, r *Receipt) { r.Lines[0].Evidence, r.Lines[0].ID = nil, "x.1" }, "", LevelShortfall, ""},
		{"order content with less, floor not", []string{"A2"}, func(o *Order, r *Receipt) { o.Directive.Receipt.Evidence, r.Lines[0].Evidence = Assertion, nil }, Counted, LevelShortfall, "evidence"},
		{"several targets on a line", []string{"A14"}, func(_ *Order, r *Receipt) { r.Lines[0].Quantity = 2 }, "", LevelShortfall, "detail"},
		{"several targets, summary asked", []string{"A14"}, func(o *Order, r *Receipt) { r.Lines[0].Quantity, o.Directive.Receipt.Detail = 2, "summary" }, "", LevelShortfall, ""},
		{"customer left out", []string{"A20"}, func(_ *Order, r *Receipt) { r.Customer = nil }, "", LevelNote, "customer"},
		{"started after completed", []string{"A49"}, func(_ *Order, r *Receipt) { r.Lines[0].StartedAt = 1789462804 }, "", LevelNote, "times"},
		{"requested after started", []string{"A49"}, func(_ *Order, r *Receipt) { r.Lines[0].RequestedAt = 1789462803 }, "", LevelNote, "times"},
		{"completed after the receipt", []string{"A49"}, func(_ *Order, r *Receipt) { r.Lines[3].CompletedAt = iat + 121 }, "", LevelNote, "times"},
		{"verified before completed", []string{"A49"}, func(_ *Order, r *Receipt) { r.Lines[0].Evidence.VerifiedAt = 1789462802 }, "", LevelNote, "times"},
		{"reversed before completed", []string{"A49"}, func(_ *Order, r *Receipt) { r.Lines[0].ReversedAt = 1789462802 }, "", LevelNote, "times"},
		{"started after not_after", []string{"A11"}, func(o *Order, _ *Receipt) { o.Directive.NotAfter = 1789462801 }, "", LevelNote, "started_late"},
	} {
		o, r := exampleOrder(t, "e1-order"), body(t, exampleReceipt(t, "e1-receipt"))
		c.change(o, r)
		var got []string
		for _, f := range Review(o, r, iat, iat, c.floor) {
			if f.Level == c.level {
				got = append(got, f.Code)
			}
		}
		if c.code == "" && len(got) > 0 || c.code != "" && !slices.Contains(got, c.code) {
			t.Errorf("%s: %v, want %q", c.name, got, c.code)
		}
		req.Covers(t, c.rules...)
	}
	o, r := exampleOrder(t, "e1-order"), body(t, exampleReceipt(t, "e1-receipt"))
	for _, f := range Review(o, r, iat, iat+100000, "") {
		if f.Code == "residue" || f.Code == "times" {
			t.Errorf("later, or by the example itself: %+v", f)
		}
	}
}

func TestCustomerFor(t *testing.T) {
	req.Covers(t, "A20", "AR-8")
	o := exampleOrder(t, "e1-order")
	if c := CustomerFor(o); c.Hash != body(t, exampleReceipt(t, "e1-receipt")).Customer.Hash {
		t.Errorf("hash: %+v", c)
	}
	o.Directive.Receipt.Customer = "echo"
	if c := CustomerFor(o); string(c.SubID) != string(o.SubID) {
		t.Errorf("echo: %+v", c)
	}
	o.Directive.Receipt.Customer = "omit"
	if c := CustomerFor(o); !c.Omitted {
		t.Errorf("omit: %+v", c)
	}
	o.Directive.Receipt.Customer, o.SubID = "hash", []byte(`{"format":"opaque","id":"1","n":1}`)
	if c := CustomerFor(o); !c.Omitted {
		t.Errorf("a subject with a number has no hash: %+v", c)
	}
	if _, err := CustomerHash(make([]byte, 16), o.SubID); err == nil {
		t.Error("a subject with a number was hashed")
	}
}

func TestNames(t *testing.T) {
	req.Covers(t, "AR-8", "AR-5.3", "A43")
	a, b := Pseudonym([]byte("secret"), "stream 1", "alice"), Pseudonym([]byte("secret"), "stream 2", "alice")
	if a == b || len(a) != 2+24 || a != Pseudonym([]byte("secret"), "stream 1", "alice") || a == Pseudonym([]byte("other"), "stream 1", "alice") {
		t.Errorf("%s, %s", a, b)
	}
	if Pseudonym(nil, "a", "bc") == Pseudonym(nil, "ab", "c") {
		t.Error("stream and account run into each other")
	}
	seen := map[string]bool{}
	for range 1000 {
		n := NewNumber()
		if seen[n] || !numberForm.MatchString(n) {
			t.Fatalf("number %s", n)
		}
		seen[n] = true
	}
	if Ref("i", "j", "a", "b", "", "") == Ref("i", "j", "a", "b", "", "x") {
		t.Error("ref does not depend on the target")
	}
}

// Issue refuses what the other side would refuse.
func TestIssueRefuses(t *testing.T) {
	req.Covers(t, "AR-5.7", "AR-5.1", "AR-8", "A25", "A47")
	for name, change := range map[string]func(o *Order, r *Receipt){
		"sums":               func(_ *Order, r *Receipt) { r.Totals.Lines = 9 },
		"outcome":            func(_ *Order, r *Receipt) { r.Outcome = OutcomePartial },
		"coverage":           func(_ *Order, r *Receipt) { r.Lines, r.Outcome = r.Lines[:2], "" },
		"no line":            func(_ *Order, r *Receipt) { r.Lines, r.Outcome = nil, "" },
		"number":             func(_ *Order, r *Receipt) { r.Number = "" },
		"seq without chain":  func(_ *Order, r *Receipt) { r.Seq = 2 },
		"amended first":      func(_ *Order, r *Receipt) { r.Stage = StageAmended },
		"customer":           func(o *Order, r *Receipt) { r.Customer = &Customer{SubID: o.SubID} },
		"received in future": func(_ *Order, r *Receipt) { r.Order.ReceivedAt = 1789462808 + 121 },
		"salt in a text":     func(o *Order, r *Receipt) { r.Message = map[string]string{"en": "x" + o.Directive.Receipt.SubjectSalt} },
		"no receipt issuer":  func(o *Order, _ *Receipt) { o.ReceiptIssuer = "" },
	} {
		o, r := exampleOrder(t, "e1-order"), body(t, exampleReceipt(t, "e1-receipt"))
		change(o, r)
		if payload, err := Issue(o, r, "j", 1789462808); err == nil {
			t.Errorf("%s: issued %s", name, payload)
		}
	}
}

func TestStrip(t *testing.T) {
	req.Covers(t, "AR-2")
	v := Vocabulary{Directive: "https://v.example/d", Event: "https://v.example/r", Location: AtEvent}
	payload := []byte(`{"a":1,"https://v.example/d":{"obligation":"must"},"b":"<"}`)
	if got := string(v.Strip(payload)); got != `{"a":1,"b":"<"}` {
		t.Errorf("stripped: %s", got)
	}
	if got := v.Strip([]byte(`{"a":1}`)); string(got) != `{"a":1}` {
		t.Errorf("nothing to strip: %s", got)
	}
	if got := Default().Strip(payload); string(got) != string(payload) {
		t.Errorf("location claim: %s", got)
	}
}

func TestParseReceipt(t *testing.T) {
	req.Covers(t, "AR-11", "A8")
	u := exampleReceipt(t, "e1-receipt")
	r, err := ReceiptOf(u, Default())
	if err != nil || r.Number != "CS-7F3K9Q2M" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := ReceiptOf(parse(t, vectorOrder), Default()); err == nil {
		t.Error("an order was read as a receipt")
	}
	for _, raw := range []string{``, `{}`, `{"seq":1,"seq":1}`, `[]`} {
		if _, err := ParseReceipt([]byte(raw)); err == nil {
			t.Errorf("taken: %s", raw)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	o, u := exampleOrder(b, "e1-order"), exampleReceipt(b, "e1-receipt")
	for b.Loop() {
		if _, _, p := Check(o, u, nil, 1789462808, Default()); p != nil {
			b.Fatal(p)
		}
	}
}

func BenchmarkIssue(b *testing.B) {
	o, r := exampleOrder(b, "e1-order"), body(b, exampleReceipt(b, "e1-receipt"))
	for b.Loop() {
		if _, err := Issue(o, r, "j", 1789462808); err != nil {
			b.Fatal(err)
		}
	}
}
