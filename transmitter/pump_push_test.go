package transmitter_test

import (
	"crypto"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/req"
	"countersign/set"
	"countersign/ssftest"
	"countersign/transmitter"
)

func TestPushIsWhatTheStandardsSay(t *testing.T) {
	r := ssftest.NewReceiver(t)
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Transport = r.Transport()
	x := newTransmitter(t, cfg)
	id := create(t, x, "token-a", createBody(r.URL))
	running(t, x)
	m := message("alice")
	m.TXN, m.TimeOfEvent = "txn-1", 1_699_999_999
	sent := mustSend(t, x, m)
	if len(sent.Queued) != 1 || sent.Queued[0].StreamID != id || sent.TXN != "txn-1" {
		t.Fatalf("sent: %+v", sent)
	}
	p := r.Wait(t, 1)[0]
	if p.Method != "POST" || p.Header.Get("Content-Type") != "application/secevent+jwt" || p.Header.Get("Accept") != "application/json" {
		t.Errorf("%s %v", p.Method, p.Header)
	}
	if p.Header.Get("Authorization") != "Bearer push-secret" || p.Header["Idempotency-Key"] != nil {
		t.Errorf("headers %v", p.Header)
	}
	req.Covers(t, "TX-161", "TX-163", "P-19", "P-79")

	token, err := set.Verify(t.Context(), p.Token, &set.Policy{Issuer: issuer, Audience: []string{"https://ssf.example/t/blue/streams/" + id},
		Algorithms: []set.Algorithm{set.ES256}, Keys: set.StaticKeys{ssftest.Signer(set.ES256, "es-1").Public()}, ExactType: true, RequireKeyID: true})
	if err != nil {
		t.Fatal(err)
	}
	c := token.Claims()
	if c.ID != sent.Queued[0].JTI || c.IssuedAt != sent.Queued[0].IssuedAt || c.TXN != "txn-1" || c.TimeOfEvent != 1_699_999_999 || len(c.Events) != 1 {
		t.Errorf("claims %+v", c)
	}
	if c.IssuedAt > time.Now().Unix() {
		t.Error("iat is in the future")
	}
	var claims map[string]json.RawMessage
	if err := json.Unmarshal(token.Payload(), &claims); err != nil {
		t.Fatal(err)
	}
	if claims["sub"] != nil || claims["exp"] != nil || string(claims["sub_id"]) != `{"format":"email","email":"alice@example.com"}` ||
		string(claims["events"]) != `{"`+sessionRevoked+`":{"event_timestamp":1700000000,"reason_admin":{"en":"test"}}}` {
		t.Errorf("payload %s", token.Payload())
	}
	req.Covers(t, "TX-140", "TX-141", "TX-142", "TX-143", "TX-144", "TX-145", "TX-148", "TX-150", "TX-151", "TX-152", "TX-154", "TX-158", "TX-159", "IOP-31", "P-38", "P-39", "P-51")
	eventually(t, "the row is gone", func() bool { return store.CountsOf(id) == transmitter.Counts{Delivered: 1} })
	req.Covers(t, "TX-103", "TX-166")
}

func TestNoAuthorizationWhereNoneIsConfigured(t *testing.T) {
	r := ssftest.NewReceiver(t)
	x, _, _ := push(t, r, nil)
	mustSend(t, x, message("alice"))
	if p := r.Wait(t, 1)[0]; p.Header["Authorization"] != nil {
		t.Errorf("Authorization %q", p.Header["Authorization"])
	}
	req.Covers(t, "TX-164", "P-20")
}

func TestVerificationIsDelivered(t *testing.T) {
	r := ssftest.NewReceiver(t)
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Transport = r.Transport()
	x := newTransmitter(t, cfg)
	id := create(t, x, "token-a", createBody(r.URL))
	running(t, x)
	for _, body := range []string{`{"stream_id":"` + id + `","state":"a \"b\" ü"}`, `{"stream_id":"` + id + `"}`} {
		if a := do(x, call{method: "POST", path: "/t/blue/ssf/verify", token: "token-a", body: body}); a.StatusCode != 204 {
			t.Fatal(a.StatusCode)
		}
	}
	const typ = "https://schemas.openid.net/secevent/ssf/event-type/verification"
	var events []string
	for _, p := range r.Wait(t, 2) {
		c := p.Set.Claims()
		if string(c.SubID) != `{"format":"opaque","id":"`+id+`"}` || c.Events[0].Type != typ {
			t.Errorf("claims %+v", c)
		}
		events = append(events, string(c.Events[0].Payload))
	}
	if !slices.Equal(events, []string{`{"state":"a \"b\" ü"}`, `{}`}) {
		t.Errorf("events %q", events)
	}
	req.Covers(t, "TX-124", "TX-126", "TX-127", "TX-128", "TX-129", "TX-131", "TX-132", "TX-134", "IOP-11", "IOP-18", "P-68", "P-71", "P-74")
}

func TestARepeatHasTheSameSigningInput(t *testing.T) {
	r := ssftest.NewReceiver(t)
	r.Answer(ssftest.Answer{Status: 500})
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Transport = r.Transport()
	cfg.Signers = []*set.Signer{ssftest.Signer(set.RS256, "rs-1")}
	x := newTransmitter(t, cfg)
	putStream(t, store, "s1", r.URL)
	stop := running(t, x)
	mustSend(t, x, message("alice"))
	r.Wait(t, 1)
	stop()

	// Another life, with a new default key: the row still names the old one.
	if err := store.Backoff(t.Context(), 1, transmitter.Trouble{}); err != nil {
		t.Fatal(err)
	}
	cfg.Signers = []*set.Signer{ssftest.Signer(set.RS256, "rs-2"), ssftest.Signer(set.RS256, "rs-1")}
	running(t, newTransmitter(t, cfg))
	got := r.Wait(t, 2)
	if got[0].Token != got[1].Token {
		t.Errorf("the repeat differs:\n%s\n%s", got[0].Token, got[1].Token)
	}
	req.Covers(t, "TX-30", "TX-157", "P-41", "P-44", "P-82")
}

func TestTriesAreReported(t *testing.T) {
	r := ssftest.NewReceiver(t)
	tries := make(chan transmitter.Try, 1)
	x, _, _ := push(t, r, func(c *transmitter.Config) { c.Delivered = func(d transmitter.Try) { tries <- d } })
	sent := mustSend(t, x, message("alice"))
	d := <-tries
	if d.StreamID != "s1" || d.Receiver != "a" || d.Type != sessionRevoked || d.JTI != sent.Queued[0].JTI || d.Status != 202 || d.Reason != "" || d.Dead {
		t.Errorf("%+v", d)
	}
}

// countingKey counts how many signatures are made at once.
type countingKey struct {
	crypto.Signer
	now, most atomic.Int64
}

func (k *countingKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	now := k.now.Add(1)
	for most := k.most.Load(); now > most && !k.most.CompareAndSwap(most, now); most = k.most.Load() {
	}
	time.Sleep(time.Millisecond)
	defer k.now.Add(-1)
	return k.Signer.Sign(rand, digest, opts)
}

func TestSignaturesAtOnce(t *testing.T) {
	r := ssftest.NewReceiver(t)
	key := &countingKey{Signer: ssftest.Key(set.ES256, "counted")}
	signer, err := set.NewSigner(set.ES256, "counted", key)
	if err != nil {
		t.Fatal(err)
	}
	x, store, st := push(t, r, func(c *transmitter.Config) { c.Window, c.Signers = 32, []*set.Signer{signer} })
	for i := range 100 {
		mustSend(t, x, message(fmt.Sprintf("u%d", i)))
	}
	eventually(t, "all delivered", func() bool { return count(t, store, st).Delivered == 100 })
	if most := key.most.Load(); most > int64(runtime.GOMAXPROCS(0)) {
		t.Errorf("%d signatures at once", most)
	}
}
