package enroll

import (
	"context"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/internal/partner"
	"countersign/internal/req"
	"countersign/stream"
)

// The doctor knows a partner's ways: what is seen gets the quirk's id, what to change, and on which side.
func TestDoctorNamesQuirks(t *testing.T) {
	last := hub.Micros(0)
	finding := func(profile string, do func(x *exam), check string) Finding {
		t.Helper()
		x := &exam{e: &Enroller{Config: Config{LastSignal: func(context.Context, string, string) (hub.Micros, error) { return last, nil },
			ReceiveURL: func(string) string { return "https://localhost:8443/receive/x" }}},
			src: &hub.Source{Name: "idp", Profile: profile, Delivery: "push"}, s: &State{StreamID: "s1"}, md: &stream.Metadata{}}
		x.profile, _ = partner.Find(profile)
		do(x)
		for _, f := range x.found {
			if f.Check == check {
				return f
			}
		}
		t.Errorf("%s: nothing is said of %s: %+v", profile, check, x.found)
		return Finding{}
	}
	want := func(f Finding, result, side, quirk string, words ...string) {
		t.Helper()
		if f.Result != result || f.Side != side || f.Quirk != quirk {
			t.Errorf("%+v, want %s, %s, %s", f, result, side, quirk)
		}
		for _, w := range words {
			if !strings.Contains(f.Seen+" "+f.Fix, w) {
				t.Errorf("%+v does not say %q", f, w)
			}
		}
	}
	ctx := t.Context()
	// Nothing is delivered, or less than was asked for; an absent events_delivered is an empty one.
	want(finding("", func(x *exam) { x.s.Requested = []string{"a"}; x.events(ctx) }, "events"), Fail, Theirs, "Q-12", "delivers no events")
	want(finding("", func(x *exam) {
		x.src.Events, x.s.Requested, x.s.Events = []string{"a"}, []string{"a", "b"}, []string{"a"}
		x.events(ctx)
	}, "events"), Warn, Theirs, "Q-12", "1 of 2 types", ": b")
	want(finding("", func(x *exam) { x.s.Requested, x.s.Events = []string{"a"}, []string{"a"}; x.events(ctx) }, "events"), Fine, Theirs, "")
	// What is never told.
	want(finding("keycloak", func(x *exam) { x.s.Events = []string{"a"}; x.events(ctx) }, "silences"), Fine, Theirs, "Q-48", "an administrator ends one session")
	// A stream about nobody, which verifies all the same: no signal since it was made, and default_subjects is named.
	want(finding("keycloak", func(x *exam) { x.md.DefaultSubjects, x.md.AddSubjectEndpoint = "NONE", "https://x"; x.subjects(ctx) }, "subjects"), Warn, Ours, "Q-20", "source subjects add idp")
	want(finding("keycloak", func(x *exam) { x.md.DefaultSubjects = "NONE"; x.subjects(ctx) }, "subjects"), Warn, Theirs, "Q-20")
	want(finding("keycloak", func(x *exam) { x.signals(ctx) }, "signals"), Warn, Theirs, "Q-20", "no signal has come yet", "ssf.defaultSubjects=ALL")
	want(finding("", func(x *exam) { x.signals(ctx) }, "signals"), Warn, Theirs, "Q-20", "default_subjects")
	last = hub.At(time.Unix(1_800_000_000, 0))
	want(finding("keycloak", func(x *exam) { x.signals(ctx) }, "signals"), Fine, Between, "", "2027-01-15")
	// Addresses.
	want(finding("keycloak", func(x *exam) { x.address(ctx) }, "address"), Warn, Ours, "Q-55", "delivery: poll")
	want(finding("keycloak", func(x *exam) { x.src.Delivery = "poll"; x.address(ctx) }, "address"), Fail, Theirs, "Q-63", "no address to poll")
	req.Covers(t, "RX-19", "RX-34", "Q-12", "Q-20", "Q-26", "Q-48", "Q-55", "L-6")
}

// Nobody is asked for a verification event sooner than the stream allows.
func TestVerificationIsNotAskedForTooOften(t *testing.T) {
	s := &State{MinVerification: 3600}
	if got := every(&hub.Source{Verify: &hub.Verify{Every: "1m"}}, s); got != time.Hour {
		t.Errorf("%v", got)
	}
	if got := every(&hub.Source{Verify: &hub.Verify{Every: "2h"}}, s); got != 2*time.Hour {
		t.Errorf("%v", got)
	}
	req.Covers(t, "L-7", "RX-45")
}
