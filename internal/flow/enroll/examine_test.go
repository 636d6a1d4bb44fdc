package enroll

import (
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/stream"
)

// What is wrong on either side is found, with what to change and where.
func TestExamine(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(r *rig)
		check  string
		result string
		seen   string
		fix    string
		side   string
	}{
		"all well":                     {func(r *rig) {}, "verification", Fine, "arrived after", "", Between},
		"metadata elsewhere":           {func(r *rig) { r.p.suffix = true; r.src.Issuer += "/tenant" }, "metadata", Fail, "/tenant/.well-known/ssf-configuration", "relax: [Q-01]", Ours},
		"another issuer":               {func(r *rig) { r.src.Issuer, r.src.MetadataURL = r.p.URL+"/", r.p.URL+"/.well-known/ssf-configuration" }, "metadata", Fail, "slash at the end", "issuer", Ours},
		"nobody there":                 {func(r *rig) { r.src.MetadataURL = "http://127.0.0.1:1/" }, "metadata", Fail, "127.0.0.1:1", "egress.allow", Between},
		"keys that are none":           {func(r *rig) { r.src.Keys = &hub.SourceKeys{JWKSURI: r.p.URL + "/nothing"} }, "keys", Fail, "401", "jwks_uri", Theirs},
		"no key":                       {func(r *rig) { r.src.Keys = &hub.SourceKeys{JWKS: []byte(`{"keys":[]}`)} }, "keys", Fail, "no key for signatures", "publish", Theirs},
		"clock":                        {func(r *rig) { r.now = r.now.Add(10 * time.Minute) }, "clock", Fail, "10m", "NTP", Between},
		"token refused":                {func(r *rig) { r.src.Auth.TokenEndpoint = r.p.URL + "/nothing" }, "auth", Fail, "401", "", Ours},
		"client unknown":               {func(r *rig) { r.src.Auth.TokenEndpoint = r.p.URL + "/unknown" }, "auth", Fail, "invalid_client", "client_secret is wrong", Ours},
		"no way to the token endpoint": {func(r *rig) { r.src.Auth.TokenEndpoint = "http://127.0.0.1:1/" }, "auth", Fail, "127.0.0.1:1", "ca_file", Between},
		"no consent":                   {func(r *rig) { r.src.Auth.Method, r.src.Auth.AuthorizationEndpoint = "refresh_token", r.p.URL }, "auth", Fail, "nobody has consented", "source authorize idp", Ours},
		"stream gone":                  {func(r *rig) { r.p.streams = nil }, "stream", Fail, "404", "", Theirs},
		"stream changed":               {func(r *rig) { r.p.streams[0].Delivery.EndpointURL = "https://other.example.test/" }, "stream", Fail, "delivery.endpoint_url", "update", Ours},
		"paused":                       {func(r *rig) { r.p.status = stream.Paused }, "status", Fail, "paused", "source resume idp", Theirs},
		"silent":                       {func(r *rig) { r.p.verify = nil }, "verification", Fail, "not arrived within", "source refused idp", Between},
		"verification refused":         {func(r *rig) { r.p.verify = func(string) int { return 403 } }, "verification", Fail, "403", "", Theirs},
		"too often":                    {func(r *rig) { r.p.verify = func(string) int { return 429 } }, "verification", Warn, "only now and then", "later", Theirs},
		"no events":                    {func(r *rig) { r.events(nil) }, "events", Fail, "delivers no events", "allowed", Theirs},
		"profile's cure":               {func(r *rig) { r.src.Profile = "keycloak"; r.p.verify = func(string) int { return 401 } }, "verification", Fail, "401", "ssf.enabled", Theirs},
		"alarm":                        {func(r *rig) { r.p.verify = func(string) int { return 503 }; r.alarm("the source is silent") }, "silence", Fail, "silent", "", Between},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.now = time.Now()
			r.e.wait = 200 * time.Millisecond
			r.run()
			r.p.verify = func(state string) int {
				go r.e.Verified(t.Context(), "default", "idp", state, true)
				return 204
			}
			c.spoil(r)
			r.e.forget("default/idp")
			out, err := r.e.Examine(t.Context(), "default", "idp")
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range out.Findings {
				if f.Check == c.check && f.Result == c.result && strings.Contains(f.Seen, c.seen) && strings.Contains(f.Fix, c.fix) && f.Side == c.side {
					if out.OK == (c.result == Fail) {
						t.Errorf("ok %v", out.OK)
					}
					return
				}
			}
			t.Errorf("not found in %+v", out.Findings)
		})
	}
	// What keeps the stream from being made is told once, and what is not needed is no failure.
	r := newRig(t)
	r.src.MetadataURL = "http://127.0.0.1:1/"
	if _, err := r.e.change(t.Context(), "default", "idp", func(*State) *State {
		s := fresh(r.src)
		s.Status, s.Error = Failed, "connection refused"
		return s
	}); err != nil {
		t.Fatal(err)
	}
	find := func(check string) (f Finding) {
		out, err := r.e.Examine(t.Context(), "default", "idp")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range out.Findings {
			if f.Check == check {
				return f
			}
		}
		return f
	}
	if f := find("stream"); f.Result != Fail || f.Side != Between || !strings.Contains(f.Seen, "metadata says above") {
		t.Errorf("%+v", f)
	}
	r.src.Stream, r.src.Audience, r.src.Auth, r.src.Keys = None, []string{"x"}, nil, &hub.SourceKeys{JWKS: []byte(`{"keys":[]}`)}
	if f := find("metadata"); f.Result != Warn {
		t.Errorf("%+v", f)
	}
	r.src = nil
	if _, err := r.e.Examine(t.Context(), "default", "idp"); hub.CodeOf(err) != hub.NotFound {
		t.Errorf("%v", err)
	}
}

func (r *rig) events(list []string) {
	if _, err := r.e.change(r.t.Context(), "default", "idp", func(s *State) *State { s.Events = list; return s }); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) alarm(text string) {
	if _, err := r.e.live(r.t.Context(), "default", "idp", func(l *Live) { l.Alarm = text }); err != nil {
		r.t.Fatal(err)
	}
}
