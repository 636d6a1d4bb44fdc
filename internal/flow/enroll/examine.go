package enroll

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/internal/partner"
	"countersign/receiver"
	"countersign/set"
	"countersign/stream"
)

// Results of a finding, and the sides that can put something right.
const (
	Fine = "ok"
	Warn = "warn"
	Fail = "fail"

	Ours    = "ours"
	Theirs  = "theirs"
	Between = "between"
)

// Finding is one thing that was looked at.
type Finding struct {
	Check  string `json:"check"`
	Result string `json:"result"`
	Seen   string `json:"seen"`
	Fix    string `json:"fix,omitempty"`
	Side   string `json:"side"`            // who can put it right
	Quirk  string `json:"quirk,omitempty"` // what of the other side's ways it is (Q-..)
}

// Examination is what the doctor found at a source.
type Examination struct {
	Source   string     `json:"source"`
	Profile  string     `json:"profile"`
	OK       bool       `json:"ok"` // nothing failed
	At       hub.Micros `json:"at"`
	Findings []Finding  `json:"findings"`
}

const (
	clockOff     = 30 * time.Second // more is worth a word; from 5 minutes on signals are refused
	maxLooked    = 1 << 20
	certSoon     = 14 * 24 * time.Hour
	examineWait  = 10 * time.Second // for a verification event
	slowestWait  = 40 * time.Second // where the profile says that the other side takes its time
	examineEvery = 100 * time.Millisecond
)

// exam is one examination under way.
type exam struct {
	e       *Enroller
	tenant  string
	src     *hub.Source
	s       *State
	profile *partner.Profile
	found   []Finding
	c       *receiver.Client
	md      *stream.Metadata
}

func (x *exam) say(check, result, side, seen, fix string) {
	x.found = append(x.found, Finding{Check: check, Result: result, Side: side, Seen: seen, Fix: fix})
}

// wrong says what failed, with the cure that the profile knows for what was seen, or else the usual one.
func (x *exam) wrong(ctx context.Context, check string, err error, side, fix string, words ...string) {
	seen := x.e.hide(ctx, x.tenant, x.src, reason(err))
	if t, ok := errors.AsType[*receiver.TokenError](err); ok { // what it said, then how it said it, then what was being done
		words = append([]string{t.Code, strconv.Itoa(t.Status)}, words...)
	}
	if n := status(err); n != 0 {
		words = append([]string{strconv.Itoa(n)}, words...)
	}
	text, of := "", ""
	if check != "keys" && check != "metadata" { // those are for everybody: an answer there says nothing of our credential
		text, of = partnerCure(x.profile, seen)
	} else {
		words = slices.DeleteFunc(words, func(w string) bool { return w != "" && w[0] >= '0' && w[0] <= '9' })
	}
	for _, w := range words {
		if text == "" {
			text, of = partner.Cure(x.profile, w)
		}
	}
	if text != "" {
		fix, side = text, of
	}
	x.say(check, Fail, side, seen, fix)
}

// Examine walks through everything that a source needs to be heard: each finding says what was seen, what to change, and on
// which side.
func (e *Enroller) Examine(ctx context.Context, tenant, source string) (*Examination, error) {
	src, err := e.Source(ctx, tenant, source)
	if err != nil {
		return nil, err
	}
	if src == nil {
		return nil, hub.Errorf(hub.NotFound, "there is no source %s", source)
	}
	s, err := Read(ctx, e.Store, tenant, source)
	if err != nil {
		return nil, err
	}
	if s == nil {
		s = fresh(src)
	}
	x := &exam{e: e, tenant: tenant, src: src, s: s}
	x.profile, _ = partner.Find(src.Profile)
	if x.profile != nil {
		x.say("profile", Fine, Ours, x.profile.Title+": "+x.profile.Known(), "")
	}
	for _, look := range []func(context.Context){x.metadata, x.keys, x.auth, x.stream, x.status, x.events, x.subjects, x.address, x.verification, x.signals} {
		look(ctx)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return &Examination{Source: source, Profile: cmp.Or(src.Profile, partner.Generic), At: hub.At(e.Now()), Findings: x.found,
		OK: !slices.ContainsFunc(x.found, func(f Finding) bool { return f.Result == Fail })}, nil
}

// fetch gets a document as anybody may, and what can be seen of the way there.
func (x *exam) fetch(ctx context.Context, address string) (body []byte, h http.Header, conn *tls.ConnectionState, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	req.Header.Set("Accept", "application/json")
	client := *x.e.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxLooked+1))
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		err = fmt.Errorf("it answers %d, and redirects are not followed", resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		err = fmt.Errorf("it answers %d", resp.StatusCode)
	case err == nil && len(body) > maxLooked:
		err = fmt.Errorf("it is longer than %d bytes", maxLooked)
	}
	return body, resp.Header, resp.TLS, err
}

// metadata looks for the transmitter's metadata, also at the places where it is not looked for otherwise.
func (x *exam) metadata(ctx context.Context) {
	x.c = &receiver.Client{HTTP: x.e.Client}
	key, at := x.tenant+"/"+x.src.Name, x.e.placeOf(x.src)
	md, used, err := x.e.metadata(ctx, x.c, key, at, true)
	if err == nil {
		x.md = md
		x.say("metadata", Fine, Theirs, used, "")
		x.clock(ctx, used)
		return
	}
	word, side, fix := "metadata", Theirs, "see that issuer is exactly what the transmitter calls itself, and that it publishes its metadata; metadata_url says where, if elsewhere"
	switch {
	case errors.Is(err, receiver.ErrIssuer):
		word, side, fix = "issuer", Ours, "write the issuer into the source exactly as the metadata has it, if that is the one you mean"
	case at.url == "" && !at.fallbacks:
		if _, elsewhere, ferr := x.c.DiscoverAny(ctx, at.issuer, "", true); ferr == nil {
			x.found = append(x.found, Finding{Check: "metadata", Result: Fail, Seen: "it is not at the address of SSF 1.0, and it is at " + elsewhere,
				Fix: "write metadata_url: " + elsewhere + ", or relax: [Q-01], into the source", Side: Ours, Quirk: "Q-01"})
			return
		}
	}
	if unreached(err) {
		side, fix = Between, reach
	}
	if k := x.src.Keys; x.src.Stream == None && k != nil && (k.JWKSURI != "" || len(k.JWKS) > 0) && (x.src.Auth == nil || x.src.Auth.Method == "" || x.src.Auth.Method == "none") {
		x.say("metadata", Warn, Between, x.e.hide(ctx, x.tenant, x.src, reason(err))+"; with stream: none, no auth and keys of its own the source does without it", "")
		return
	}
	x.wrong(ctx, "metadata", err, side, fix, word)
}

// reach is what to look at where nothing answered.
const reach = "see that this machine reaches the address, that its certificate is one that we trust (ca_file), and that egress.allow lists it where it is a private one"

func unreached(err error) bool {
	_, is := errors.AsType[*url.Error](err)
	return is
}

// notMade says why there is no stream as we want it: shortly, where that stands above already.
func (x *exam) notMade() {
	for _, f := range x.found {
		if f.Result == Fail && (f.Check == "metadata" || f.Check == "auth") {
			x.say("stream", Fail, f.Side, "it is not set up, for what "+f.Check+" says above", "put that right; it is tried again by itself")
			return
		}
	}
	fix, side := partnerCure(x.profile, x.s.Error)
	if fix == "" {
		fix, side = "put that right; it is tried again by itself", Between
	}
	x.say("stream", Fail, side, cmp.Or(x.s.Error, "it is "+x.s.Status), fix)
}

// clock compares the clocks, and looks at the certificate.
func (x *exam) clock(ctx context.Context, address string) {
	_, h, conn, err := x.fetch(ctx, address)
	if err != nil {
		return // it was read a moment ago
	}
	switch {
	case conn == nil:
		x.say("tls", Warn, Theirs, "the metadata comes over http: whoever is between can put other keys in its place", "serve it over https")
	case len(conn.PeerCertificates) > 0:
		end := conn.PeerCertificates[0].NotAfter
		if left := end.Sub(x.e.Now()); left < certSoon {
			x.say("tls", Warn, Theirs, "the certificate ends at "+end.UTC().Format(time.RFC3339), "renew it")
		} else {
			x.say("tls", Fine, Theirs, tls.VersionName(conn.Version)+", certificate until "+end.UTC().Format(time.DateOnly), "")
		}
	}
	theirs, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	off := theirs.Sub(x.e.Now()).Round(time.Second)
	switch {
	case off > 5*time.Minute || off < -5*time.Minute:
		x.say("clock", Fail, Between, fmt.Sprintf("the clocks differ by %v: its tokens are from the future, or ours are", off), "have both machines follow NTP")
	case off > clockOff || off < -clockOff:
		x.say("clock", Warn, Between, fmt.Sprintf("the clocks differ by %v", off), "have both machines follow NTP")
	default:
		x.say("clock", Fine, Between, fmt.Sprintf("the clocks differ by %v at most", max(off.Abs(), time.Second)), "")
	}
}

// keys looks at the keys that tokens are checked with.
func (x *exam) keys(ctx context.Context) {
	address := x.s.JWKSURI
	if x.md != nil && x.md.JWKSURI != "" {
		address = x.md.JWKSURI
	}
	var raw []byte
	switch k := x.src.Keys; {
	case k != nil && len(k.JWKS) > 0:
		address, raw = "the source's own document", k.JWKS
	case k != nil && k.JWKSURI != "":
		address = k.JWKSURI
	}
	if address == "" {
		if x.md != nil {
			x.say("keys", Fail, Theirs, "the metadata names no jwks_uri", "publish the keys and name them in the metadata, or write keys into the source")
		}
		return
	}
	if raw == nil {
		var h http.Header
		var err error
		if raw, h, _, err = x.fetch(ctx, address); err != nil {
			x.wrong(ctx, "keys", fmt.Errorf("%s: %w", address, err), Theirs, "see that the address of the keys (jwks_uri) answers", "keys")
			return
		}
		if mt, _, err := mime.ParseMediaType(h.Get("Content-Type")); err != nil || mt != "application/json" && mt != "application/jwk-set+json" {
			x.found = append(x.found, Finding{Check: "keys", Result: Warn, Side: Theirs, Quirk: "Q-06", Seen: "the keys are served as " + strconv.Quote(h.Get("Content-Type")), Fix: "serve them as application/json; other receivers refuse this"})
		}
	}
	keys, err := set.ParseJWKS(raw)
	switch {
	case err != nil:
		x.wrong(ctx, "keys", fmt.Errorf("%s: %w", address, err), Theirs, "publish a JWK set with public keys for signatures only", "keys")
	case len(keys) == 0:
		x.say("keys", Fail, Theirs, address+" has no key for signatures that we take", "publish an RSA, P-256 or Ed25519 key with use: sig")
	default:
		x.say("keys", Fine, Theirs, fmt.Sprintf("%d for signatures, at %s", len(keys), address), "")
	}
}

// auth gets a credential, and a new token where it is one that has tokens.
func (x *exam) auth(ctx context.Context) {
	method := "none"
	if x.src.Auth != nil && x.src.Auth.Method != "" {
		method = x.src.Auth.Method
	}
	c, err := x.e.calls(ctx, x.tenant, x.src)
	if err != nil {
		x.wrong(ctx, "auth", err, Ours, "put the secret that auth names there: countersign secret set NAME", "auth")
		return
	}
	x.c = c
	if c.Credential == nil {
		x.say("auth", Fine, Ours, "method none: we show nothing", "")
		return
	}
	probe, err := http.NewRequestWithContext(ctx, http.MethodGet, x.src.Issuer, nil)
	if err == nil {
		err = c.Credential.Authorize(probe)
	}
	switch {
	case errors.Is(err, receiver.ErrConsent):
		x.say("auth", Fail, Ours, "nobody has consented yet", "countersign source authorize "+x.src.Name)
		x.c = nil
	case unreached(err):
		x.say("auth", Fail, Between, x.e.hide(ctx, x.tenant, x.src, reason(err)), reach)
		x.c = nil
	case err != nil:
		x.wrong(ctx, "auth", err, Theirs, "compare client, method, secret or key, and scope with what is registered at the authorization server", "token")
		x.c = nil
	default:
		x.say("auth", Fine, Ours, method+": there is a credential to show", "")
	}
}

// able reports whether the stream API can be asked.
func (x *exam) able() bool { return x.c != nil && x.md != nil && x.s.StreamID != "" }

func (x *exam) stream(ctx context.Context) {
	name := x.src.Name
	if x.s.StreamID == "" {
		switch {
		case x.src.Stream == None && x.src.Delivery != "poll":
			x.say("stream", Fine, Ours, "stream: none: whoever set the transmitter up sends to our address", "")
		case x.src.Stream == None:
			x.say("stream", Warn, Ours, "stream: none, and no stream is known to poll", "countersign source stream "+name+" create, or read --stream-id ID; or write stream: create")
		case x.s.Error != "":
			x.notMade()
		default:
			x.say("stream", Warn, Ours, "it is not made yet", "look again in a moment")
		}
		return
	}
	if !x.able() {
		return
	}
	have, err := x.c.Read(ctx, x.md, x.s.StreamID)
	if err != nil {
		fix := "it is looked for and made anew by itself"
		if x.src.Stream == None {
			fix = "make one: countersign source stream " + name + " delete, then create"
		}
		x.wrong(ctx, "stream", err, Theirs, fix, "stream")
		return
	}
	if x.src.Stream != None {
		if want, err := x.e.want(ctx, x.tenant, x.src, x.s); err == nil {
			cfg := want.configuration()
			cfg.Description, cfg.EventsRequested = "", nil
			if d := receiver.Adopt(have, cfg); len(d) > 0 {
				x.say("stream", Fail, Ours, "the stream "+x.s.StreamID+" there has another "+d[0].Member+" than we want", "countersign source stream "+name+" update")
				return
			}
		}
		if x.s.Status != Made {
			x.notMade()
			return
		}
	}
	if len(have.Audience) > 0 && !slices.ContainsFunc(have.Audience, func(a string) bool { return slices.Contains(x.s.Audience, a) }) {
		x.say("stream", Fail, Ours, "the stream's audience is not the one that we take", "countersign source stream "+name+" read")
		return
	}
	x.say("stream", Fine, Ours, "the stream "+x.s.StreamID+", for "+strings.Join(x.s.Audience, " "), "")
}

// partnerCure looks for a status in an error's text that the profile knows a cure for.
func partnerCure(p *partner.Profile, text string) (fix, side string) {
	all := strings.FieldsFunc(text, func(r rune) bool { return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r == '_') })
	code := func(word string) bool { return strings.Contains(word, "_") }
	number := func(word string) bool { return word[0] >= '0' && word[0] <= '9' }
	for _, is := range []func(string) bool{code, number} { // what an error is called says more than its status
		for _, word := range all {
			if len(word) >= 3 && is(word) {
				if fix, side = partner.Cure(p, word); fix != "" {
					return fix, side
				}
			}
		}
	}
	return "", Theirs
}

func (x *exam) status(ctx context.Context) {
	if !x.able() || x.md.StatusEndpoint == "" {
		return
	}
	st, err := x.c.Status(ctx, x.md, x.s.StreamID)
	switch {
	case missing(err):
		return
	case err != nil:
		x.wrong(ctx, "status", err, Theirs, "see that our credential may read the stream's status (ssf.read)", "status")
	case st.Status == stream.Enabled:
		x.say("status", Fine, Theirs, "enabled", "")
	default:
		seen := "the stream is " + st.Status + " there"
		if st.Reason != "" {
			seen += ": " + x.e.hide(ctx, x.tenant, x.src, st.Reason)
		}
		x.say("status", Fail, Theirs, seen, "countersign source resume "+x.src.Name+"; what came meanwhile may be lost")
	}
}

func (x *exam) events(context.Context) {
	if x.s.StreamID == "" {
		return
	}
	var lacks []string
	for _, e := range x.s.Requested {
		if !slices.Contains(x.s.Events, e) {
			lacks = append(lacks, e)
		}
	}
	switch {
	case len(x.s.Events) == 0:
		x.found = append(x.found, Finding{Check: "events", Result: Fail, Seen: "the transmitter delivers no events on this stream (events_delivered is empty)",
			Fix: "have event types allowed for our client there, or ask for others with events", Side: Theirs, Quirk: "Q-12"})
	case len(lacks) > 0 && len(x.src.Events) > 0:
		x.found = append(x.found, Finding{Check: "events", Result: Warn, Seen: fmt.Sprintf("%d of %d types that were asked for are not delivered: %s", len(lacks), len(x.s.Requested), strings.Join(lacks, ", ")),
			Fix: "have them allowed for our client there, or leave them out of events", Side: Theirs, Quirk: "Q-12"})
	default:
		x.say("events", Fine, Theirs, "delivered: "+strings.Join(x.s.Events, ", "), "")
	}
	if x.profile != nil && len(x.profile.Silences) > 0 {
		x.found = append(x.found, Finding{Check: "silences", Result: Fine, Side: Theirs, Quirk: "Q-48", Seen: "it tells nothing when " + strings.Join(x.profile.Silences, "; ")})
	}
}

func (x *exam) subjects(context.Context) {
	if x.md == nil {
		return
	}
	switch {
	case x.md.DefaultSubjects == "NONE" && x.md.AddSubjectEndpoint != "":
		x.found = append(x.found, Finding{Check: "subjects", Result: Warn, Side: Ours, Quirk: "Q-20", Seen: "a new stream is about nobody there (default_subjects: NONE)",
			Fix: "countersign source subjects add " + x.src.Name + " FILE; or have the default changed there"})
	case x.md.DefaultSubjects == "NONE":
		x.found = append(x.found, Finding{Check: "subjects", Result: Warn, Side: Theirs, Quirk: "Q-20", Seen: "a new stream is about nobody there, and subjects cannot be added from here", Fix: "set up there whom the stream is about"})
	case x.md.DefaultSubjects == "ALL":
		x.say("subjects", Fine, Theirs, "all", "")
	case x.md.AddSubjectEndpoint == "":
		x.say("subjects", Fine, Theirs, "those that are set up there; they cannot be added from here", "")
	default:
		x.say("subjects", Fine, Theirs, "it does not say whom a new stream is about, usually all", "")
	}
}

// address looks at where signals have to arrive.
func (x *exam) address(context.Context) {
	if x.src.Delivery == "poll" {
		if x.s.PollURL == "" && x.s.StreamID != "" {
			x.found = append(x.found, Finding{Check: "address", Result: Fail, Side: Theirs, Quirk: "Q-63", Seen: "no address to poll is known", Fix: "countersign source stream " + x.src.Name + " read; or delete and create"})
		}
		return
	}
	u, err := url.Parse(x.e.ReceiveURL(x.s.ReceiveID))
	if err != nil {
		return
	}
	host := u.Hostname()
	switch {
	case u.Scheme != "https":
		x.say("address", Warn, Ours, "our receive address is http: many transmitters refuse it", "set tls and public_url")
	case host == "localhost" || strings.HasPrefix(host, "127.") || host == "::1":
		x.found = append(x.found, Finding{Check: "address", Result: Warn, Side: Ours, Quirk: "Q-55", Seen: "our receive address is on " + host + ", which only this machine reaches", Fix: "set public_url to an address that the transmitter reaches, or write delivery: poll"})
	default:
		x.say("address", Fine, Ours, "our receive address is at "+u.Scheme+"://"+u.Host, "")
	}
}

// verification asks for a verification event and waits for it.
func (x *exam) verification(ctx context.Context) {
	name := x.src.Name
	if !x.able() || x.src.Stream == None && x.src.Delivery == "poll" {
		return // nobody polls by itself there
	}
	state, err := x.e.ask(ctx, x.c, x.md, x.tenant, name, x.s.StreamID, "", false)
	switch {
	case missing(err):
		x.say("verification", Warn, Theirs, "the transmitter sends no verification events on request, so its silence is not noticed", "")
		return
	case status(err) == http.StatusTooManyRequests:
		seen := "it lets verification events be asked for only now and then"
		if x.s.Verified != 0 {
			seen += "; the last one came at " + x.s.Verified.Time().UTC().Format(time.RFC3339)
		}
		x.found = append(x.found, Finding{Check: "verification", Result: Warn, Side: Theirs, Quirk: "Q-22", Seen: seen, Fix: "look again later"})
		return
	case err != nil:
		x.wrong(ctx, "verification", err, Theirs, "see that our credential may ask for one (ssf.manage), and that our address is reached from there", "verification", "stream_verification_error")
		return
	}
	wait := x.e.wait
	if x.profile != nil {
		if d, err := time.ParseDuration(x.profile.Every); err == nil && d > 0 {
			wait = min(d+5*time.Second, slowestWait)
		}
	}
	began := time.Now()
	for time.Since(began) < wait && ctx.Err() == nil {
		s, err := Read(ctx, x.e.Store, x.tenant, name)
		if err == nil && s != nil && slices.ContainsFunc(s.Pending, func(a Asked) bool { return a.State == state && a.Came != 0 }) {
			x.say("verification", Fine, Between, "asked for, and arrived after "+time.Since(began).Round(time.Millisecond).String(), "")
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(examineEvery):
		}
	}
	fix, side := partner.Cure(x.profile, "verification")
	if fix == "" {
		fix, side = "see that the transmitter reaches our address (proxy, firewall, certificate, credential of push_auth), and what countersign source refused "+name+" says", Between
	}
	x.say("verification", Fail, side, fmt.Sprintf("asked for, and not arrived within %v", wait), fix)
}

// signals tells when we last heard of the source.
func (x *exam) signals(ctx context.Context) {
	if x.s.Alarm != "" {
		x.say("silence", Fail, Between, x.s.Alarm, "see verification above")
	}
	if x.e.LastSignal == nil {
		return
	}
	last, err := x.e.LastSignal(ctx, x.tenant, x.src.Name)
	switch {
	case err != nil:
	case last == 0:
		// A stream may verify well and be about nobody: verification proves nothing of that.
		fix, side := partner.Cure(x.profile, "silence")
		x.found = append(x.found, Finding{Check: "signals", Result: Warn, Side: side, Quirk: "Q-20", Seen: "no signal has come yet", Fix: "make something happen there, such as a sign-out. If nothing comes then: " + fix})
	default:
		x.say("signals", Fine, Between, "the last one came at "+last.Time().UTC().Format(time.RFC3339), "")
	}
}
