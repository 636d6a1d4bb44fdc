package hostile

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/event/caep"
	"countersign/receipt"
	"countersign/set"
)

// desk is a receiver of the hub's own signals, which answers orders with receipts. It takes every push.
type desk struct {
	url string
	mu  sync.Mutex
	got []*set.Unverified
}

func startDesk(t *testing.T, cert tls.Certificate) *desk {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	d := &desk{url: fmt.Sprintf("https://localhost:%d", l.Addr().(*net.TCPAddr).Port)}
	srv := &http.Server{Handler: d, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	var end sync.WaitGroup
	end.Go(func() { srv.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})) })
	t.Cleanup(func() { srv.Close(); end.Wait() })
	return d
}

// ServeHTTP takes a push.
func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		return
	}
	u, err := set.Parse(string(body))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	d.mu.Lock()
	d.got = append(d.got, u)
	d.mu.Unlock()
	w.WriteHeader(http.StatusAccepted)
}

func (d *desk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.got)
}

// about gives the pushed token with that txn, nil where none came.
func (d *desk) about(txn string) *set.Unverified {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, u := range d.got {
		if u.Claims().TXN == txn {
			return u
		}
	}
	return nil
}

// openDesk makes the streams of the desk and of the other client at the hub, both with receipts of one issuer. The
// other one asked for no events.
func (h *house) openDesk(t *testing.T) {
	jwks := set.MarshalJWKS([]set.Key{h.keys.desk.Public()})
	for who, events := range map[string]string{"desk": `"` + caep.SessionRevokedURI + `"`, "other": ""} {
		body := fmt.Sprintf(`{"events_requested":[%s],"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"%s/%s"},
			%q:{"receipt_issuer":"https://desk.example.test","receipt_jwks":%s,"receipt_delivery":"push","capabilities":[{"action":"revoke_sessions"}]}}`,
			events, h.desk.url, who, receipt.Default().Settings, jwks)
		req, err := http.NewRequest("POST", h.hub.PublicURL()+"/ssf/streams", strings.NewReader(body))
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+h.tokens[who])
		resp, err := h.client.Do(req)
		must(t, err)
		text, err := io.ReadAll(resp.Body)
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			t.Fatalf("the stream of %s: %d %s", who, resp.StatusCode, text)
		}
		var made struct {
			ID string `json:"stream_id"`
		}
		must(t, json.Unmarshal(text, &made))
		h.vars[who+"-stream"] = made.ID
	}
	h.vars["maker-poll"] = h.openPoll(t, "maker")
}

// openPoll makes a polled stream and gives its id.
func (h *house) openPoll(t *testing.T, who string) string {
	req, err := http.NewRequest("POST", h.hub.PublicURL()+"/ssf/streams", strings.NewReader(`{"events_requested":[]}`))
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+h.tokens[who])
	resp, err := h.client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	var made struct {
		ID string `json:"stream_id"`
	}
	must(t, json.NewDecoder(resp.Body).Decode(&made))
	if resp.StatusCode != http.StatusCreated || made.ID == "" {
		t.Fatalf("the polled stream of %s: %d", who, resp.StatusCode)
	}
	return made.ID
}

// bill is an order that the hub sent to the desk, and the receipts that the desk wrote for it so far.
type bill struct {
	order  *receipt.Order
	number string
	last   string // content address of the receipt before
}

// order has the hub send an order, and waits until it is at the desk.
func (h *house) order(t testing.TB) *bill {
	t.Helper()
	txn := set.NewID()
	body, err := json.Marshal(map[string]any{
		"event_type": "caep/session-revoked", "sub_id": map[string]string{"format": "email", "email": "alice@example.test"},
		"event": map[string]any{"event_timestamp": h.now().Unix()}, "txn": txn, "do": "transmit",
		"order": map[string]any{"obligation": "must", "complete_by": h.now().Add(time.Hour).Unix(),
			"actions": []any{map[string]any{"id": "a1", "action": "revoke_sessions"}}},
	})
	must(t, err)
	h.call(t, "POST", "/api/v1/signals", body, nil)
	var u *set.Unverified
	eventually(t, "the order to come to the desk", func() bool { u = h.desk.about(txn); return u != nil })
	o, err := receipt.OrderOf(u, receipt.Default())
	must(t, err)
	o.ReceiptIssuer, o.ReceiptAudience = "https://desk.example.test", h.hub.PublicURL()
	eventually(t, "the outbox to be empty", func() bool {
		var n int
		must(t, h.db.QueryRowContext(context.Background(), "SELECT count(*) FROM outbox").Scan(&n))
		return n == 0
	})
	return &bill{order: o, number: receipt.NewNumber()}
}

// receipt writes the claims of a receipt that the hub would take.
func (b *bill) receipt(t testing.TB, seq int, jti string, now int64) string {
	t.Helper()
	one := 1
	r := &receipt.Receipt{Number: b.number, Seq: seq, Stage: receipt.StageFinal,
		Order: receipt.OrderLink{ReceivedAt: b.order.IssuedAt},
		Lines: []receipt.Line{{ID: "a1", Action: "revoke_sessions", Target: &receipt.Target{App: "wiki", Kind: "account", ID: "p-1"}, Status: receipt.Succeeded,
			Reason: "done", RequestedAt: now, StartedAt: now, CompletedAt: now, Attempts: &one, Counts: receipt.CountsOf("session", 2, 2, 0),
			Evidence: &receipt.Evidence{Level: receipt.Verified, Method: receipt.MethodReadBack, VerifiedAt: now}}}}
	if seq > 1 {
		r.Stage, r.Supersedes = receipt.StageAmended, &receipt.Supersedes{Seq: seq - 1, Hash: b.last}
	}
	payload, err := receipt.Issue(b.order, r, jti, now)
	must(t, err)
	var short bytes.Buffer
	must(t, json.Compact(&short, payload))
	return short.String()
}
