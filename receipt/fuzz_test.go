package receipt

import (
	"encoding/json"
	"testing"

	"countersign/set"
)

// What ParseDirective takes can be computed with, written and read again.
func FuzzParseDirective(f *testing.F) {
	for _, name := range []string{"e1-order", "e2-order", "e3-order", "e4-order", "e5-suborder"} {
		f.Add(string(member(example(f, name), Default().Directive)))
	}
	f.Add(`{"obligation":"must","crit":["receipt.when"],"actions":[{"id":"a1","action":"revoke_sessions","params":{"reach":5}}]}`)
	f.Fuzz(func(t *testing.T, raw string) {
		c := revoked()
		d, err := ParseDirective(json.RawMessage(raw), c)
		if err != nil {
			return
		}
		if _, outcome := Compute(d, RefusedLines(d, InvalidDirective, 1)); outcome != OutcomeRefused && outcome != OutcomeFulfilled {
			t.Errorf("refusing it gives %s", outcome)
		}
		written, err := d.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseDirective(written, c); err != nil {
			t.Errorf("written as %s: %v", written, err)
		}
	})
}

// Check never accepts a receipt whose till does not add up, and what it accepts can be printed.
func FuzzCheck(f *testing.F) {
	for _, c := range chains {
		for _, name := range c.receipts {
			f.Add(string(example(f, name)), c.order)
		}
	}
	orders := map[string]*Order{}
	for _, c := range chains {
		orders[c.order] = exampleOrder(f, c.order)
	}
	signer := testSigner(f, "r1")
	f.Fuzz(func(t *testing.T, payload, order string) {
		o := orders[order]
		if o == nil {
			return
		}
		token, err := set.Parse(sign(t, signer, []byte(payload)))
		if err != nil {
			return
		}
		r, d, p := Check(o, token, nil, 1789490000, Default())
		if p != nil {
			return
		}
		if d != Next && d != Gap {
			t.Errorf("disposition %v with nothing known", d)
		}
		if totals, outcome := Compute(o.Directive, r.Lines); totals != r.Totals || outcome != r.Outcome {
			t.Errorf("accepted %+v %s, computed %+v %s", r.Totals, r.Outcome, totals, outcome)
		}
		Slip(r, SlipOptions{})
		Review(o, r, 0, 0, "")
	})
}

// Verify takes any file, and no file but a signed one comes out well.
func FuzzVerify(f *testing.F) {
	for _, b := range []*Bundle{smallFile(f), evidenceFile(f)} {
		data, err := b.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, []byte(`{"require_log":false}`))
	}
	f.Add([]byte(`{"version":1,"orders":["a.b.c"],"receipts":[{"jws":"x","accepted_at":1}],"jwks":{"i":{"keys":[{"kid":"k"}]}}}`), []byte(nil))
	f.Fuzz(func(t *testing.T, bundle, policy []byte) {
		r := Verify(bundle, policy, verifyTime)
		if r.Exit == ExitFulfilled && len(r.Orders) == 0 {
			t.Error("fulfilled without an order")
		}
		if r.Exit != ExitUsage && r.Exit != ExitInvalid {
			if _, err := ParseBundle(bundle); err != nil {
				t.Errorf("exit %d for a file that does not parse", r.Exit)
			}
		}
		r.Text()
	})
}

func FuzzParseSettings(f *testing.F) {
	for _, s := range []Settings{ourSettings(), theirSettings()} {
		raw, err := s.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(raw))
	}
	f.Fuzz(func(t *testing.T, raw string) {
		s, err := ParseSettings(json.RawMessage(raw))
		if err != nil {
			return
		}
		ours := ourSettings()
		if a, err := Answer(ours, s); err == nil && a.CheckAnswer() != nil {
			t.Errorf("answer %+v: %v", a, a.CheckAnswer())
		}
	})
}
