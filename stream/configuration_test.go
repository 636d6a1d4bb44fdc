package stream_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/req"
	"countersign/stream"
)

func TestConfigurationReads(t *testing.T) {
	tests := []struct {
		name, in string
		covers   []string
		want     stream.Configuration
	}{
		{"audience as a string", `{"aud":"a"}`, []string{"RX-37"}, stream.Configuration{Audience: stream.Audience{"a"}}},
		{"audience as an array", `{"aud":["a","b"]}`, []string{"RX-37"}, stream.Configuration{Audience: stream.Audience{"a", "b"}}},
		{"null is absent", `{"stream_id":"s","description":null,"delivery":null,"aud":null,"events_requested":null,"min_verification_interval":null}`,
			[]string{"RX-37"}, stream.Configuration{StreamID: "s"}},
		{"numbers", `{"min_verification_interval":60,"inactivity_timeout":3600.0}`, []string{"RX-37"}, stream.Configuration{MinVerificationInterval: 60, InactivityTimeout: 3600}},
		{"empty arrays stay", `{"events_requested":[]}`, nil, stream.Configuration{EventsRequested: []string{}}},
		{"names are exact in the delivery too", `{"delivery":{"method":"m","METHOD":"n"}}`, nil,
			stream.Configuration{Delivery: &stream.Delivery{Method: "m", Extra: map[string]json.RawMessage{"METHOD": json.RawMessage(`"n"`)}}}},
		{"unknown members", `{"stream_id":"s","https://ns.countersign.example/ar/1/action-receipts":{"status":"active"}}`, []string{"RX-60"},
			stream.Configuration{StreamID: "s", Extra: map[string]json.RawMessage{"https://ns.countersign.example/ar/1/action-receipts": json.RawMessage(`{"status":"active"}`)}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got stream.Configuration
			if err := json.Unmarshal([]byte(tt.in), &got); err != nil {
				t.Fatal(err)
			}
			req.Covers(t, tt.covers...)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfigurationRefuses(t *testing.T) {
	for in, want := range map[string]string{
		`"x"`:                                      "stream configuration",
		`{"aud":1}`:                                "aud is neither a string nor an array",
		`{"aud":["a",null]}`:                       "aud is neither a string nor an array",
		`{"events_requested":"x"}`:                 "events_requested is not an array of strings",
		`{"events_delivered":[1]}`:                 "events_delivered is not an array of strings",
		`{"delivery":"push"}`:                      "delivery",
		`{"delivery":{"endpoint_url":1}}`:          "endpoint_url is not a string",
		`{"min_verification_interval":1.5}`:        "min_verification_interval is not a whole number",
		`{"min_verification_interval":-1}`:         "min_verification_interval is not a whole number",
		`{"inactivity_timeout":"3600"}`:            "inactivity_timeout is not a whole number",
		`{"inactivity_timeout":1e300}`:             "inactivity_timeout is not a whole number",
		`{"delivery":{"method":"a","method":"b"}}`: "repeated",
	} {
		var cfg stream.Configuration
		if err := json.Unmarshal([]byte(in), &cfg); !errors.Is(err, stream.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want ErrInvalid with %q", in, err, want)
		}
	}
}

func TestConfigurationWrites(t *testing.T) {
	tests := []struct {
		name string
		in   stream.Configuration
		want string
	}{
		{"nothing", stream.Configuration{}, `{}`},
		{"nothing delivered is said", stream.Configuration{StreamID: "s", EventsDelivered: []string{}}, `{"stream_id":"s","events_delivered":[]}`},
		{"one audience", stream.Configuration{Audience: stream.Audience{"a"}}, `{"aud":"a"}`},
		{"two audiences", stream.Configuration{Audience: stream.Audience{"a", "b"}}, `{"aud":["a","b"]}`},
		{"extra members in order, known ones not twice", stream.Configuration{StreamID: "s", Extra: map[string]json.RawMessage{
			"b": json.RawMessage(`{"n":1e400}`), "a": json.RawMessage(`null`), "stream_id": json.RawMessage(`"evil"`)}},
			`{"stream_id":"s","a":null,"b":{"n":1e400}}`},
		{"delivery", stream.Configuration{Delivery: &stream.Delivery{Method: stream.PushMethod, EndpointURL: "https://r/?a&b", AuthorizationHeader: "Bearer x"}},
			`{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://r/?a&b","authorization_header":"Bearer x"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := tt.in.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			var got, want any
			if json.Unmarshal(out, &got) != nil && !strings.Contains(tt.want, "1e400") {
				t.Fatalf("wrote %s", out)
			}
			_ = json.Unmarshal([]byte(tt.want), &want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("wrote %s, want %s", out, tt.want)
			}
		})
	}
}

func TestRequestedHasOnlyWhatAReceiverSupplies(t *testing.T) {
	full := stream.Configuration{
		StreamID: "s", Issuer: "https://i", Audience: stream.Audience{"a"}, EventsSupported: []string{"x"}, EventsRequested: []string{"x"},
		EventsDelivered: []string{"x"}, Delivery: &stream.Delivery{Method: stream.PushMethod}, MinVerificationInterval: 1, Description: "d",
		InactivityTimeout: 2, Extra: map[string]json.RawMessage{"k": json.RawMessage(`1`)},
	}
	req.Covers(t, "RX-23", "RX-28")
	want := &stream.Configuration{StreamID: "s", EventsRequested: []string{"x"}, Delivery: &stream.Delivery{Method: stream.PushMethod}, Description: "d",
		Extra: map[string]json.RawMessage{"k": json.RawMessage(`1`)}}
	if diff := cmp.Diff(want, full.Requested()); diff != "" {
		t.Errorf("requested (-want +got):\n%s", diff)
	}
}

func TestSecretsStayOutOfLogs(t *testing.T) {
	cfg := stream.Configuration{StreamID: "s1", Delivery: &stream.Delivery{Method: stream.PushMethod, EndpointURL: "https://r/secret-path", AuthorizationHeader: "Bearer secret-token"},
		Extra: map[string]json.RawMessage{"k": json.RawMessage(`"secret-extra"`)}}
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("x", "stream", cfg, "delivery", *cfg.Delivery, "pointer", &cfg)
	if strings.Contains(log.String(), "secret") || !strings.Contains(log.String(), "s1") {
		t.Errorf("log: %s", log.String())
	}
}

func TestKeycloakStreams(t *testing.T) {
	for file, want := range map[string]stream.Delivery{
		"stream-push.json": {Method: stream.PushMethod, EndpointURL: "http://127.0.0.1:19510/ssf/push/kc", AuthorizationHeader: "Bearer rx-static-1"},
		"stream-poll.json": {Method: stream.PollMethod, EndpointURL: "http://127.0.0.1:18180/realms/ssfdemo/ssf/transmitter/receivers/countersign-poll/streams/751f61c6-4df0-43c2-ba41-a31db95d0f24/poll"},
	} {
		data, err := os.ReadFile("testdata/keycloak-26/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var cfg stream.Configuration
		if err := json.Unmarshal(data, &cfg); err != nil {
			t.Fatal(err)
		}
		req.Covers(t, "Q-18")
		if diff := cmp.Diff(&want, cfg.Delivery); diff != "" {
			t.Errorf("%s: delivery:\n%s", file, diff)
		}
		if len(cfg.Audience) != 1 || len(cfg.EventsDelivered) != 2 || cfg.MinVerificationInterval != 2 || string(cfg.Extra["default_subjects"]) != `"ALL"` {
			t.Errorf("%s: read %+v", file, cfg)
		}
	}
}

func TestStatus(t *testing.T) {
	var st stream.Status
	if err := json.Unmarshal([]byte(`{"stream_id":"s","status":"paused","reason":null,"x":1}`), &st); err != nil {
		t.Fatal(err)
	}
	req.Covers(t, "TX-98", "RX-32")
	if diff := cmp.Diff(stream.Status{StreamID: "s", Status: stream.Paused}, st); diff != "" {
		t.Errorf("status:\n%s", diff)
	}
	for in, want := range map[string]string{
		`{"stream_id":"s","status":"Paused"}`:                    "status is not one of",
		`{"stream_id":"s","status":"stopped"}`:                   "status is not one of",
		`{"stream_id":"s"}`:                                      "status is missing",
		`{"status":"enabled"}`:                                   "stream_id is missing",
		`{"stream_id":"s","status":{}}`:                          "status is not a string",
		`{"stream_id":"s","status":"enabled","status":"paused"}`: "repeated",
	} {
		var st stream.Status
		err := json.Unmarshal([]byte(in), &st)
		if err == nil {
			err = st.Validate()
		}
		if !errors.Is(err, stream.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want ErrInvalid with %q", in, err, want)
		}
	}
	for _, word := range []string{stream.Enabled, stream.Paused, stream.Disabled} {
		if err := (stream.Status{StreamID: "s", Status: word}).Validate(); err != nil {
			t.Errorf("%s: %v", word, err)
		}
	}
	var v stream.VerifyRequest
	if err := json.Unmarshal([]byte(`{"stream_id":"s","state":"x"}`), &v); err != nil || v.State != "x" || v.StreamID != "s" {
		t.Errorf("verify request %+v, %v", v, err)
	}
	if err := json.Unmarshal([]byte(`{"stream_id":"s","state":1}`), &v); !errors.Is(err, stream.ErrInvalid) {
		t.Errorf("state as a number: %v", err)
	}
}

func FuzzConfiguration(f *testing.F) {
	f.Add([]byte(`{"stream_id":"s","aud":["a"],"delivery":{"method":"urn:ietf:rfc:8935","k":1e400},"min_verification_interval":2.0,"x":[]}`))
	f.Add([]byte(`{"aud":"a","events_requested":[],"description":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		roundTrip(t, data, new(stream.Configuration), new(stream.Configuration))
	})
}
