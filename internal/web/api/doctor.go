package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/internal/sight"
	"countersign/set"
	"countersign/stream"
	"countersign/transmitter"
)

// Bounds of an examination.
const (
	probeTime    = 10 * time.Second // one fetch from our public address
	probeSize    = 1 << 20
	roundTripGap = 50 * time.Millisecond
	clockOff     = 30 * time.Second
)

// patience is how long the doctor waits for what becomes of a verification event.
const patience = 10 * time.Second

// Results of a diagnosis, and the sides that can put something right.
const (
	fine = "ok"
	warn = "warn"
	fail = "fail"

	us       = "us"
	receiver = "receiver"
	between  = "between"
)

// exam collects what the doctor finds at one stream.
type exam struct {
	d     *Door
	r     *request
	o     office
	v     *transmitter.StreamView
	now   time.Time
	found []Diagnosis
	date  time.Time // of the answer at our public address
	own   bool      // the certificate there is self-signed
}

func (x *exam) say(check, result, side, seen, fix string) {
	x.found = append(x.found, Diagnosis{check, result, seen, fix, side})
}

// examineStream looks at everything that a stream needs to deliver, in the order in which a receiver meets it.
func (d *Door) examineStream(w http.ResponseWriter, r *request) error {
	if _, _, err := query(r.Request); err != nil {
		return err
	}
	o, v, err := d.oneStream(r)
	if err != nil {
		return err
	}
	x := &exam{d: d, r: r, o: o, v: v, now: d.c.Now()}
	x.metadata()
	x.clock()
	for _, look := range []func() error{x.client, x.status, x.events, x.subjects, x.endpoint, x.verification, x.waiting, x.dead, x.inactivity} {
		if err := look(); err != nil {
			return err
		}
	}
	s := &v.Stream
	a := Examination{Stream: s.ID, Name: s.Name, Client: s.Receiver, At: hub.At(x.now), Findings: x.found,
		OK: !slices.ContainsFunc(x.found, func(f Diagnosis) bool { return f.Result == fail })}
	return writeJSON(w, http.StatusOK, a)
}

// fetch reads JSON from our public address, as a receiver would.
func (x *exam) fetch(address string) ([]byte, error) {
	client := x.d.c.Probe
	if client == nil {
		client = &http.Client{Timeout: probeTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), probeTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if t := resp.TLS; t != nil && len(t.PeerCertificates) > 0 {
		x.own = bytes.Equal(t.PeerCertificates[0].RawIssuer, t.PeerCertificates[0].RawSubject)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, probeSize))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %d", resp.StatusCode)
	}
	if mt, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || mt != "application/json" && mt != "application/jwk-set+json" {
		return nil, errors.New("it answers with another type than application/json")
	}
	if t, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		x.date = t
	}
	return data, nil
}

// metadata asks for our metadata and keys at the public address.
func (x *exam) metadata() {
	if x.d.c.Issuer == nil {
		return
	}
	issuer := x.d.c.Issuer(x.r.tenant)
	address, err := stream.MetadataURL(issuer)
	if err != nil {
		x.say("metadata", fail, us, "the issuer "+issuer+" is no address", "set public_url in the configuration")
		return
	}
	reach := "see that public_url is the address under which receivers reach the outside listener, with a certificate that they trust"
	data, err := x.fetch(address)
	if err != nil {
		x.say("metadata", fail, us, address+": "+err.Error(), reach)
		return
	}
	var m stream.Metadata
	switch err := json.Unmarshal(data, &m); {
	case err != nil:
		x.say("metadata", fail, us, address+" has something else than our metadata", reach)
		return
	case m.Issuer != issuer:
		x.say("metadata", fail, us, address+" names the issuer "+short(m.Issuer)+", not "+issuer, reach)
		return
	}
	// Whoever answers at our address says where to go next: only where we are ourselves.
	if m.JWKSURI != strings.TrimSuffix(issuer, "/")+"/jwks.json" {
		x.say("metadata", fail, us, address+" names keys at "+short(m.JWKSURI)+", which is not where ours are", reach)
		return
	}
	x.say("metadata", fine, us, address, "")
	if x.own {
		x.say("certificate", warn, us, "it is self-signed: receivers refuse it unless they are told to trust it", "set public_url and tls with a certificate that receivers trust, or give them the hub's, self-signed.pem in its data folder")
	}
	x.keys(m.JWKSURI)
}

// keys holds what is published to what signs.
func (x *exam) keys(address string) {
	data, err := x.fetch(address)
	if err != nil {
		x.say("keys", fail, us, address+": "+err.Error(), "without our keys a receiver cannot check a signature")
		return
	}
	all, err := set.ParseJWKS(data)
	if err != nil {
		x.say("keys", fail, us, address+" has no key set", "see what answers at that address")
		return
	}
	now, alg := x.now.Unix(), x.v.Stream.Algorithm
	fit, ids := 0, map[string]bool{}
	for _, k := range all {
		ids[k.ID] = true
		if (alg == "" || k.Algorithm == "" || k.Algorithm == alg) && k.Revoked == nil && (k.Expires == 0 || now < k.Expires) && now >= k.NotBefore {
			fit++
		}
	}
	used, err := x.o.streams.KeysInUse(x.r.Context())
	if err != nil {
		x.say("keys", warn, us, "which keys are in use cannot be said now", "look at the hub's log")
		return
	}
	var lost []string
	for kid, n := range used {
		if n > 0 && !ids[kid] {
			lost = append(lost, kid)
		}
	}
	slices.Sort(lost)
	switch {
	case fit == 0:
		x.say("keys", fail, us, fmt.Sprintf("none of the %s at %s is in force for %s", sight.Count(int64(len(all)), "key", "keys"), address, cmp.Or(alg, "the stream")), "countersign key rotate")
	case len(lost) > 0:
		x.say("keys", fail, us, "SETs wait for a signature with "+short(strings.Join(lost, ", "))+", which is not published", "countersign key list")
	default:
		x.say("keys", fine, us, fmt.Sprintf("%s published at %s, %d in force for %s", sight.Count(int64(len(all)), "key", "keys"), address, fit, cmp.Or(alg, "this stream")), "")
	}
}

// clock compares our clock with the one of whatever answers at the public address.
func (x *exam) clock() {
	if x.date.IsZero() {
		return
	}
	off := x.now.Sub(x.date).Abs()
	if off > clockOff {
		x.say("clock", warn, us, fmt.Sprintf("our clock and the one at our public address differ by %s", off.Round(time.Second)), "set both by NTP; receivers refuse SETs from the future")
		return
	}
	x.say("clock", fine, us, sight.At(hub.At(x.now)), "")
}

// client looks at whose stream it is.
func (x *exam) client() error {
	s := &x.v.Stream
	res, err := x.d.c.Store.Resource(x.r.Context(), x.r.tenant, hub.KindClient, s.Receiver)
	if err != nil && hub.CodeOf(err) != hub.NotFound {
		return err
	}
	if err != nil || res == nil {
		x.say("client", fail, us, "there is no client "+short(s.Receiver), "apply a document of kind client")
		return nil
	}
	scopes, err := clientScopes(res)
	if err != nil {
		return err
	}
	has := func(any ...string) bool {
		return slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(any, s) })
	}
	switch {
	case s.Method != stream.PushMethod && !has(transmitter.ScopeRead, transmitter.ScopeManage):
		x.say("client", fail, us, "client "+s.Receiver+" may not poll", "give it the scope ssf.read")
	case s.ReceiptIssuer != "" && !has(transmitter.ScopeManageReceipts, transmitter.ScopeManage):
		x.say("client", fail, us, "client "+s.Receiver+" may not send receipts, and orders go out on this stream", "give it the scope ssf.manage.receipts")
	case s.Name == "" && !has(transmitter.ScopeManage):
		x.say("client", warn, us, "client "+s.Receiver+" made this stream and may no longer change it", "give it the scope ssf.manage")
	default:
		x.say("client", fine, us, s.Receiver+", with "+strings.Join(scopes, " "), "")
	}
	return nil
}

func (x *exam) status() error {
	s := &x.v.Stream
	resume := "countersign stream resume " + nameOf(s)
	switch s.Status {
	case transmitter.Paused:
		x.say("status", warn, between, sight.Because("the stream is paused, and SETs are held", s.Reason), resume)
	case transmitter.Disabled:
		x.say("status", fail, between, sight.Because("the stream is disabled, and nothing is kept for it", s.Reason), resume)
	default:
		x.say("status", fine, us, "enabled", "")
	}
	return nil
}

func (x *exam) events() error {
	s := &x.v.Stream
	switch {
	case len(s.Delivered) == 0 && len(s.Requested) > 0:
		x.say("events", fail, between, fmt.Sprintf("none of the %s that the receiver asked for is offered to it", sight.Count(int64(len(s.Requested)), "type", "types")), "compare events_requested with `countersign event types`; capitals count")
	case len(s.Delivered) == 0:
		x.say("events", fail, us, "the stream delivers no event type", "name some in events of the stream or its client")
	case len(s.Requested) > len(s.Delivered):
		x.say("events", warn, between, fmt.Sprintf("%d of the %d types that were asked for are delivered", len(s.Delivered), len(s.Requested)), "countersign stream show "+nameOf(s))
	default:
		x.say("events", fine, us, sight.Count(int64(len(s.Delivered)), "type is delivered", "types are delivered"), "")
	}
	return nil
}

func (x *exam) subjects() error {
	s, n := &x.v.Stream, x.v.Counts.Subjects
	switch {
	case s.DefaultSubjects == stream.DefaultNone && n == 0:
		x.say("subjects", fail, receiver, "the stream can deliver nothing: default_subjects is NONE, and no subject was added", "the receiver adds subjects, or: countersign stream subject add "+nameOf(s)+"; or make the stream with default_subjects: ALL")
	case s.DefaultSubjects == stream.DefaultNone:
		x.say("subjects", fine, receiver, "NONE, and "+sight.Count(n, "entry", "entries")+" on its list", "")
	case n > 0:
		x.say("subjects", fine, receiver, "ALL, and "+sight.Count(n, "entry", "entries")+" on its list", "")
	default:
		x.say("subjects", fine, receiver, "ALL", "")
	}
	for _, w := range x.v.Warnings {
		x.say("transmitter", warn, us, w, "")
	}
	return nil
}
