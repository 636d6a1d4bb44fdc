package receipt

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/req"
	"countersign/set"
)

const (
	idp = "https://idp.example.com/ssf"
	hub = "https://hub.example.net"
)

var verifyTime = time.Unix(1789490000, 0)

// evidenceFile is E1 as its transmitter would write it down: two parties, two keys.
func evidenceFile(t testing.TB) *Bundle {
	t.Helper()
	ours, theirs := testSigner(t, "t1"), otherSigner(t, "r1")
	b := NewBundle()
	b.Orders = []Entry{{JWS: sign(t, ours, example(t, "e1-order")), AcceptedAt: 1789462800}}
	b.Receipts = []Entry{{JWS: sign(t, theirs, example(t, "e1-receipt")), AcceptedAt: 1789462809}}
	b.AddKeys(idp, ours.Public())
	b.AddKeys(hub, theirs.Public())
	b.Streams = []StreamRule{{Issuer: idp, Audience: hub, ReceiptIssuer: hub, ReceiptAudience: idp}}
	return b
}

// smallFile is made with the package itself: an order built and signed, a receipt issued for it.
func smallFile(t testing.TB) *Bundle {
	t.Helper()
	ours, theirs := testSigner(t, "t1"), otherSigner(t, "r1")
	d := Directive{Obligation: ObligationMust, CompleteBy: 1789463100, Receipt: Wanted{Evidence: Committed}}
	raw, err := d.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	claims := set.Claims{Issuer: idp, Audience: []string{hub}, IssuedAt: 1789462800, ID: "ord-1", TXN: "txn-1",
		SubID:  json.RawMessage(`{"format":"email","email":"foo@example.com"}`),
		Events: []set.Event{{Type: caepPrefix + "session-revoked"}},
		Extra:  []set.Member{{Name: Default().Directive, Value: raw}}}
	payload, err := claims.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b := NewBundle()
	b.Orders = []Entry{{JWS: sign(t, ours, payload)}}
	o, err := OrderOf(parse(t, b.Orders[0].JWS), Default())
	if err != nil {
		t.Fatal(err)
	}
	document := NewDocument([]byte("GET /sessions 200 []"), "text/plain")
	r := Receipt{Number: NewNumber(), Seq: 1, Stage: StageFinal, Order: OrderLink{ReceivedAt: 1789462801}, Lines: []Line{{
		ID: "d1.1", Action: "revoke_sessions", Target: &Target{App: "wiki"}, Status: Succeeded, Reason: "done",
		Counts: CountsOf("sessions", 2, 2, 0), Evidence: &Evidence{Level: Committed, Hash: document.Hash}}}}
	if payload, err = Issue(o, &r, "rcp-1", 1789462805); err != nil {
		t.Fatal(err)
	}
	b.Receipts = []Entry{{JWS: sign(t, theirs, payload)}}
	b.Evidence = []Document{document}
	b.AddKeys(idp, ours.Public())
	b.AddKeys(hub, theirs.Public())
	return b
}

func verifyBundle(t testing.TB, b *Bundle, policy string) Report {
	t.Helper()
	data, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var p []byte
	if policy != "" {
		p = []byte(policy)
	}
	return Verify(data, p, verifyTime)
}

func codes(r Report, level string) []string {
	var out []string
	for _, f := range r.Findings {
		if f.Level == level {
			out = append(out, f.Code)
		}
	}
	return out
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// others are characters to put in place i of a token. A place has two: one near the character that is there (its lowest
// or highest bit, its other case) and one that is foreign to the alphabet or splits a segment; which of them changes from
// place to place. The last character of a segment, where base64url has bits without meaning, has them all.
func others(token string, i int) []byte {
	c := token[i]
	if i+1 == len(token) || token[i+1] == '.' {
		return []byte(strings.ReplaceAll(alphabet+`.="`, string(c), ""))
	}
	foreign := []byte(`A.="`)[i%4]
	at := strings.IndexByte(alphabet, c)
	if at < 0 { // a dot
		return []byte(`A="`)
	}
	near := []byte{alphabet[at^1], alphabet[at^32], c ^ 0x20}[i%3]
	if near == c || strings.IndexByte(alphabet, near) < 0 {
		near = alphabet[at^1]
	}
	if foreign == c {
		foreign = 'B'
	}
	return []byte{near, foreign}
}

// Every single-character change of an order or receipt token is noticed.
func TestVerifySingleCharacterChanges(t *testing.T) {
	req.Covers(t, "AR-9.1", "A5", "A6", "AR-10")
	b := smallFile(t)
	data, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if r := Verify(data, nil, verifyTime); r.Exit != ExitFulfilled {
		t.Fatalf("the file as it is: %s", r.Text())
	}
	for name, token := range map[string]string{"order": b.Orders[0].JWS, "receipt": b.Receipts[0].JWS} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			original := parse(t, token)
			offset := bytes.Index(data, []byte(token))
			changed := bytes.Clone(data)
			seen := map[int]int{}
			for i := range len(token) {
				for _, x := range others(token, i) {
					changed[offset+i] = x
					got := Verify(changed, nil, verifyTime).Exit
					seen[got]++
					want := []int{ExitInvalid}
					if u, err := set.Parse(string(changed[offset : offset+len(token)])); err == nil {
						kid, iss := u.Header().KeyID, u.Claims().Issuer
						switch {
						case kid != original.Header().KeyID && kid != "" && u.Header().Algorithm == "EdDSA" && u.Header().Type == "secevent+jwt":
							want = []int{ExitUndecidable}
						case iss != original.Claims().Issuer:
							want = []int{ExitInvalid, ExitUndecidable}
						}
					}
					if !slices.Contains(want, got) {
						t.Fatalf("position %d, %q for %q: exit %d, want %v", i, x, token[i], got, want)
					}
				}
				changed[offset+i] = token[i]
			}
			if seen[ExitInvalid] < 2*len(token) || seen[ExitUndecidable] == 0 {
				t.Errorf("exits seen: %v", seen)
			}
		})
	}
}

// The same for an RSA and an ECDSA signature, where more than one spelling of a signature might verify.
func TestVerifySignatureChangesRS256ES256(t *testing.T) {
	req.Covers(t, "A51", "A5")
	for _, alg := range []set.Algorithm{set.RS256, set.PS256, set.ES256} {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			key, err := set.GenerateKey(alg)
			if err != nil {
				t.Fatal(err)
			}
			signer, err := set.NewSigner(alg, "r1", key)
			if err != nil {
				t.Fatal(err)
			}
			b := smallFile(t)
			token := sign(t, signer, parse(t, b.Receipts[0].JWS).Payload())
			b.Receipts[0].JWS = token
			b.AddKeys(hub, signer.Public())
			data, err := b.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if r := Verify(data, nil, verifyTime); r.Exit != ExitFulfilled {
				t.Fatalf("%s", r.Text())
			}
			offset := bytes.Index(data, []byte(token))
			changed := bytes.Clone(data)
			for i := strings.LastIndexByte(token, '.'); i < len(token); i++ {
				for _, x := range others(token, i) {
					changed[offset+i] = x
					if r := Verify(changed, nil, verifyTime); r.Exit != ExitInvalid {
						t.Fatalf("position %d, %q for %q: exit %d", i, x, token[i], r.Exit)
					}
				}
				changed[offset+i] = token[i]
			}
		})
	}
}

func TestVerifyReport(t *testing.T) {
	req.Covers(t, "A3", "A54", "A58", "B5", "A26", "A11")
	b := evidenceFile(t)
	r := verifyBundle(t, b, "")
	if !slices.Contains(codes(r, LevelNote), "keys_from_bundle") {
		t.Error("it does not say that the keys came from the file")
	}
	if !slices.Contains(codes(r, LevelNote), "highest_seq") {
		t.Error("it does not name the highest seq")
	}
	if !slices.Contains(codes(r, LevelNotChecked), "evidence_absent") {
		t.Error("it does not say that evidence documents are absent")
	}
	o := r.Orders[0]
	if o.Seq != 1 || o.Stage != "final" || o.Outcome != OutcomeFulfilled || o.ReceiptNo != "CS-7F3K9Q2M" || o.Evidence != (EvidenceReport{Verified, Verified}) {
		t.Errorf("order row %+v", o)
	}
	var back map[string]any
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"exit", "verdict", "orders", "findings"} {
		if back[name] == nil {
			t.Errorf("JSON lacks %s", name)
		}
	}
	row := back["orders"].([]any)[0].(map[string]any)
	for _, name := range []string{"iss", "jti", "set_hash", "event_type", "outcome", "stage", "seq", "receipt_no", "evidence"} {
		if row[name] == nil {
			t.Errorf("JSON of an order lacks %s", name)
		}
	}
	if text := r.Text(); !strings.Contains(text, "as of seq 1") || !strings.Contains(text, "keys were taken from the file") {
		t.Error(text)
	}
	empty := Verify([]byte(`{"version":1,"orders":[],"receipts":[],"jwks":{}}`), nil, verifyTime)
	if data, _ := json.Marshal(empty); !bytes.Contains(data, []byte(`"orders":[]`)) || !bytes.Contains(data, []byte(`"findings":[]`)) {
		t.Errorf("empty lists are lists: %s", data)
	}
}

// verifyCases change the file, or bring a policy, and say what comes of it.
var verifyCases = []struct {
	name   string
	rules  []string
	change func(t *testing.T, b *Bundle)
	policy string
	exit   int
	level  string
	code   string
}{
	{name: "as it is", rules: []string{"A5"}, exit: 0},
	{name: "nothing in it", rules: []string{"A5"}, change: func(_ *testing.T, b *Bundle) { b.Orders, b.Receipts = nil, nil }, exit: 4},
	{name: "no receipt", rules: []string{"A5"}, change: func(_ *testing.T, b *Bundle) { b.Receipts = nil }, exit: 2, level: LevelShortfall, code: "no_receipt"},
	{name: "no order", rules: []string{"A5"}, change: func(_ *testing.T, b *Bundle) { b.Orders = nil }, exit: 4, level: LevelUndecided, code: CodeUnknownOrder},
	{name: "one invalid among valid", rules: []string{"A5"}, change: func(t *testing.T, b *Bundle) {
		b.Receipts = append(b.Receipts, Entry{JWS: sign(t, testSigner(t, "r1"), example(t, "e1-receipt"))})
	}, exit: 1, level: LevelInvalid, code: CodeBadSignature},
	{name: "invalid before undecided", rules: []string{"A5"}, change: func(t *testing.T, b *Bundle) {
		b.Receipts = append(b.Receipts, Entry{JWS: "x"})
		delete(b.JWKS, idp)
	}, exit: 1, level: LevelUndecided, code: "key_missing"},
	{name: "undecided before shortfall", rules: []string{"A5"}, change: func(t *testing.T, b *Bundle) {
		b.Orders = append(b.Orders, Entry{JWS: sign(t, testSigner(t, "t1"), example(t, "e2-order"))})
		b.Receipts = append(b.Receipts, Entry{JWS: sign(t, otherSigner(t, "r1"), example(t, "e4-interim"))})
	}, exit: 4, level: LevelShortfall, code: "no_receipt"},
	{name: "entries repeat", rules: []string{"A1", "A45"}, change: func(_ *testing.T, b *Bundle) {
		b.Orders, b.Receipts = append(b.Orders, b.Orders...), append(b.Receipts, b.Receipts...)
	}, exit: 0},
	{name: "key missing", rules: []string{"A6"}, change: func(_ *testing.T, b *Bundle) { delete(b.JWKS, hub) }, exit: 4, level: LevelUndecided, code: "key_missing"},
	{name: "kid missing", rules: []string{"A6"}, change: func(t *testing.T, b *Bundle) { b.AddKeys(hub, otherSigner(t, "r2").Public()) }, exit: 4, level: LevelUndecided, code: "key_missing"},
	{name: "other key under the kid", rules: []string{"A6"}, change: func(t *testing.T, b *Bundle) { b.AddKeys(hub, testSigner(t, "r1").Public()) }, exit: 1, level: LevelInvalid, code: CodeBadSignature},
	{name: "kid twice", rules: []string{"A6"}, change: func(t *testing.T, b *Bundle) {
		b.AddKeys(hub, otherSigner(t, "r1").Public(), testSigner(t, "r1").Public())
	}, exit: 1, level: LevelInvalid, code: CodeMalformed},
	{name: "key not yet valid", rules: []string{"A6"}, change: keyChange(func(k *set.Key) { k.NotBefore = 1789462809 }), exit: 1, level: LevelInvalid, code: CodeBadSignature},
	{name: "key valid from then", rules: []string{"A6"}, change: keyChange(func(k *set.Key) { k.NotBefore = 1789462808 }), exit: 0},
	{name: "key expired", rules: []string{"A6"}, change: keyChange(func(k *set.Key) { k.Expires = 1789462808 }), exit: 1, level: LevelInvalid, code: CodeBadSignature},
	{name: "key rotated later", rules: []string{"A6", "AR-9.1"}, change: keyChange(func(k *set.Key) { k.Expires = 1789462809 }), exit: 0},
	{name: "key revoked before", rules: []string{"A6"}, change: keyChange(func(k *set.Key) { k.Revoked = &set.Revocation{At: 1789462808, Reason: "superseded"} }), exit: 1},
	{name: "key revoked later", rules: []string{"A6"}, change: keyChange(func(k *set.Key) { k.Revoked = &set.Revocation{At: 1789462809, Reason: "superseded"} }), exit: 0},
	{name: "key compromised later", rules: []string{"A6"}, change: keyChange(func(k *set.Key) { k.Revoked = &set.Revocation{At: 1789999999, Reason: "compromised"} }), exit: 1, level: LevelInvalid, code: CodeBadSignature},
	{name: "key for encryption", rules: []string{"A51", "A6"}, change: keyChange(func(k *set.Key) { k.Use = "enc" }), exit: 1},
	{name: "key for another algorithm", rules: []string{"A51"}, change: keyChange(func(k *set.Key) { k.Algorithm = "ES256" }), exit: 1},
	{name: "key with alg Ed25519", rules: []string{"A51"}, change: keyChange(func(k *set.Key) { k.Algorithm = "Ed25519" }), exit: 0},
	{name: "pins match", rules: []string{"A3"}, policy: `{"pins":{"` + idp + `":["{t1}"],"` + hub + `":["{r1}"]}}`, exit: 0},
	{name: "pins miss", rules: []string{"A3"}, policy: `{"pins":{"` + idp + `":["{t1}"]}}`, exit: 4, level: LevelUndecided, code: "key_missing"},
	{name: "policy with an unknown member", rules: []string{"A2"}, policy: `{"pin":{}}`, exit: 3},
	{name: "policy that is no JSON", rules: []string{"A2"}, policy: `{`, exit: 3},
	{name: "policy with an unknown level", rules: []string{"A2"}, policy: `{"evidence":"certain"}`, exit: 3},
	{name: "now before the order", rules: []string{"A2", "A10"}, policy: `{"now":1789462700}`, exit: 0},
	{name: "now before the order, nothing accepted", rules: []string{"A10"}, policy: `{"now":1789462600}`, change: func(_ *testing.T, b *Bundle) {
		b.Orders[0].AcceptedAt, b.Receipts[0].AcceptedAt = 0, 0
	}, exit: 1, level: LevelInvalid, code: CodeBadTime},
	{name: "accepted before it was issued", rules: []string{"A10"}, change: func(_ *testing.T, b *Bundle) { b.Receipts[0].AcceptedAt = 1789462808 - 121 }, exit: 1, level: LevelInvalid, code: CodeBadTime},
	{name: "stream names another issuer", rules: []string{"A4"}, change: func(_ *testing.T, b *Bundle) { b.Streams[0].ReceiptIssuer = "https://x.example" }, exit: 1, level: LevelInvalid, code: CodeWrongIssuer},
	{name: "stream names another audience", rules: []string{"A4"}, change: func(_ *testing.T, b *Bundle) { b.Streams[0].ReceiptAudience = "https://x.example" }, exit: 1, level: LevelInvalid, code: CodeWrongAudience},
	{name: "policy streams win", rules: []string{"A4"}, change: func(_ *testing.T, b *Bundle) { b.Streams[0].ReceiptIssuer = "https://x.example" },
		policy: `{"streams":[{"iss":"` + idp + `","aud":"` + hub + `","receipt_issuer":"` + hub + `","receipt_audience":"` + idp + `"}]}`, exit: 0},
	{name: "no streams", rules: []string{"A4"}, change: func(_ *testing.T, b *Bundle) { b.Streams = nil }, exit: 0},
	{name: "policy wants proof of less", rules: []string{"A2", "A17"}, policy: `{"evidence":"assertion"}`, exit: 0},
	{name: "policy wants more than the order, and it is there", rules: []string{"A2", "A17"}, policy: `{"evidence":"committed"}`, change: func(t *testing.T, b *Bundle) {
		hrFile(t, b, "e4-order", "e4-interim", "e4-final")
	}, exit: 0},
	{name: "policy wants more than the order", rules: []string{"A2", "A17"}, policy: `{"evidence":"counted"}`, change: e5File, exit: 2, level: LevelShortfall, code: "evidence"},
	{name: "policy wants more than there is", rules: []string{"A2", "A17"}, policy: `{"evidence":"committed"}`, change: e5File, exit: 2, level: LevelShortfall, code: "evidence"},
	{name: "too large for the policy", rules: []string{"A42"}, policy: `{"max_receipt_bytes":100}`, exit: 1, level: LevelInvalid, code: CodeMalformed},
	{name: "policy requires logs", rules: []string{"A27", "B6"}, policy: `{"require_log":true}`, exit: 4, level: LevelUndecided, code: "log_proof"},
	{name: "proofs", rules: []string{"A27", "B6"}, change: func(_ *testing.T, b *Bundle) { b.Proofs = []Proof{{Issuer: hub, Kind: "receipt-sent"}} }, exit: 0, level: LevelNotChecked, code: "log_proof"},
	{name: "evidence nobody refers to", rules: []string{"A26"}, change: func(_ *testing.T, b *Bundle) {
		b.Evidence = []Document{NewDocument([]byte("seen"), "text/plain")}
	}, exit: 0, level: LevelNote, code: "evidence_unused"},
	{name: "evidence with another hash", rules: []string{"A26"}, change: func(_ *testing.T, b *Bundle) {
		d := NewDocument([]byte("seen"), "text/plain")
		d.Content = NewDocument([]byte("sees"), "").Content
		b.Evidence = []Document{d}
	}, exit: 1, level: LevelInvalid, code: "evidence_hash"},
	{name: "two orders with one jti", rules: []string{"A45"}, change: func(t *testing.T, b *Bundle) {
		other := bytes.Replace(example(t, "e1-order"), []byte("Impossible"), []byte("impossible"), 1)
		b.Orders = append(b.Orders, Entry{JWS: sign(t, testSigner(t, "t1"), other)})
	}, exit: 1, level: LevelInvalid, code: CodeOrderMismatch},
	{name: "one seq, two receipts", rules: []string{"A45"}, change: func(t *testing.T, b *Bundle) {
		other := bytes.Replace(example(t, "e1-receipt"), []byte("rcp-3F9T6B0C"), []byte("rcp-3F9T6B0D"), 1)
		b.Receipts = append(b.Receipts, Entry{JWS: sign(t, otherSigner(t, "r1"), other)})
	}, exit: 1, level: LevelInvalid, code: CodeSequenceConflict},
	{name: "one number on two orders", rules: []string{"A43"}, change: func(t *testing.T, b *Bundle) {
		other := bytes.Replace(example(t, "e2-receipt"), []byte("CS-8G4M1R3P"), []byte("CS-7F3K9Q2M"), 1)
		b.Orders = append(b.Orders, Entry{JWS: sign(t, testSigner(t, "t1"), example(t, "e2-order"))})
		b.Receipts = append(b.Receipts, Entry{JWS: sign(t, otherSigner(t, "r1"), other)})
	}, exit: 1, level: LevelInvalid, code: CodeSequenceConflict},
	{name: "a SET without directive among the orders", rules: []string{"A56"}, change: func(t *testing.T, b *Bundle) {
		b.Orders = append(b.Orders, Entry{JWS: sign(t, testSigner(t, "t1"), bytes.Replace(example(t, "e2-order"), []byte("/directive"), []byte("/dierctive"), 1))})
	}, exit: 1, level: LevelInvalid, code: CodeMalformed},
	{name: "an order without kid", rules: []string{"A51"}, change: func(t *testing.T, b *Bundle) {
		b.Orders[0].JWS, b.Receipts = withoutKid(t, example(t, "e1-order")), nil
	}, exit: 2},
	{name: "an order without kid, two keys", rules: []string{"A51"}, change: func(t *testing.T, b *Bundle) {
		b.Orders[0].JWS = withoutKid(t, example(t, "e1-order"))
		b.AddKeys(idp, testSigner(t, "t1").Public(), otherSigner(t, "t2").Public())
	}, exit: 1, level: LevelInvalid, code: CodeBadSignature},
	{name: "an order of another typ", rules: []string{"A9"}, change: func(t *testing.T, b *Bundle) {
		b.Orders[0].JWS = underHeader(t, `{"alg":"EdDSA","typ":"application/secevent+jwt","kid":"t1"}`, example(t, "e1-order"))
	}, exit: 1, level: LevelInvalid, code: CodeMalformed},
	{name: "an order with crit in the header", rules: []string{"A51"}, change: func(t *testing.T, b *Bundle) {
		b.Orders[0].JWS = underHeader(t, `{"alg":"EdDSA","typ":"secevent+jwt","kid":"t1","crit":["exp"]}`, example(t, "e1-order"))
	}, exit: 1, level: LevelInvalid, code: CodeMalformed},
	{name: "another outcome", rules: []string{"A5"}, change: func(t *testing.T, b *Bundle) { chainFile(t, b, "e2-order", "e2-receipt") }, exit: 2, level: LevelShortfall, code: "outcome"},
	{name: "a gap", rules: []string{"A58", "A44"}, change: func(t *testing.T, b *Bundle) { chainFile(t, b, "e3-order", "e3-receipt") }, exit: 2, level: LevelNote, code: "gap"},
	{name: "interim only", rules: []string{"A5"}, change: func(t *testing.T, b *Bundle) { hrFile(t, b, "e4-order", "e4-interim") }, exit: 2, level: LevelShortfall, code: "outcome"},
	{name: "interim and final, final first", rules: []string{"A1", "A45"}, change: func(t *testing.T, b *Bundle) { hrFile(t, b, "e4-order", "e4-final", "e4-interim") }, exit: 0},
	{name: "interim left out", rules: []string{"A58"}, change: func(t *testing.T, b *Bundle) { hrFile(t, b, "e4-order", "e4-final") }, exit: 0, level: LevelNote, code: "gap"},
	{name: "late", rules: []string{"A11"}, change: func(t *testing.T, b *Bundle) {
		hrFile(t, b, "e4-order", "e4-final") // its first receipt in the file comes after interim_by
	}, exit: 0, level: LevelNote, code: "late"},
}

func keyChange(change func(*set.Key)) func(*testing.T, *Bundle) {
	return func(t *testing.T, b *Bundle) {
		k := otherSigner(t, "r1").Public()
		change(&k)
		b.AddKeys(hub, k)
	}
}

// chainFile replaces the content by other examples of the identity provider.
func chainFile(t *testing.T, b *Bundle, order string, receipts ...string) {
	t.Helper()
	b.Orders = []Entry{{JWS: sign(t, testSigner(t, "t1"), example(t, order))}}
	b.Receipts = nil
	for _, name := range receipts {
		b.Receipts = append(b.Receipts, Entry{JWS: sign(t, otherSigner(t, "r1"), example(t, name))})
	}
}

// hrFile is chainFile for the examples whose order comes from the HR system.
func hrFile(t *testing.T, b *Bundle, order string, receipts ...string) {
	t.Helper()
	chainFile(t, b, order, receipts...)
	b.AddKeys("https://hr.example.com", testSigner(t, "t1").Public())
}

func e5File(t *testing.T, b *Bundle) { hrFile(t, b, "e5-order", "e5-receipt") }

func TestVerifyCases(t *testing.T) {
	for _, c := range verifyCases {
		t.Run(c.name, func(t *testing.T) {
			b := evidenceFile(t)
			if c.change != nil {
				c.change(t, b)
			}
			policy := strings.NewReplacer("{t1}", testSigner(t, "t1").Public().Thumbprint(), "{r1}", otherSigner(t, "r1").Public().Thumbprint()).Replace(c.policy)
			r := verifyBundle(t, b, policy)
			if r.Exit != c.exit {
				t.Errorf("exit %d, want %d\n%s", r.Exit, c.exit, r.Text())
			}
			if c.code != "" && !slices.Contains(codes(r, c.level), c.code) {
				t.Errorf("no finding %s of level %s\n%s", c.code, c.level, r.Text())
			}
			req.Covers(t, c.rules...)
		})
	}
}

func TestParseBundleForm(t *testing.T) {
	req.Covers(t, "A1", "A7")
	for _, text := range []string{
		``, `[]`, `{"version":2,"orders":[],"receipts":[],"jwks":{}}`, `{"version":1.0,"orders":[],"receipts":[],"jwks":{}}`,
		`{"version":1,"orders":[],"receipts":[]}`, `{"version":1,"orders":{},"receipts":[],"jwks":{}}`,
		`{"version":1,"orders":[{}],"receipts":[],"jwks":{}}`, `{"version":1,"orders":[1],"receipts":[],"jwks":{}}`,
		`{"version":1,"version":1,"orders":[],"receipts":[],"jwks":{}}`, `{"version":1,"orders":[],"receipts":[],"jwks":{"i":{}}}`,
		`{"version":1,"orders":[{"jws":"a","accepted_at":"b"}],"receipts":[],"jwks":{}}`,
		`{"version":1,"orders":[],"receipts":[],"jwks":{}} x`,
		`{"version":1,"orders":[],"receipts":[],"jwks":{},"acme":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`,
	} {
		if _, err := ParseBundle([]byte(text)); err == nil {
			t.Errorf("taken: %s", text)
		}
		if r := Verify([]byte(text), nil, verifyTime); r.Exit != ExitInvalid {
			t.Errorf("exit %d for %s", r.Exit, text)
		}
	}
	deep := `{"version":1,"orders":[],"receipts":["a",{"jws":"b","accepted_at":5}],"jwks":{},"acme":` + strings.Repeat("[", 15) + strings.Repeat("]", 15) + `}`
	b, err := ParseBundle([]byte(deep))
	if err != nil || !slices.Equal(b.Receipts, []Entry{{JWS: "a"}, {JWS: "b", AcceptedAt: 5}}) {
		t.Errorf("%+v, %v", b, err)
	}
}
