package transmitter

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"countersign/internal/strictjson"
	"countersign/receipt"
	"countersign/set"
	"countersign/stream"
)

// Limits of what a receiver may set.
const (
	maxURL         = 2048
	maxHeader      = 4096
	maxDescription = 512 // runes; longer ones are cut (TX-52)
	maxReason      = 512
)

// create answers POST on the configuration endpoint, SSF 1.0 §8.1.1.1.
func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	c, ok := s.caller(w, r)
	if !ok {
		return
	}
	var want stream.Configuration
	if _, ok := s.body(w, r, &want); !ok {
		return
	}
	st := &Stream{ID: "str_" + set.NewID(), Receiver: c.Receiver, Algorithm: c.Algorithm, Status: Enabled}
	if err := s.apply(r.Context(), c, st, &want, true); err != nil {
		s.failed(w, r, err)
		return
	}
	if !allowed(w, c, ScopeManage) {
		return
	}
	if _, err := s.t.keys().signer(c.Algorithm); err != nil {
		s.failed(w, r, err)
		return
	}
	st.Audience = s.audience(c, st.ID)
	st.Created = At(s.cfg.Now())
	st.Updated = st.Created
	if err := s.cfg.Store.CreateStream(r.Context(), st, streamLimit(s.cfg, c)); err != nil {
		s.failed(w, r, err)
		return
	}
	s.changed(r.Context())
	reply(w, http.StatusCreated, s.configuration(c, st))
}

// readStreams answers GET: one object with stream_id, an array without, SSF 1.0 §8.1.1.2.
func (s *Server) readStreams(w http.ResponseWriter, r *http.Request) {
	c, ok := s.caller(w, r)
	if !ok {
		return
	}
	id, one, ok := streamID(w, r)
	if !ok {
		return
	}
	if one {
		st, err := s.cfg.Store.Stream(r.Context(), c.Receiver, id)
		if err != nil {
			s.failed(w, r, err)
			return
		}
		if allowed(w, c, ScopeRead) {
			reply(w, http.StatusOK, s.configuration(c, st))
		}
		return
	}
	if !allowed(w, c, ScopeRead) {
		return
	}
	streams, err := s.cfg.Store.Streams(r.Context(), c.Receiver)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	all := make([]stream.Configuration, 0, len(streams)) // [] and never null (TX-74)
	for i := range streams {
		all = append(all, s.configuration(c, &streams[i]))
	}
	reply(w, http.StatusOK, all)
}

// patch answers PATCH: top-level members that are present replace what was, SSF 1.0 §8.1.1.3.
func (s *Server) patch(w http.ResponseWriter, r *http.Request) { s.update(w, r, false) }

// put answers PUT: receiver-supplied members that are absent are deleted, SSF 1.0 §8.1.1.4.
func (s *Server) put(w http.ResponseWriter, r *http.Request) { s.update(w, r, true) }

func (s *Server) update(w http.ResponseWriter, r *http.Request, whole bool) {
	c, ok := s.caller(w, r)
	if !ok {
		return
	}
	var want stream.Configuration
	data, ok := s.body(w, r, &want)
	if !ok {
		return
	}
	if err := noNulls(data); err != nil { // TX-84
		s.failed(w, r, err)
		return
	}
	if want.StreamID == "" { // TX-40, TX-76, TX-87
		s.failed(w, r, bad("stream_id is missing"))
		return
	}
	// Checks that ask outside are made on a copy first, so that nothing slow happens in the transaction.
	now, err := s.cfg.Store.Stream(r.Context(), c.Receiver, want.StreamID)
	if err == nil {
		err = s.match(c, now, &want) // TX-79, TX-80: compared with what was before
	}
	if err == nil {
		err = s.apply(r.Context(), c, now, &want, whole)
	}
	if err != nil {
		s.failed(w, r, err)
		return
	}
	if !allowed(w, c, ScopeManage) {
		return
	}
	has := func(present bool) bool { return whole || present }
	settings := s.cfg.Vocabulary.Settings
	st, err := s.cfg.Store.UpdateStream(r.Context(), c.Receiver, want.StreamID, func(st *Stream) error {
		if has(want.EventsRequested != nil) {
			st.Requested, st.Delivered = now.Requested, now.Delivered
		}
		if has(want.Delivery != nil) {
			st.Method, st.Endpoint, st.Authorization = now.Method, now.Endpoint, now.Authorization
		}
		if has(want.Description != "" || present(data, "description")) {
			st.Description = now.Description
		}
		if has(want.Extra[settings] != nil) {
			st.Receipts, st.ReceiptIssuer = now.Receipts, now.ReceiptIssuer
		}
		st.Updated = At(s.cfg.Now())
		return nil
	})
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.changed(r.Context())
	reply(w, http.StatusOK, s.configuration(c, st)) // all of it (TX-82)
}

// remove answers DELETE, SSF 1.0 §8.1.1.5.
func (s *Server) remove(w http.ResponseWriter, r *http.Request) {
	c, ok := s.caller(w, r)
	if !ok {
		return
	}
	id, present, ok := streamID(w, r)
	if !ok {
		return
	}
	if !present {
		s.failed(w, r, bad("stream_id is missing; all streams are never deleted at once")) // TX-96
		return
	}
	if _, err := s.cfg.Store.Stream(r.Context(), c.Receiver, id); err != nil {
		s.failed(w, r, err)
		return
	}
	if !allowed(w, c, ScopeManage) {
		return
	}
	if err := s.cfg.Store.DeleteStream(r.Context(), c.Receiver, id); err != nil {
		s.failed(w, r, err)
		return
	}
	s.changed(r.Context())
	w.WriteHeader(http.StatusNoContent)
}

// changed takes the new state of the streams into memory, so that delivery obeys it at once. Where that fails the
// next sweep does it.
func (s *Server) changed(ctx context.Context) {
	if err := s.t.Reload(context.WithoutCancel(ctx)); err != nil {
		s.cfg.Log.WarnContext(ctx, "streams could not be read", "error", err)
	}
}

// apply sets the receiver-supplied members of want in st. With whole, absent ones get their defaults (create, PUT).
func (s *Server) apply(ctx context.Context, c Caller, st *Stream, want *stream.Configuration, whole bool) error {
	if whole || want.EventsRequested != nil {
		st.Requested = want.EventsRequested
		st.Delivered = s.deliver(c, want.EventsRequested)
	}
	if whole || want.Delivery != nil {
		if err := s.applyDelivery(ctx, c, st, want.Delivery); err != nil {
			return err
		}
	}
	if whole || want.Description != "" {
		st.Description = cut(want.Description, maxDescription)
	}
	if raw := want.Extra[s.cfg.Vocabulary.Settings]; s.cfg.Receipts != nil && (whole || raw != nil) {
		return s.applyReceipts(ctx, c, st, want)
	}
	return nil
}

// supported are the events that this caller may ask for.
func (s *Server) supported(c Caller) []string {
	if len(c.Events) == 0 {
		return s.cfg.Events
	}
	var out []string
	for _, typ := range s.cfg.Events {
		if slices.Contains(c.Events, typ) {
			out = append(out, typ)
		}
	}
	return out
}

// deliver is events_delivered: what is supported and requested; names we do not know are ignored (TX-48, TX-49).
// Where nothing is requested it is everything supported (TX-57).
func (s *Server) deliver(c Caller, requested []string) []string {
	supported := s.supported(c)
	if requested == nil {
		return slices.Clone(supported)
	}
	out := []string{}
	for _, typ := range supported {
		if slices.Contains(requested, typ) {
			out = append(out, typ)
		}
	}
	return out
}

func (s *Server) applyDelivery(ctx context.Context, c Caller, st *Stream, d *stream.Delivery) error {
	const pushOnly = "this transmitter delivers by push only: give delivery with method " + stream.PushMethod + " and an endpoint_url"
	switch {
	case d == nil: // poll would be assumed (SSF 1.0 §8.1.1.1); TX-64, TX-91
		return bad(pushOnly)
	case d.Method != stream.PushMethod:
		return bad(pushOnly)
	case d.EndpointURL == "":
		return bad("delivery.endpoint_url is missing")
	}
	if err := s.checkURL(ctx, c, "delivery.endpoint_url", d.EndpointURL); err != nil {
		return err
	}
	if err := checkHeader(d.AuthorizationHeader); err != nil {
		return err
	}
	st.Method, st.Endpoint, st.Authorization = d.Method, d.EndpointURL, d.AuthorizationHeader
	return nil
}

// checkURL holds an address that a receiver gave to its form, and asks AllowEndpoint (TX-70, P-36).
func (s *Server) checkURL(ctx context.Context, c Caller, name, raw string) error {
	u, err := url.Parse(raw)
	switch {
	case len(raw) > maxURL:
		return bad("%s is longer than %d octets", name, maxURL)
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return bad("%s is not a URL with a host", name)
	case u.Scheme != "https" && (u.Scheme != "http" || !s.cfg.InsecureHTTP):
		return bad("%s is not https", name)
	case u.User != nil:
		return bad("%s has a user in it", name)
	case !goodPort(u.Port()):
		return bad("%s has a port that does not exist", name)
	case strings.Contains(raw, "#"):
		return bad("%s has a fragment", name)
	}
	if s.cfg.AllowEndpoint != nil {
		if err := s.cfg.AllowEndpoint(ctx, c, u); err != nil {
			return bad("%s is not allowed: %s", name, printable(err.Error()))
		}
	}
	return nil
}

// goodPort reports whether a port can be connected to; none is the usual one.
func goodPort(port string) bool {
	n, err := strconv.Atoi(port)
	return port == "" || err == nil && n >= 1 && n <= 65535
}

// checkHeader refuses what may not stand in a header field, RFC 9110 §5.5.
func checkHeader(v string) error {
	if len(v) > maxHeader {
		return bad("delivery.authorization_header is longer than %d octets", maxHeader)
	}
	if strings.TrimSpace(v) != v {
		return bad("delivery.authorization_header has white space around it")
	}
	for i := range len(v) {
		if (v[i] < 0x20 && v[i] != '\t') || v[i] >= 0x7f {
			return bad("delivery.authorization_header has characters that a header field cannot have")
		}
	}
	return nil
}

// applyReceipts negotiates receipts, receipts design §3.2. No member: none, and no echo.
func (s *Server) applyReceipts(ctx context.Context, c Caller, st *Stream, want *stream.Configuration) error {
	st.Receipts, st.ReceiptIssuer = nil, ""
	theirs, _, asked, err := receipt.Requested(want.Extra, s.cfg.Vocabulary)
	if err != nil {
		return bad("%s: %s", s.cfg.Vocabulary.Settings, printable(err.Error()))
	}
	if !asked {
		return nil
	}
	issuer, err := url.Parse(theirs.ReceiptIssuer)
	if err != nil || issuer.Host == "" || issuer.Scheme != "https" && (issuer.Scheme != "http" || !s.cfg.InsecureHTTP) {
		return bad("receipt_issuer is not an https URL")
	}
	if theirs.JWKSURI != "" {
		if err := s.checkURL(ctx, c, "receipt_jwks_uri", theirs.JWKSURI); err != nil {
			return err
		}
	} else if keys, err := set.ParseJWKS(theirs.JWKS); err != nil || len(keys) == 0 {
		return bad("receipt_jwks holds no key that can be used")
	}
	answer, err := receipt.Answer(s.ours, theirs)
	if err != nil {
		return bad("%s: %s", s.cfg.Vocabulary.Settings, printable(err.Error()))
	}
	raw, err := answer.Marshal()
	if err != nil {
		return err
	}
	st.Receipts = raw
	if answer.Status == receipt.StatusActive {
		st.ReceiptIssuer = answer.ReceiptIssuer
	}
	return nil
}

// match refuses transmitter-supplied members that are present and differ (TX-79, TX-80, TX-85).
func (s *Server) match(c Caller, st *Stream, want *stream.Configuration) error {
	same := func(a, b []string) bool {
		for _, v := range a {
			if !slices.Contains(b, v) {
				return false
			}
		}
		for _, v := range b {
			if !slices.Contains(a, v) {
				return false
			}
		}
		return true
	}
	switch {
	case want.Issuer != "" && want.Issuer != s.cfg.Issuer:
		return bad("iss is not ours to change and differs")
	case want.Audience != nil && !same(want.Audience, st.Audience):
		return bad("aud cannot be changed and differs")
	case want.EventsSupported != nil && !same(want.EventsSupported, s.supported(c)):
		return bad("events_supported differs from what is supported")
	case want.EventsDelivered != nil && !same(want.EventsDelivered, st.Delivered):
		return bad("events_delivered differs from what was delivered so far")
	case want.MinVerificationInterval != 0 && want.MinVerificationInterval != s.interval():
		return bad("min_verification_interval differs")
	case want.InactivityTimeout != 0:
		return bad("inactivity_timeout differs: there is none")
	}
	return nil
}

func (s *Server) interval() int64 { return int64(s.cfg.MinVerification.Seconds()) }

func (s *Server) audience(c Caller, id string) []string {
	if s.cfg.Audience != nil {
		return s.cfg.Audience(c, id)
	}
	if len(c.Audience) > 0 {
		return slices.Clone(c.Audience)
	}
	return []string{s.cfg.base() + "/streams/" + id}
}

// configuration is a stream as its receiver sees it. The authorization header is a secret and stays here (TX-71).
func (s *Server) configuration(c Caller, st *Stream) stream.Configuration {
	out := stream.Configuration{
		StreamID: st.ID, Issuer: s.cfg.Issuer, Audience: st.Audience,
		EventsSupported: s.supported(c), EventsRequested: st.Requested, EventsDelivered: st.Delivered,
		Delivery:                &stream.Delivery{Method: st.Method, EndpointURL: st.Endpoint},
		MinVerificationInterval: s.interval(), Description: st.Description,
	}
	if out.EventsDelivered == nil {
		out.EventsDelivered = []string{} // REQUIRED (TX-49)
	}
	if st.Receipts != nil {
		out.Extra = map[string]json.RawMessage{s.cfg.Vocabulary.Settings: st.Receipts}
	}
	return out
}

// noNulls refuses null members in an update: SSF gives them no meaning (P-15).
func noNulls(data []byte) error {
	members, err := strictjson.Object(data)
	if err != nil {
		return bad("the body is not an object")
	}
	for _, m := range members {
		if string(m.Value) == "null" {
			return bad("%s is null; leave a member out or give it a value", printable(cut(m.Name, 80)))
		}
	}
	return nil
}

func present(data []byte, name string) bool {
	members, _ := strictjson.Object(data)
	return slices.ContainsFunc(members, func(m strictjson.Member) bool { return m.Name == name })
}

func cut(s string, runes int) string {
	if utf8.RuneCountInString(s) <= runes {
		return s
	}
	return string([]rune(s)[:runes])
}
