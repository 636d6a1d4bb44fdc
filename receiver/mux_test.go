package receiver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/risc"
	"countersign/event/ssf"
	"countersign/internal/req"
	"countersign/receipt"
	"countersign/receiver"
	"countersign/set"
	"countersign/ssftest"
	"countersign/stream"
)

// A function is called once for a signal, however often that comes.
func TestMuxCallsOnce(t *testing.T) {
	req.Covers(t, "RX-35", "RX-58", "RX-64", "RX-78")
	synctest.Test(t, func(t *testing.T) {
		var got []*receiver.SessionRevoked
		register := func(m *receiver.Mux) {
			m.OnSessionRevoked(func(_ context.Context, s *receiver.SessionRevoked) (receipt.Line, error) {
				got = append(got, s)
				return receipt.Line{}, nil
			})
		}
		s := newShop(t, receiver.Memory(), nil, register)
		first := s.token("j1", caep.SessionRevokedURI, `{"event_timestamp":1,"reason_admin":{"en":"<b>x</b>"}}`, "")
		s.take(first, 202)
		s.take(first, 202)
		synctest.Wait()
		s.take(first, 202)
		// Another token of the same transaction is another signal.
		s.take(s.token("j2", caep.SessionRevokedURI, `{}`, ""), 202)
		synctest.Wait()
		s.stop()
		s.start(nil, register) // a restart repeats nothing
		s.take(first, 202)
		time.Sleep(time.Hour)
		if len(got) != 2 || got[0].ID != "j1" || got[1].ID != "j2" || got[0].TXN != got[1].TXN {
			t.Fatalf("%d calls: %+v", len(got), got)
		}
		email, _ := got[0].Subject.Email()
		if got[0].Issuer != issuer || email != "jane@example.com" || got[0].Event.ReasonAdmin["en"] != "<b>x</b>" || got[0].Try != 1 || got[0].Ref == "" ||
			got[0].Ref == got[1].Ref || got[0].Order != nil || got[0].Token != first || got[0].Type.Name != "caep/session-revoked" {
			t.Errorf("%+v", got[0])
		}
		// A jti that was used for another token is refused.
		s.take(s.token("j1", caep.SessionRevokedURI, `{"event_timestamp":2}`, ""), 400)
		if s.till.asked != 0 {
			t.Error("a receipt for a signal that is no order")
		}
		s.stop()
	})
}

// What cannot be acted on was acknowledged all the same, and is tried again by us.
func TestMuxTriesAgain(t *testing.T) {
	req.Covers(t, "RX-102")
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		refs := map[string]bool{}
		s := newShop(t, receiver.Memory(), func(c *receiver.MuxConfig) { c.Patience = time.Hour }, func(m *receiver.Mux) {
			m.OnSessionRevoked(func(_ context.Context, s *receiver.SessionRevoked) (receipt.Line, error) {
				at = append(at, time.Now())
				refs[s.Ref] = true
				switch {
				case s.ID == "never":
					return receipt.Line{}, errors.New("no")
				case s.Try == 1:
					panic("a bug")
				case s.Try == 2:
					return receipt.Line{}, errors.New("database down")
				case s.Try == 3:
					return receipt.Line{Status: receipt.Pending}, nil
				}
				return receipt.Line{}, nil
			})
		})
		s.take(s.token("j1", caep.SessionRevokedURI, `{}`, ""), 202)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if len(at) != 4 || len(refs) != 1 || at[1].Sub(at[0]) > 2*time.Second {
			t.Errorf("called at %v under %d names", at, len(refs))
		}
		at = nil
		s.take(s.token("never", caep.SessionRevokedURI, `{}`, ""), 202)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if len(at) < 12 || at[len(at)-1].Sub(at[0]) > 70*time.Minute {
			t.Errorf("called %d times, at last after %s", len(at), at[len(at)-1].Sub(at[0]))
		}
		s.stop()
	})
}

// counter is a credential that is another one after each renewal.
// mortal is an Inbox whose process dies at the n-th writing: nothing is written from then on.
func TestMuxAboutTheStream(t *testing.T) {
	req.Covers(t, "RX-32", "RX-39", "RX-40", "RX-41", "RX-42", "RX-43", "RX-44", "RX-99")
	synctest.Test(t, func(t *testing.T) {
		var statuses []string
		s := newShop(t, receiver.Memory(), nil, func(m *receiver.Mux) {
			m.OnStreamUpdated(func(_ context.Context, u *receiver.StreamUpdated) (receipt.Line, error) {
				statuses = append(statuses, u.Event.Status+" "+u.Event.Reason)
				return receipt.Line{}, nil
			})
		})
		if !s.mux.Verified().IsZero() || len(s.mux.Events()) != 0 {
			t.Error("before anything came")
		}
		s.take(s.token("u1", ssf.StreamUpdatedURI, `{"status":"paused","reason":"licence"}`, ""), 202)
		s.take(s.token("v0", ssf.VerificationURI, `{}`, ""), 202) // unasked
		if !s.mux.Verified().Equal(time.Now()) {
			t.Error("the one that came unasked was not noticed")
		}
		w := s.take(s.token("v1", ssf.VerificationURI, `{"state":"never asked"}`, ""), 400)
		if !strings.Contains(w.Body.String(), stream.InvalidState) {
			t.Errorf("%s", w.Body)
		}
		// The event may come before the answer to our request, and twice.
		var state string
		client := &receiver.Client{HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			var in stream.VerifyRequest
			_ = json.NewDecoder(r.Body).Decode(&in)
			state = in.State
			s.take(s.token("v2", ssf.VerificationURI, `{"state":"`+state+`"}`, ""), 202)
			return say(204, ""), nil
		})}}
		md := &stream.Metadata{VerificationEndpoint: "https://idp.example.test/verify"}
		if err := s.mux.Verify(t.Context(), client, md, streamID); err != nil || len(state) < 40 {
			t.Errorf("state %q, %v", state, err)
		}
		s.take(s.token("v3", ssf.VerificationURI, `{"state":"`+state+`"}`, ""), 202)
		time.Sleep(11 * time.Minute)
		s.take(s.token("v4", ssf.VerificationURI, `{"state":"`+state+`"}`, ""), 400)
		// One that does not come.
		silent := &receiver.Client{HTTP: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return say(204, ""), nil })}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.mux.Verify(ctx, silent, md, streamID); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		// About another stream.
		c := claims()
		c.ID, c.IssuedAt, c.SubID = "v5", time.Now().Unix(), json.RawMessage(`{"format":"opaque","id":"other"}`)
		c.Events = []set.Event{{Type: ssf.VerificationURI, Payload: json.RawMessage(`{}`)}}
		s.take(s.signed(c), 400)
		synctest.Wait()
		if !slices.Equal(statuses, []string{"paused licence"}) {
			t.Errorf("%q", statuses)
		}
		s.stop()
	})
}

func TestMuxDiscardsCriticalMembers(t *testing.T) {
	req.Covers(t, "RX-11", "RX-65", "RX-66")
	synctest.Test(t, func(t *testing.T) {
		var got []string
		s := newShop(t, receiver.Memory(), func(c *receiver.MuxConfig) { c.Critical = []string{"user", "robot"} }, func(m *receiver.Mux) {
			m.OnSessionRevoked(func(_ context.Context, s *receiver.SessionRevoked) (receipt.Line, error) {
				email, _ := s.Subject.Email()
				got = append(got, fmt.Sprint(email, s.Subject.Parts()))
				return receipt.Line{}, nil
			})
		})
		for i, sub := range []string{
			`{"format":"complex","user":{"format":"email","email":"a@b.example"},"robot":{"format":"opaque","id":"r"}}`,
			`{"format":"complex","user":{"format":"email","email":"a@b.example"},"device":{"format":"opaque","id":"d"},"other":{"format":"opaque","id":"o"}}`,
		} {
			c := claims()
			c.ID, c.IssuedAt, c.SubID = fmt.Sprint("c", i), time.Now().Unix(), json.RawMessage(sub)
			s.take(s.signed(c), 202)
		}
		synctest.Wait()
		if len(got) != 1 || !strings.Contains(got[0], "device") || !strings.Contains(got[0], "a@b.example") {
			t.Errorf("%q", got)
		}
		s.stop()
	})
}

func TestMuxOtherTypes(t *testing.T) {
	req.Covers(t, "RX-60", "RX-61")
	synctest.Test(t, func(t *testing.T) {
		var got []string
		s := newShop(t, receiver.Memory(), nil, func(m *receiver.Mux) {
			receiver.On(m, risc.AccountDisabledURI, func(_ context.Context, s *receiver.Signal[*risc.AccountDisabled]) (receipt.Line, error) {
				got = append(got, "disabled "+s.Event.Reason)
				return receipt.Line{}, nil
			})
			m.On("urn:example:strange", func(_ context.Context, s *receiver.Other) (receipt.Line, error) {
				raw, _ := json.Marshal(s.Event)
				got = append(got, s.Type.URI+string(raw))
				return receipt.Line{}, nil
			})
		})
		if !slices.Equal(s.mux.Events(), []string{risc.AccountDisabledURI, "urn:example:strange"}) {
			t.Errorf("%q", s.mux.Events())
		}
		s.take(s.token("a", risc.AccountDisabledURI, `{"reason":"hijacking","more":[1]}`, ""), 202)
		s.take(s.token("b", "urn:example:strange", `{"x":{"y":[1.50]}}`, ""), 202)
		s.take(s.token("c", "urn:example:unheard", `{}`, ""), 202)
		synctest.Wait()
		if !slices.Equal(got, []string{"disabled hijacking", `urn:example:strange{"x":{"y":[1.50]}}`}) {
			t.Errorf("%q", got)
		}
		s.stop()
	})
	for name, wrong := range map[string]func(m *receiver.Mux){
		"another payload": func(m *receiver.Mux) { receiver.On[*risc.AccountDisabled](m, caep.SessionRevokedURI, nil) },
		"twice": func(m *receiver.Mux) {
			m.OnSessionRevoked(nil)
			m.On(caep.SessionRevokedURI, nil)
		},
		"no type": func(m *receiver.Mux) { m.On("", nil) },
	} {
		m, err := receiver.NewMux(receiver.MuxConfig{Issuer: "i", Audience: []string{"a"}, Inbox: receiver.Memory()})
		if err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			wrong(m)
		}()
	}
	// Every type of CAEP has its function.
	m, err := receiver.NewMux(receiver.MuxConfig{Issuer: "i", Audience: []string{"a"}, Inbox: receiver.Memory()})
	if err != nil {
		t.Fatal(err)
	}
	m.OnSessionRevoked(nil)
	m.OnTokenClaimsChange(nil)
	m.OnCredentialChange(nil)
	m.OnAssuranceLevelChange(nil)
	m.OnDeviceComplianceChange(nil)
	m.OnSessionEstablished(nil)
	m.OnSessionPresented(nil)
	m.OnRiskLevelChange(nil)
	m.OnStreamUpdated(nil)
	if len(m.Events()) != len(caep.Vocabulary()) {
		t.Errorf("%q", m.Events())
	}
}

func TestMuxIsSetUp(t *testing.T) {
	for name, cfg := range map[string]receiver.MuxConfig{
		"no issuer":   {Audience: []string{"a"}, Inbox: receiver.Memory()},
		"no audience": {Issuer: "i", Inbox: receiver.Memory()},
		"no inbox":    {Issuer: "i", Audience: []string{"a"}},
		"no signer":   {Issuer: "i", Audience: []string{"a"}, Inbox: receiver.Memory(), Receipts: &receiver.Receipts{Issuer: "x"}},
	} {
		if _, err := receiver.NewMux(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The keys come from the metadata of the transmitter, which is read when the first token comes; until it can be, the sender is told to wait.
func TestMuxFindsKeys(t *testing.T) {
	req.Covers(t, "RX-9", "RX-50", "RX-81", "IOP-22")
	x := ssftest.NewTransmitter(t, nil)
	down := true
	m, err := receiver.NewMux(receiver.MuxConfig{Issuer: x.Issuer, Audience: []string{"me"}, Algorithms: set.Algorithms(), Inbox: receiver.Memory(), Log: slog.New(slog.DiscardHandler),
		Registry: event.NewRegistry(caep.Vocabulary()),
		HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if down {
				return nil, errors.New("connection refused")
			}
			return x.Server.Client().Transport.RoundTrip(r)
		})}})
	if err != nil {
		t.Fatal(err)
	}
	c := claims()
	c.Issuer, c.Audience, c.IssuedAt = x.Issuer, []string{"me"}, time.Now().Unix()
	payload, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	compact, err := ssftest.Signer(set.ES256, "test-es256").Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{503, 202, 202} {
		w := httptest.NewRecorder()
		m.ServeHTTP(w, push(compact))
		if w.Code != want || want == 503 && w.Header().Get("Retry-After") == "" {
			t.Errorf("answer %d %s, want %d", w.Code, w.Body, want)
		}
		down = false
	}
}

// Keys that cannot be used: the sender is told which of us is in trouble, within bounds.
func TestMuxHostileKeys(t *testing.T) {
	req.Covers(t, "RX-49", "RX-50", "RX-51")
	good := set.MarshalJWKS([]set.Key{newSigner().Public()})
	for name, c := range map[string]struct {
		keys func(n int, r *http.Request) (*http.Response, error)
		want []int
	}{
		"slow": {func(_ int, r *http.Request) (*http.Response, error) {
			select {
			case <-r.Context().Done():
				return nil, r.Context().Err()
			case <-time.After(time.Hour):
				return say(200, string(good)), nil
			}
		}, []int{503}},
		"endless": {func(int, *http.Request) (*http.Response, error) {
			r := say(200, "")
			r.Body = io.NopCloser(spaces{})
			return r, nil
		}, []int{503}},
		"none": {func(int, *http.Request) (*http.Response, error) { return say(200, `{"keys":[]}`), nil }, []int{400}},
		"symmetric": {func(int, *http.Request) (*http.Response, error) {
			return say(200, `{"keys":[{"kty":"oct","kid":"k1","k":"c2VjcmV0"}]}`), nil
		}, []int{400}},
		"private": {func(int, *http.Request) (*http.Response, error) {
			return say(200, strings.Replace(string(good), `"keys":[{`, `"keys":[{"d":"AAAA",`, 1)), nil
		}, []int{400}},
		"for encryption": {func(int, *http.Request) (*http.Response, error) {
			return say(200, strings.Replace(string(good), `"use":"sig"`, `"use":"enc"`, 1)), nil
		}, []int{400}},
		"moved": {func(int, *http.Request) (*http.Response, error) {
			return say(302, "", "Location", "https://evil.example/jwks"), nil
		}, []int{503}},
		"a web page": {func(int, *http.Request) (*http.Response, error) { return say(200, "<html>"), nil }, []int{503}},
		"new ones each time": {func(n int, _ *http.Request) (*http.Response, error) {
			if n == 1 {
				return say(200, string(good)), nil
			}
			return say(200, `{"keys":[]}`), nil
		}, []int{202, 202}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				m, err := receiver.NewMux(receiver.MuxConfig{Issuer: issuer, Audience: []string{audience}, Algorithms: set.Algorithms(), Inbox: receiver.Memory(), Log: slog.New(slog.DiscardHandler),
					HTTP: &http.Client{Timeout: 10 * time.Second, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
						if strings.HasSuffix(r.URL.Path, "/jwks") {
							asked++
							return c.keys(asked, r)
						}
						return say(200, fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, issuer, issuer+"/jwks")), nil
					})}})
				if err != nil {
					t.Fatal(err)
				}
				for i, want := range c.want {
					cl := claims()
					cl.ID, cl.IssuedAt = fmt.Sprint("j", i), time.Now().Unix()
					compact := sign(t, cl)
					began := time.Now()
					w := httptest.NewRecorder()
					m.ServeHTTP(w, push(compact))
					if w.Code != want || time.Since(began) > 30*time.Second || want == 400 && !strings.Contains(w.Body.String(), stream.InvalidKey) {
						t.Errorf("answer %d %s after %s, want %d", w.Code, w.Body, time.Since(began), want)
					}
				}
				if asked > 3 {
					t.Errorf("the keys were asked for %d times", asked)
				}
			})
		})
	}
}
