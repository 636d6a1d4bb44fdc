package ingest_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/ssf"
	"countersign/internal/flow/ingest"
	"countersign/internal/hub"
	"countersign/internal/store"
	"countersign/receipt"
	"countersign/set"
	"countersign/transmitter"
)

const (
	issuer   = "https://idp.example.test"
	audience = "https://hub.example.test/s1"
	streamID = "s1"
	secret   = "Bearer correct-horse-battery"
)

// shelf is a store of signals in memory.
type shelf struct {
	mu   sync.Mutex
	sigs []*hub.Signal
	by   map[string]string // source and jti to fingerprint
	fail error
}

func (s *shelf) Keep(_ context.Context, sig *hub.Signal, print string, _ *transmitter.Outgoing, _ *store.Idempotency) (store.Kept, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return store.Kept{}, s.fail
	}
	key := sig.Source + " " + sig.JTI
	if was, ok := s.by[key]; ok {
		status := hub.KeptRepeat
		if was != print {
			status = hub.KeptClash
		}
		return store.Kept{Kept: hub.Kept{ID: "was", Status: status}}, nil
	}
	if s.by == nil {
		s.by = map[string]string{}
	}
	s.by[key] = print
	s.sigs = append(s.sigs, sig)
	return store.Kept{Kept: hub.Kept{ID: sig.ID, Seq: int64(len(s.sigs)), Status: hub.KeptNew}}, nil
}

func (s *shelf) SendAgain(context.Context, int64, hub.Micros) (*hub.Job, error) { return nil, nil }
func (s *shelf) OrderWithdrawn(context.Context, string, string, string, string, hub.Micros) (int64, error) {
	return 0, hub.Errorf(hub.NotFound, "none")
}

// ledger is where refusals go.
type ledger struct {
	mu   sync.Mutex
	rows map[string]hub.Refusal
	adds int
	fail error
}

func (l *ledger) AddRefusals(_ context.Context, tenant string, all []hub.Refusal) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.adds++
	if l.fail != nil {
		return l.fail
	}
	if l.rows == nil {
		l.rows = map[string]hub.Refusal{}
	}
	for _, r := range all {
		l.rows[tenant+" "+r.ID] = r
	}
	return nil
}

func (l *ledger) list() (out []hub.Refusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.rows {
		out = append(out, r)
	}
	return out
}

// journal is where the log goes.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// breaks makes the ledger fail from now on; nil: it works again.
func (l *ledger) breaks(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

func (l *ledger) writes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.adds
}

// house is a door with one source at the address "a1".
type house struct {
	*ingest.Door
	t      testing.TB
	shelf  *shelf
	ledger *ledger
	signer *set.Signer
	source *ingest.Source
	logs   journal
	n      int
}

func newHouse(t testing.TB, source func(*ingest.Source), cfg func(*ingest.Config)) *house {
	t.Helper()
	key, err := set.GenerateKey(set.ES256)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, shelf: &shelf{}, ledger: &ledger{}}
	if h.signer, err = set.NewSigner(set.ES256, "k1", key); err != nil {
		t.Fatal(err)
	}
	h.source = &ingest.Source{Tenant: "default", Name: "idp", Issuer: issuer, Audience: []string{audience}, Algorithms: []set.Algorithm{set.ES256},
		Keys: set.StaticKeys{h.signer.Public()}, StreamID: streamID}
	if source != nil {
		source(h.source)
	}
	log := slog.New(slog.NewTextHandler(&h.logs, nil))
	c := ingest.Config{Store: h.shelf, Registry: event.NewRegistry(caep.Vocabulary(), ssf.Vocabulary()), Log: log,
		Find: func(id string) *ingest.Source {
			if id == "a1" {
				return h.source
			}
			return nil
		},
		Taken:    func(*hub.Signal, *hub.Job) {},
		Refusals: ingest.NewRefusals(h.ledger, nil, log),
	}
	if cfg != nil {
		cfg(&c)
	}
	h.Door = ingest.New(c)
	h.Prepare(h.source)
	return h
}

// token signs claims; in more members stand that are added or that replace those of the usual token.
func (h *house) token(typ, subID, payload string, more ...string) string {
	h.t.Helper()
	h.n++
	members := map[string]string{"iss": fmt.Sprintf("%q", issuer), "aud": fmt.Sprintf("%q", audience), "iat": fmt.Sprint(time.Now().Unix()), "jti": fmt.Sprintf("%q", fmt.Sprint("j", h.n)),
		"sub_id": subID, "events": fmt.Sprintf(`{%q:%s}`, typ, payload)}
	for i := 0; i+1 < len(more); i += 2 {
		members[more[i]] = more[i+1]
	}
	var parts []string
	for name, value := range members {
		if value != "" {
			parts = append(parts, fmt.Sprintf("%q:%s", name, value))
		}
	}
	token, err := h.signer.Sign([]byte("{" + strings.Join(parts, ",") + "}"))
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

const person = `{"format":"email","email":"ann@example.test"}`

// about is a token about a person or what sub says.
func (h *house) about(sub string, more ...string) string {
	return h.token(caep.SessionRevokedURI, sub, `{"initiating_entity":"policy"}`, more...)
}

func (h *house) push(token string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/receive/a1", strings.NewReader(token))
	r.Header.Set("Content-Type", "application/secevent+jwt")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.Receive(w, r, "a1")
	return w
}

func (h *house) get(path, id string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.Receive(w, httptest.NewRequest(http.MethodGet, path, nil), id)
	return w
}

func orders(s *ingest.Source) {
	s.Receipts = &ingest.Agreement{Issuer: "https://hub.example.test", Audience: issuer, Endpoint: issuer + "/receipts", Vocabulary: receipt.Default()}
}
