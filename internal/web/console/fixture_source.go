package console

import (
	"context"
	"encoding/json"
	"strings"

	"countersign/internal/hub"
)

// sourceFixture is a source with what a hub would know of it.
type sourceFixture struct {
	name, state string // of the page; what Show says, as JSON
	res         hub.Resource
	refused     []hub.Refusal
}

// sources makes sources in every state. The last one is the hostile one.
func (f *fixtures) sources() []sourceFixture {
	long := strings.Repeat("W", 180)
	one := func(page, spec, state string, refused ...hub.Refusal) sourceFixture {
		var s hub.Source
		if err := json.Unmarshal([]byte(spec), &s); err != nil {
			panic(err)
		}
		return sourceFixture{page, state, hub.Resource{Kind: hub.KindSource, Name: s.Name, Spec: json.RawMessage(spec), Created: at(-86400), Updated: at(-86400)}, refused}
	}
	moment := func(seconds float64) string { return itoa(int(at(seconds))) }
	quote := func(s string) string { raw, _ := json.Marshal(s); return string(raw) }
	return []sourceFixture{
		one("healthy", `{"name":"keycloak","type":"ssf","profile":"keycloak","issuer":"https://idp.example.test/realms/acme","delivery":"poll","stream":"create","events":["`+revoked+`"],"auth":{"method":"client_secret_basic"},"orders":{"accept":["revoke_sessions"]}}`,
			`{"receipts":"legacy","polls":{"at":`+moment(-2)+`,"sets":5120},"stream_state":{"status":"made","stream_id":"7d1c0a52","audience":["https://hub.example.test"],"events_delivered":["`+revoked+`","`+credential+`"],"poll_url":"https://idp.example.test/realms/acme/ssf/poll?key=s3cret","receipts":"legacy","stream_status":"enabled","verify_asked_at":`+moment(-7200)+`,"verified_at":`+moment(-7199)+`}}`),
		one("pushing", `{"name":"hr","type":"ssf","issuer":"https://hr.example.test","delivery":"push","stream":"none","audience":["https://hub.example.test"],"push_auth":{"authorization_header":{"stored":"hr-push"}},"rate":{"signals":500,"per":"1s"}}`,
			`{"receive_url":"https://hub.example.test/receive/NPnca05Eru5_fM4hStx-XjVX","receipts":"off","stream_state":{"status":"none","audience":["https://hub.example.test"],"receipts":"off"}}`,
			hub.Refusal{Door: "push", Status: 400, Err: "invalid_audience", Reason: "set: audience does not include us", Cure: "aud of the tokens is not the one of the stream: write what the other side sends into audience", Side: "ours", JTI: "jwt-4QK7M2", Count: 3, Last: at(-40)},
			hub.Refusal{Door: "push", Status: 400, Err: "invalid_request", Reason: "Q-30: the token has no sub_id", Cure: "write relax: [Q-30], or have the other side send sub_id", Side: "theirs", Quirk: "Q-30", Count: 1, Last: at(-900)}),
		one("failed", `{"name":"okta","type":"ssf","profile":"okta","issuer":"https://acme.okta.example.test","stream":"create","auth":{"method":"bearer"}}`,
			`{"problem":"receiver: create stream: it answers 401 Unauthorized","receive_url":"https://hub.example.test/receive/a","receipts":"off","stream_state":{"status":"failed","error":"receiver: create stream: it answers 401 Unauthorized","tries":7,"next_try_at":`+moment(51)+`}}`),
		one("silent", `{"name":"mdm","type":"ssf","issuer":"https://mdm.example.test","stream":"adopt","stream_id":"s1","verify":{"every":"6h"}}`,
			`{"problem":"no sign of life for 13 h","receive_url":"https://hub.example.test/receive/b","receipts":"declined","stream_state":{"status":"made","origin":"adopted","stream_id":"s1","receipts":"declined","receipts_reason":"its answer lacks receipt_issuer","alarm":"no sign of life for 13 h","alarm_at":`+moment(-3600)+`,"verify_asked_at":`+moment(-3700)+`,"verified_at":`+moment(-50000)+`}}`),
		one("paused", `{"name":"sgnl","type":"ssf","issuer":"https://sgnl.example.test","stream":"create"}`,
			`{"receive_url":"https://hub.example.test/receive/c","receipts":"off","stream_state":{"status":"made","stream_id":"s2","stream_status":"paused","stream_status_reason":"maintenance","held":true,"receipts":"off"}}`),
		one("pending", `{"name":"new","type":"ssf","issuer":"https://new.example.test","stream":"create"}`, `{"receive_url":"https://hub.example.test/receive/d","stream_state":{"status":"pending"}}`),
		one("hostile", `{"name":"evil","type":"ssf","issuer":"https://`+strings.Repeat("w", 60)+`.example.test/`+long+`","stream":"create","relax":["Q-30"]}`,
			`{"problem":`+quote("<script>alert(1)</script>\u2066"+long)+`,"receive_url":"https://hub.example.test/receive/e","stream_state":{"status":"made","stream_id":"`+long+`","audience":["https://evil.example/`+long+`"],"stream_status":`+quote("\u202e<marquee>")+`,"events_delivered":["https://evil.example/`+long+`/<script>alert(1)</script>"]}}`,
			hub.Refusal{Door: "push", Status: 400, Err: "invalid_request", Reason: "<iframe src=//evil.example>" + long, JTI: "<b>X</b>", Cure: "<marquee>\u202e" + long, Count: 1, Last: at(-1)}),
	}
}

// show says what a hub would know of a resource of the fixtures.
func (f *fixtures) show(_ context.Context, r *hub.Resource) map[string]any {
	for _, s := range f.sourced {
		if r.Kind == hub.KindSource && s.res.Name == r.Name {
			var out map[string]any
			if err := json.Unmarshal([]byte(s.state), &out); err != nil {
				panic(err)
			}
			return out
		}
	}
	return map[string]any{"problem": "there is no client warehouse-receiver"}
}

// sourcePages renders the pages of sources in every state.
func (f *fixtures) sourcePages(u *User, add func(name, page string, view any)) {
	c := f.console
	var all []*sourceInfo
	for i := range f.sourced {
		one, err := c.sourceInfo(context.Background(), &f.sourced[i].res)
		if err != nil {
			panic(err)
		}
		all = append(all, one)
	}
	last := len(all) - 1
	add("source-list", "source_list", c.sourceList(u, "", all[:last]))
	add("source-list-failing", "source_list", c.sourceList(u, "failing", all[:last]))
	add("source-list-hostile", "source_list", c.sourceList(u, "", all[last:]))
	add("source-list-nothing", "source_list", c.sourceList(u, "paused", nil))
	add("source-list-empty", "source_list", c.sourceList(u, "", nil))
	for i, s := range f.sourced {
		var signals []*hub.Signal
		if i == 0 {
			signals = f.signals()
		}
		add("source-"+s.name, "source_show", c.sourceShow(u, all[i], hub.Listed[hub.Refusal]{Items: s.refused, Next: map[bool]string{true: "more"}[i == 1]}, signals))
	}
}
