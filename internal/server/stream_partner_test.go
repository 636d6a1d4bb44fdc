package server

import (
	"strings"
	"testing"

	"countersign/internal/req"
	"countersign/transmitter"
)

// Receivers without a stream API are resources: their aud and the form of their SETs are the operator's.
func TestStreamsOfPartners(t *testing.T) {
	w := newWorld(t)
	client := func(name string) string {
		return `{"kind":"client","name":"` + name + `","auth":"bearer","scopes":["ssf.read"],"streams":"many"}`
	}
	okta := `{"kind":"stream","name":"okta","client":"okta","deliver":{"to":"https://okta.example.test/events","direct":true},"audience":["https://org.okta.example"],"shape":"okta","subject":{"format":"email","payload":"omit"}}`
	w.applyAt("default", client("okta"), client("google"), okta,
		`{"kind":"stream","name":"workspace","client":"google","deliver":{"to":"https://google.example.test/events","direct":true},"audience":["https://sharedsignals.googleapis.com"],"shape":"google-workspace"}`)
	streams := func() map[string]transmitter.Stream {
		all, _, err := w.srv.store.Transmitter("default", w.srv.vault).AllStreams(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]transmitter.Stream{}
		for _, st := range all {
			out[st.Name] = st
		}
		return out
	}
	got := streams()
	if st := got["okta"]; len(st.Audience) != 1 || st.Audience[0] != "https://org.okta.example" || st.Shape != transmitter.ShapeOkta || !strings.Contains(string(st.Naming), `"payload":"omit"`) {
		t.Errorf("%+v", st)
	}
	if st := got["workspace"]; len(st.Audience) != 1 || st.Audience[0] != "https://sharedsignals.googleapis.com" || st.Shape != transmitter.ShapeWorkspace {
		t.Errorf("%+v", st)
	}
	for name, c := range map[string]struct{ spec, want string }{
		"another client's":     {`{"kind":"stream","name":"spy","client":"google","deliver":{"poll":true},"audience":["https://org.okta.example"]}`, "of another client, which could show it"},
		"below our own issuer": {`{"kind":"stream","name":"spy","client":"google","deliver":{"poll":true},"audience":["` + w.srv.issuerOf("default") + `/streams/str_x"]}`, "lies below our own issuer"},
	} {
		if status, body := w.tryApplyAt("default", c.spec); status != 400 || !strings.Contains(string(body), c.want) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	req.Covers(t, "Q-42")
}
