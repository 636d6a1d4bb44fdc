package transmitter_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/req"
	"countersign/set"
	"countersign/ssftest"
	"countersign/transmitter"
)

const pollBody = `{"events_requested":["` + sessionRevoked + `","` + credentialChange + `"]}`

// polled is an answer to a poll.
type polled struct {
	Status int
	Sets   map[string]string
	More   *bool
	Text   string
}

// order gives the jtis in the order of the text.
func (p polled) order() []string {
	jtis := make([]string, 0, len(p.Sets))
	for jti := range p.Sets {
		jtis = append(jtis, jti)
	}
	slices.SortFunc(jtis, func(a, b string) int { return strings.Index(p.Text, a) - strings.Index(p.Text, b) })
	return jtis
}

func poll(t testing.TB, h http.Handler, token, id, body string) polled {
	t.Helper()
	r := do(h, call{method: "POST", path: "/t/blue/ssf/streams/" + id + "/poll", token: token, body: body})
	p := polled{Status: r.StatusCode, Text: text(t, r)}
	if r.StatusCode != 200 {
		return p
	}
	if r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers of a poll: %v", r.Header)
	}
	var in struct {
		Sets map[string]string `json:"sets"`
		More *bool             `json:"moreAvailable"`
	}
	if err := json.Unmarshal([]byte(p.Text), &in); err != nil {
		t.Fatalf("%s: %v", p.Text, err)
	}
	if in.Sets == nil {
		t.Errorf("no sets: %s", p.Text)
	}
	p.Sets, p.More = in.Sets, in.More
	return p
}

// sendN sends n events and gives their jtis.
func sendN(t testing.TB, x *transmitter.Transmitter, n int) []string {
	t.Helper()
	var jtis []string
	for i := range n {
		sent := mustSend(t, x, message(fmt.Sprintf("person%d", i)))
		if len(sent.Queued) != 1 {
			t.Fatalf("%d queued", len(sent.Queued))
		}
		jtis = append(jtis, sent.Queued[0].JTI)
	}
	return jtis
}

func ackOf(jtis ...string) string {
	b, _ := json.Marshal(jtis)
	return `"ack":` + string(b)
}

const at = `"returnImmediately":true`

func TestPollCreate(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	for _, body := range []string{`{}`, `{"delivery":{"method":"urn:ietf:rfc:8936"}}`, `{"delivery":{"method":"urn:ietf:rfc:8936","endpoint_url":""}}`} {
		id := create(t, x, "token-a", body)
		want := `"delivery":{"method":"urn:ietf:rfc:8936","endpoint_url":"https://ssf.example/t/blue/ssf/streams/` + id + `/poll"}`
		if got := text(t, do(x, call{method: "GET", path: "/t/blue/ssf/streams?stream_id=" + id, token: "token-a"})); !strings.Contains(got, want) {
			t.Errorf("%s: %s", body, got)
		}
	}
	req.Covers(t, "TX-59", "TX-60", "TX-61", "TX-62", "IOP-7", "IOP-13", "IOP-14", "IOP-15", "IOP-16", "P-23")
}

func TestPollEmpty(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	id := create(t, x, "token-a", pollBody)
	if p := poll(t, x, "token-a", id, `{`+at+`}`); p.Text != `{"sets":{}}` {
		t.Errorf("%s", p.Text)
	}
	req.Covers(t, "TX-175", "TX-180", "TX-181", "P-99")
	// What a widely used client adds does no harm.
	if p := poll(t, x, "read-a", id, `{`+at+`,"stream_id":"x","max_events":1,"ack":null,"setErrs":null}`); p.Text != `{"sets":{}}` {
		t.Errorf("%d %s", p.Status, p.Text)
	}
	req.Covers(t, "TX-192", "IOP-37", "P-87")
}

func TestPollAndAck(t *testing.T) {
	store := new(transmitter.Memory)
	var told []transmitter.Try
	cfg := newConfig(store)
	cfg.Delivered = func(try transmitter.Try) { told = append(told, try) }
	x := newTransmitter(t, cfg)
	id := create(t, x, "token-a", pollBody)
	st, _ := store.Stream(t.Context(), "a", id)
	jtis := sendN(t, x, 10)

	first := poll(t, x, "token-a", id, `{`+at+`,"maxEvents":3}`)
	if len(first.Sets) != 3 || first.More == nil || !*first.More || !slices.Equal(first.order(), jtis[:3]) {
		t.Fatalf("10 wait, 3 are asked for: %s", first.Text)
	}
	req.Covers(t, "TX-178", "TX-191")
	if again := poll(t, x, "token-a", id, `{`+at+`,"maxEvents":3}`); again.Text != first.Text {
		t.Errorf("offered again with other bytes:\n%s\n%s", first.Text, again.Text)
	}
	req.Covers(t, "TX-183", "TX-188", "TX-157")
	keys := set.StaticKeys{ssftest.Signer(set.ES256, "es-1").Public()}
	for _, token := range first.Sets {
		if _, err := set.Verify(t.Context(), token, &set.Policy{Issuer: issuer, Audience: st.Audience, Algorithms: []set.Algorithm{set.ES256}, Keys: keys}); err != nil {
			t.Errorf("a polled SET does not verify: %v", err)
		}
	}
	// Acknowledged before SETs are chosen, and unknown ones are nothing.
	next := poll(t, x, "token-a", id, `{`+at+`,"maxEvents":3,`+ackOf(append(jtis[:3:3], "unknown", jtis[0])...)+`}`)
	if !slices.Equal(next.order(), jtis[3:6]) || count(t, store, st).Delivered != 3 {
		t.Errorf("after acks: %s", next.Text)
	}
	req.Covers(t, "TX-182", "TX-186", "TX-187", "P-92", "P-93")
	if p := poll(t, x, "token-a", id, `{"maxEvents":0,`+ackOf(jtis[3:5]...)+`}`); p.Text != `{"sets":{},"moreAvailable":true}` {
		t.Errorf("acknowledge only, and at once: %s", p.Text)
	}
	req.Covers(t, "TX-184", "P-86")
	p := poll(t, x, "token-a", id, `{`+at+`,"setErrs":{"`+jtis[5]+`":{"err":"invalid_key","description":"no such kid"},"unknown":{"err":"x"}}}`)
	if !slices.Equal(p.order(), jtis[6:]) || p.More != nil {
		t.Errorf("after a refusal: %s", p.Text)
	}
	dead, _ := store.Dead(t.Context(), st.Key, 10)
	if len(dead) != 1 || dead[0].Item.JTI != jtis[5] || !strings.Contains(dead[0].Reason, "invalid_key") || !strings.Contains(dead[0].Reason, "no such kid") {
		t.Errorf("set aside: %+v", dead)
	}
	if p := poll(t, x, "token-a", id, `{`+at+`,`+ackOf(jtis...)+`}`); p.Text != `{"sets":{}}` {
		t.Errorf("all acknowledged: %s", p.Text)
	}
	var taken, refused int
	for _, try := range told {
		if try.Dead {
			refused++
		} else {
			taken++
		}
	}
	if taken+refused < 6 || refused != 1 {
		t.Errorf("%d taken, %d refused were told", taken, refused)
	}
}

func TestPollSameBytes(t *testing.T) {
	for _, alg := range []set.Algorithm{set.ES256, set.EdDSA, set.RS256, set.PS256} {
		cfg := newConfig(new(transmitter.Memory))
		cfg.Signers = []*set.Signer{ssftest.Signer(alg, "k")}
		x := newTransmitter(t, cfg)
		id := create(t, x, "token-a", pollBody)
		sendN(t, x, 3)
		one, two := poll(t, x, "token-a", id, `{`+at+`}`), poll(t, x, "token-a", id, `{`+at+`}`)
		if len(one.Sets) != 3 || one.Text != two.Text {
			t.Errorf("%s: the same SETs have other bytes", alg)
		}
	}
	req.Covers(t, "TX-157", "TX-188")
}

func TestPollSize(t *testing.T) {
	cfg := newConfig(new(transmitter.Memory))
	cfg.PollMax = 5
	x := newTransmitter(t, cfg)
	id := create(t, x, "token-a", pollBody)
	jtis := sendN(t, x, 7)
	for _, body := range []string{`{` + at + `}`, `{` + at + `,"maxEvents":99999999999999999999999}`} {
		if p := poll(t, x, "token-a", id, body); !slices.Equal(p.order(), jtis[:5]) || p.More == nil {
			t.Errorf("%s", p.Text)
		}
	}
	req.Covers(t, "TX-191")
	// Octets are bounded, too.
	cfg = newConfig(new(transmitter.Memory))
	x = newTransmitter(t, cfg)
	id = create(t, x, "token-a", pollBody)
	for i := range 12 {
		m := message(fmt.Sprintf("p%d", i))
		m.Payload = json.RawMessage(`{"event_timestamp":1,"reason_admin":{"en":"` + strings.Repeat("x", 100_000) + `"}}`)
		mustSend(t, x, m)
	}
	p := poll(t, x, "token-a", id, `{`+at+`}`)
	if len(p.Text) > 1<<20+1<<18 || len(p.Sets) < 5 || len(p.Sets) == 12 || p.More == nil {
		t.Errorf("%d SETs in %d octets", len(p.Sets), len(p.Text))
	}
}

func TestPollOrder(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	id := create(t, x, "token-a", pollBody)
	var jtis []string
	for range 5 {
		jtis = append(jtis, mustSend(t, x, message("alice")).Queued[0].JTI)
	}
	var got []string
	ack := ""
	for range 5 {
		p := poll(t, x, "token-a", id, `{`+at+`,"maxEvents":1`+ack+`}`)
		got = append(got, p.order()...)
		ack = "," + ackOf(p.order()...)
	}
	if !slices.Equal(got, jtis) {
		t.Errorf("%v, want %v", got, jtis)
	}
	req.Covers(t, "TX-105", "TX-191")
}

// held starts a poll that may be held, and gives its answer.
func held(t *testing.T, h http.Handler, id, body string) <-chan polled {
	out := make(chan polled, 1)
	go func() { out <- poll(t, h, "token-a", id, body) }()
	return out
}

func mustWait(t *testing.T, p <-chan polled) {
	t.Helper()
	synctest.Wait()
	select {
	case got := <-p:
		t.Fatalf("answered at once: %+v", got)
	default:
	}
}

func TestPollIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTransmitter(t, newConfig(new(transmitter.Memory)))
		stop := running(t, x)
		id := create(t, x, "token-a", pollBody)

		begun := time.Now()
		p := <-held(t, x, id, `{}`)
		if took := time.Since(begun); took != 30*time.Second || p.Text != `{"sets":{}}` {
			t.Errorf("nothing came: %s after %v", p.Text, took)
		}
		req.Covers(t, "TX-177", "TX-179", "TX-190", "P-98")

		waiting := held(t, x, id, `{}`)
		time.Sleep(7 * time.Second)
		mustWait(t, waiting)
		begun = time.Now()
		jti := sendN(t, x, 1)[0]
		if p = <-waiting; p.Sets[jti] == "" || time.Since(begun) > time.Second {
			t.Errorf("%s after %v", p.Text, time.Since(begun))
		}
		// Not acknowledged, it is offered again, but not in a circle.
		begun = time.Now()
		if p = <-held(t, x, id, `{}`); p.Sets[jti] == "" || time.Since(begun) != 5*time.Second {
			t.Errorf("offered again: %s after %v", p.Text, time.Since(begun))
		}
		waiting = held(t, x, id, `{}`)
		mustWait(t, waiting)
		other := mustSend(t, x, message("other")).Queued[0].JTI
		if p = <-waiting; p.Sets[jti] == "" || p.Sets[other] == "" {
			t.Errorf("something new came: %s", p.Text)
		}
		req.Covers(t, "TX-189", "P-94")
		// An acknowledgement waits for what is next, and ends with the transmitter.
		waiting = held(t, x, id, `{`+ackOf(jti, other)+`}`)
		mustWait(t, waiting)
		begun = time.Now()
		stop()
		if p = <-waiting; p.Text != `{"sets":{}}` || time.Since(begun) > 100*time.Millisecond {
			t.Errorf("shutdown: %s after %v", p.Text, time.Since(begun))
		}
		if p = poll(t, x, "token-a", id, `{}`); p.Text != `{"sets":{}}` {
			t.Errorf("after shutdown: %s", p.Text)
		}
	})
}

func TestPollIsHeldAndTheStreamStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		x := newTransmitter(t, newConfig(store))
		defer running(t, x)()
		id := create(t, x, "token-a", pollBody)
		setStatus := func(status string) {
			if r := do(x, call{method: "POST", path: "/t/blue/ssf/status", token: "token-a", body: `{"stream_id":"` + id + `","status":"` + status + `"}`}); r.StatusCode != 200 {
				t.Fatal(r.StatusCode)
			}
		}
		waiting := held(t, x, id, `{}`)
		mustWait(t, waiting)
		begun := time.Now()
		setStatus("paused")
		if p := <-waiting; p.Text != `{"sets":{}}` || time.Since(begun) > time.Second {
			t.Errorf("paused: %s after %v", p.Text, time.Since(begun))
		}
		req.Covers(t, "TX-190")
		jti := sendN(t, x, 1)[0] // held by the stream
		begun = time.Now()
		if p := <-held(t, x, id, `{}`); p.Text != `{"sets":{}}` || time.Since(begun) != 5*time.Second {
			t.Errorf("polled while paused: %s after %v", p.Text, time.Since(begun))
		}
		if p := poll(t, x, "token-a", id, `{`+at+`}`); p.Text != `{"sets":{}}` {
			t.Errorf("polled at once while paused: %s", p.Text)
		}
		waiting = held(t, x, id, `{}`)
		mustWait(t, waiting)
		setStatus("enabled")
		if p := <-waiting; p.Sets[jti] == "" {
			t.Errorf("what was held is given: %s", p.Text)
		}
		// Acks are taken while it is paused.
		setStatus("paused")
		if p := poll(t, x, "token-a", id, `{`+at+`,`+ackOf(jti)+`}`); p.Text != `{"sets":{}}` || store.CountsOf(id).Delivered != 1 {
			t.Errorf("acks while paused: %s", p.Text)
		}
		req.Covers(t, "TX-103", "TX-104", "TX-110", "P-95", "P-33")
		setStatus("enabled")
		sendN(t, x, 2)
		setStatus("disabled")
		if n := store.CountsOf(id).Waiting; n != 0 {
			t.Errorf("%d wait on a disabled stream", n)
		}
		if p := poll(t, x, "token-a", id, `{`+at+`}`); p.Text != `{"sets":{}}` {
			t.Errorf("disabled: %s", p.Text)
		}
		mustSend(t, x, message("meanwhile"))
		setStatus("enabled")
		if p := poll(t, x, "token-a", id, `{`+at+`}`); p.Text != `{"sets":{}}` {
			t.Errorf("what happened while it was disabled comes after: %s", p.Text)
		}
		req.Covers(t, "TX-106", "TX-109")

		waiting = held(t, x, id, `{}`)
		mustWait(t, waiting)
		if r := do(x, call{method: "DELETE", path: "/t/blue/ssf/streams?stream_id=" + id, token: "token-a"}); r.StatusCode != 204 {
			t.Fatal(r.StatusCode)
		}
		if p := <-waiting; p.Status != 404 {
			t.Errorf("deleted: %d %s", p.Status, p.Text)
		}
		req.Covers(t, "TX-95")
	})
}

func TestPollsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTransmitter(t, newConfig(new(transmitter.Memory)))
		defer running(t, x)()
		id := create(t, x, "token-a", pollBody)
		one, two := held(t, x, id, `{}`), held(t, x, id, `{}`)
		mustWait(t, one)
		mustWait(t, two)
		if p := poll(t, x, "token-a", id, `{}`); p.Status != 429 {
			t.Errorf("a third poll: %d %s", p.Status, p.Text)
		}
		if p := poll(t, x, "token-a", id, `{`+at+`}`); p.Status != 200 {
			t.Errorf("a third poll that is not held: %d", p.Status)
		}
		jti := sendN(t, x, 1)[0]
		if a, b := <-one, <-two; a.Sets[jti] == "" || b.Text != a.Text && b.Text != `{"sets":{}}` {
			t.Errorf("%s and %s", a.Text, b.Text)
		}
	})
}

// A token that was revoked while its poll was held gets nothing any more.
func TestPollRevokedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := newConfig(new(transmitter.Memory))
		var mu sync.Mutex
		revoked, resumed := false, 0
		known := cfg.Caller
		cfg.Caller = func(r *http.Request) (transmitter.Caller, error) {
			mu.Lock()
			defer mu.Unlock()
			if revoked {
				return transmitter.Caller{}, transmitter.ErrBadCredentials
			}
			return known(r)
		}
		cfg.Held = func(*http.Request) func() { resumed--; return func() { resumed++ } }
		x := newTransmitter(t, cfg)
		defer running(t, x)()
		id := create(t, x, "token-a", pollBody)
		waiting := held(t, x, id, `{}`)
		mustWait(t, waiting)
		if resumed != -1 {
			t.Errorf("Held was called %d times", -resumed)
		}
		mu.Lock()
		revoked = true
		mu.Unlock()
		sendN(t, x, 1)
		if p := <-waiting; p.Status != 401 {
			t.Errorf("%d %s", p.Status, p.Text)
		}
		if resumed != 0 {
			t.Errorf("resumed %d times too few", -resumed)
		}
	})
}

// Rows are neither lost nor stuck when a stream goes from push to poll and back.
func TestPushToPollAndBack(t *testing.T) {
	r := ssftest.NewReceiver(t)
	r.Always(ssftest.Answer{Status: 503})
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Transport = r.Transport()
	x := newTransmitter(t, cfg)
	running(t, x)
	id := create(t, x, "token-a", createBody(r.URL))
	jtis := sendN(t, x, 5)
	r.Wait(t, 1)
	patch := func(delivery string) {
		t.Helper()
		answer := do(x, call{method: "PATCH", path: "/t/blue/ssf/streams", token: "token-a", body: `{"stream_id":"` + id + `","delivery":` + delivery + `}`})
		if body := text(t, answer); answer.StatusCode != 200 || !strings.Contains(body, `"endpoint_url":"http`) {
			t.Fatalf("%d %s", answer.StatusCode, body)
		}
	}
	patch(`{"method":"urn:ietf:rfc:8936"}`)
	if st, _ := store.Stream(t.Context(), "a", id); st.Authorization != "" || st.Endpoint != "" {
		t.Error("what push needed is kept")
	}
	p := poll(t, x, "token-a", id, `{`+at+`}`)
	if !slices.Equal(p.order(), jtis) {
		t.Fatalf("%s", p.Text)
	}
	poll(t, x, "token-a", id, `{"maxEvents":0,`+ackOf(jtis[:2]...)+`}`)
	r.Always(ssftest.Answer{Status: 202})
	patch(`{"method":"urn:ietf:rfc:8935","endpoint_url":"` + r.URL + `"}`)
	eventually(t, "the rest is pushed", func() bool { return store.CountsOf(id).Waiting == 0 })
	if c := store.CountsOf(id); c.Delivered != 5 {
		t.Errorf("%+v", c)
	}
	if p := poll(t, x, "token-a", id, `{`+at+`}`); p.Status != 400 {
		t.Errorf("a pushed stream is polled: %d %s", p.Status, p.Text)
	}
}

func TestManyAcks(t *testing.T) {
	store := new(transmitter.Memory)
	x := newTransmitter(t, newConfig(store))
	id := create(t, x, "token-a", pollBody)
	jtis := sendN(t, x, 3)
	acks := make([]string, 100_000)
	for i := range acks {
		acks[i] = set.NewID()
	}
	copy(acks[50_000:], jtis)
	if p := poll(t, x, "token-a", id, `{`+at+`,`+ackOf(acks...)+`}`); p.Text != `{"sets":{}}` || store.CountsOf(id).Delivered != 3 {
		t.Errorf("%d %.200s", p.Status, p.Text)
	}
	r := do(x, call{method: "POST", path: "/t/blue/ssf/streams/" + id + "/poll", token: "token-a", body: `{"ack":["` + strings.Repeat("x", 17<<20) + `"]}`})
	if r.StatusCode != 413 {
		t.Errorf("a body beyond the limit: %d", r.StatusCode)
	}
	req.Covers(t, "P-128")
}
