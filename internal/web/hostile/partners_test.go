package hostile

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/risc"
	"countersign/event/scim"
	"countersign/event/ssf"
	"countersign/internal/flow/ingest"
	"countersign/internal/hub"
	"countersign/internal/partner"
	"countersign/internal/store"
	"countersign/receipt"
	"countersign/receiver"
	"countersign/set"
	"countersign/stream"
	"countersign/transmitter"
)

// hostileToken is a token and what the strict door says to it.
type hostileToken struct {
	name   string
	token  string
	source ingest.Source
}

// TestHostileTokensByPartner gives every hostile token to a source of each partner profile, pushed and polled. A profile lets
// nothing pass but what is strictly right, or needs quirks that are all its own; and both doors say the same.
func TestHostileTokensByPartner(t *testing.T) {
	tokens := append(vectorTokens(t), caseTokens(t)...)
	if len(tokens) < 200 {
		t.Fatalf("%d tokens, there should be more", len(tokens))
	}
	profiles := partner.All()
	if len(profiles) < 10 {
		t.Fatalf("%d profiles", len(profiles))
	}
	for _, tok := range tokens {
		strict, reason := give(t, tok, receiver.Quirks{}, ingest.Push)
		var needs []string
		if q, ok := errors.AsType[*receiver.QuirkError](reason); ok {
			needs = q.IDs
		}
		for _, p := range profiles {
			quirks := p.Quirks()
			got, _ := give(t, tok, quirks, ingest.Push)
			excused := len(needs) > 0 && !slices.ContainsFunc(needs, func(id string) bool { return !quirks.Has(id) })
			if got == "" && strict != "" && !excused {
				t.Errorf("%s: the profile %s lets it pass; strict says %s, and it needs %q", tok.name, p.Name, strict, needs)
			}
			if polled, _ := give(t, tok, quirks, ingest.Poll); polled != got {
				t.Errorf("%s: the profile %s says %q where it is pushed, %q where it is polled", tok.name, p.Name, got, polled)
			}
		}
	}
}

// give judges a token in a door of its own: the error code, empty where it is taken, and the reason.
func give(t *testing.T, tok hostileToken, quirks receiver.Quirks, way string) (code string, reason error) {
	t.Helper()
	taken := 0
	d := ingest.New(ingest.Config{Store: nowhere{}, Counted: func(string, string) { taken++ },
		Verified: func(context.Context, string, string, string, bool) error { taken++; return nil },
		Updated:  func(context.Context, string, string, string, string) error { taken++; return nil }, Registry: everyType, Log: slog.New(slog.DiscardHandler), Taken: func(*hub.Signal, *hub.Job) {},
		Now:  func() time.Time { return time.Unix(clock, 0) },
		Cure: func(_, _ string, err error) (string, string) { reason = err; return "", "" }})
	src := tok.source
	src.Door, src.Quirks = way, quirks
	d.Find = func(string) *ingest.Source { return &src }
	d.Prepare(&src)
	if way == ingest.Poll {
		err := d.Take(t.Context(), &src, tok.token)
		var wire stream.WireError
		switch {
		case err == nil:
		case errors.As(err, &wire):
			code = wire.Err
		default:
			code = "later"
		}
	} else {
		r := httptest.NewRequest("POST", "/receive/x", strings.NewReader(tok.token))
		r.Header.Set("Content-Type", receiver.MediaType)
		w := httptest.NewRecorder()
		d.Receive(w, r, "x")
		if w.Code != http.StatusAccepted {
			_, rest, _ := strings.Cut(w.Body.String(), `"err":"`)
			code, _, _ = strings.Cut(rest, `"`)
			if code == "" {
				t.Errorf("%s: %d %s", tok.name, w.Code, w.Body)
			}
		}
	}
	if (code == "") != (taken == 1) {
		t.Errorf("%s: %q, and %d taken", tok.name, code, taken)
	}
	return code, reason
}

var everyType = event.NewRegistry(caep.Vocabulary(), risc.Vocabulary(), ssf.Vocabulary(), scim.Vocabulary())

// nowhere keeps nothing.
type nowhere struct{}

func (nowhere) Keep(context.Context, *hub.Signal, string, *transmitter.Outgoing, *store.Idempotency) (store.Kept, error) {
	return store.Kept{}, nil
}
func (nowhere) SendAgain(context.Context, int64, hub.Micros) (*hub.Job, error) { return nil, nil }
func (nowhere) OrderWithdrawn(context.Context, string, string, string, string, hub.Micros) (int64, error) {
	return 0, hub.Errorf(hub.NotFound, "none")
}

// vectorTokens are the token files of package set.
func vectorTokens(t *testing.T) (out []hostileToken) {
	t.Helper()
	raw, err := os.ReadFile("../../../set/testdata/vectors/jwks.json")
	must(t, err)
	keys, err := set.ParseJWKS(raw)
	must(t, err)
	for _, v := range readVectors(t) {
		algs := []set.Algorithm{set.RS256, set.PS256, set.ES256, set.EdDSA}
		if v.policy == "rs256-only" {
			algs = algs[:1]
		}
		out = append(out, hostileToken{"vector " + v.name, v.token, ingest.Source{Tenant: "default", Name: "v", Issuer: "https://idp.example.com/ssf",
			Audience: []string{"https://hub.example.net/in/1"}, Algorithms: algs, Keys: keys}})
	}
	return out
}

// caseTokens are the tokens of the cases in testdata/receive that are about a token and nothing else.
func caseTokens(t *testing.T) (out []hostileToken) {
	t.Helper()
	k, err := theKeys()
	must(t, err)
	h := &house{began: time.Now(), keys: k, issuer: "https://idp.example.test"}
	h.stopped.Store(1)
	h.vars = scope{"iss": h.issuer, "aud": "https://idp.example.test/aud", "stream": "s1", "idp": "/receive/x", "hub": "https://hub.example.test", "trap": "https://127.0.0.1:1",
		"directive": receipt.Default().Directive, "settings": receipt.Default().Settings, "receipt-event": receipt.Default().Event, "guarded": "/receive/y", "guarded-auth": guardedAuth,
		"desk": "https://desk.example.test", "bomb": ""}
	jwk, err := k.stranger.Public().MarshalJSON()
	must(t, err)
	h.vars["stranger-jwk"] = string(jwk)
	for i := range fresh {
		h.vars["fresh-"+strconv.Itoa(i+1)] = "/receive/f"
	}
	var published set.StaticKeys
	for _, s := range k.published() {
		published = append(published, s.Public())
	}
	for _, c := range readCases(t, "receive", 180) {
		s := c.steps[0]
		if len(c.steps) != 1 || len(s.sections["body"])+len(s.sections["send"])+len(s.headers) > 0 || s.path != "${idp}" || s.method != "POST" {
			continue
		}
		sc := h.scope(c)
		h.prepare(t, s, sc, nil)
		if sc["token"] == "" {
			continue
		}
		out = append(out, hostileToken{"case " + c.name, sc["token"], ingest.Source{Tenant: "default", Name: "v", Issuer: h.issuer, Audience: []string{h.vars["aud"]}, StreamID: "s1",
			Algorithms: []set.Algorithm{set.RS256, set.PS256, set.ES256, set.EdDSA}, Keys: published,
			Receipts: &ingest.Agreement{Issuer: h.vars["hub"], Audience: h.issuer, Endpoint: h.issuer + "/receipts", Vocabulary: receipt.Default()}}})
	}
	return out
}
