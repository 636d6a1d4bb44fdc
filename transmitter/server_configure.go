package transmitter

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"countersign/internal/strictjson"
	"countersign/receipt"
	"countersign/set"
	"countersign/stream"
)

// Limits of what a receiver may set.
const (
	maxURL         = 2048
	maxHeader      = 8192 // a JWT as credential is long
	maxDescription = 512  // runes; longer ones are cut (TX-52)
	maxReason      = 512
	maxAudience    = 1024
)

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
	if s.shape(c).terms {
		if err := s.applyTerms(st, want, whole); err != nil {
			return err
		}
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

// applyDelivery sets how SETs travel. Without a word about it a stream is polled (TX-60), but one that is pushed is
// not made a polled one by silence, which would lose its events (TX-91).
func (s *Server) applyDelivery(ctx context.Context, c Caller, st *Stream, d *stream.Delivery) error {
	if d == nil {
		if st.Method == stream.PushMethod {
			return bad("delivery is missing; a pushed stream does not become a polled one by leaving it out")
		}
		st.Method, st.Endpoint, st.Authorization = stream.PollMethod, "", ""
		return nil
	}
	methods := s.shape(c).methods
	switch {
	case d.Method == "":
		return bad("delivery.method is missing")
	case !slices.Contains(methods, d.Method): // TX-64
		return bad("delivery.method is none of %s", strings.Join(methods, ", "))
	case method(d.Method) == stream.PollMethod:
		// The address is ours to fill in (TX-61, TX-62). It may come back unchanged (TX-86), or be left out.
		if d.EndpointURL != "" && d.EndpointURL != s.pollURL(st.ID) {
			return bad("delivery.endpoint_url of a polled stream is this transmitter's to give; leave it out")
		}
		st.Method, st.Endpoint, st.Authorization = stream.PollMethod, "", ""
		return nil
	case d.EndpointURL == "":
		return bad("delivery.endpoint_url is missing")
	}
	if err := s.checkURL(ctx, c, "delivery.endpoint_url", d.EndpointURL); err != nil {
		return err
	}
	if err := checkHeader(d.AuthorizationHeader); err != nil {
		return err
	}
	st.Method, st.Endpoint, st.Authorization = stream.PushMethod, d.EndpointURL, d.AuthorizationHeader
	return nil
}

// pollURL is where a stream is polled: unique for each stream (TX-62).
func (s *Server) pollURL(id string) string { return s.cfg.base() + pathStreams + "/" + id + pathPoll }

// endpoint is delivery.endpoint_url as the receiver sees it: never missing.
func (s *Server) endpoint(st *Stream) string {
	if st.Method == stream.PollMethod {
		return s.pollURL(st.ID)
	}
	return st.Endpoint
}

// Endpoint gives the address at which a stream is delivered: the receiver's for push, ours for poll.
func (t *Transmitter) Endpoint(st *Stream) string { return t.Server.endpoint(st) }

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
	case strings.ContainsFunc(u.Host, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return bad("%s has a host that is not written in ASCII", name) // letters that look alike, wide dots and digits
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
func (s *Server) match(c Caller, st *Stream, want *stream.Configuration, has func(name string) bool) error {
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
	case has("iss") && want.Issuer != s.cfg.Issuer:
		return bad("iss is not ours to change and differs")
	case has("aud") && !same(want.Audience, st.Audience):
		return bad("aud cannot be changed and differs")
	case has("events_supported") && !same(want.EventsSupported, s.supported(c)):
		return bad("events_supported differs from what is supported")
	case has("events_delivered") && !same(want.EventsDelivered, st.Delivered):
		return bad("events_delivered differs from what was delivered so far")
	case has("min_verification_interval") && want.MinVerificationInterval != s.interval(st):
		return bad("min_verification_interval differs")
	case has("inactivity_timeout") && want.InactivityTimeout != st.InactivityTimeout:
		return bad("inactivity_timeout differs")
	}
	return nil
}

// interval is the least number of seconds between two verification requests on a stream.
func (s *Server) interval(st *Stream) int64 {
	if st.MinVerification > 0 {
		return st.MinVerification
	}
	return int64(s.cfg.MinVerification / time.Second)
}

// audience makes the aud of a new stream.
func (s *Server) audience(c Caller, id string, want *stream.Configuration) []string {
	switch sh := s.shape(c); {
	case sh.terms && len(want.Audience) > 0: // LEG-21
		return slices.Clone(want.Audience)
	case s.cfg.Audience != nil:
		return s.cfg.Audience(c, id)
	case len(c.Audience) > 0:
		return slices.Clone(c.Audience)
	case sh.single: // LEG-16: the OAuth client id
		return []string{c.Receiver}
	}
	return []string{s.cfg.base() + "/streams/" + id}
}

// fromOperator checks what an operator says of a stream as if its receiver had asked for it, and makes a new stream of it.
func (s *Server) fromOperator(ctx context.Context, c Caller, from *Stream) (*Stream, error) {
	st := s.blank(c)
	want := &stream.Configuration{EventsRequested: from.Requested, Description: from.Description}
	st.Shape = from.Shape
	if from.Method != "" || from.Endpoint != "" {
		want.Delivery = &stream.Delivery{Method: from.Method, EndpointURL: from.Endpoint, AuthorizationHeader: from.Authorization}
		if want.Delivery.Method == stream.PollMethod {
			want.Delivery.EndpointURL = ""
		}
	}
	if from.Receipts != nil {
		if s.cfg.Receipts == nil {
			return nil, bad("receipts are not offered here")
		}
		want.Extra = map[string]json.RawMessage{s.cfg.Vocabulary.Settings: from.Receipts}
	}
	for _, text := range append([]string{from.Name, from.Set, from.Receiver}, from.Audience...) {
		if cleanText("a name", text) != nil {
			return nil, bad("a name holds text that cannot be kept")
		}
	}
	if err := s.apply(ctx, c, st, want, true); err != nil {
		return nil, err
	}
	if _, err := s.t.keys().signer(from.Algorithm); err != nil {
		return nil, bad("alg: there is no signing key for %s", from.Algorithm)
	}
	switch from.Status {
	case "":
	case Enabled, Paused, Disabled:
		st.Status, st.Reason = from.Status, cut(from.Reason, maxReason)
	default:
		return nil, bad("status is not one of enabled, paused, disabled")
	}
	st.Audience = s.audience(c, st.ID, want)
	st.Name, st.Set, st.Window, st.Naming, st.Format = from.Name, from.Set, from.Window, from.Naming, from.Format
	st.MinVerification = from.MinVerification
	if from.InactivityTimeout > 0 {
		st.InactivityTimeout = from.InactivityTimeout
	}
	return st, nil
}

// noNulls refuses null members of a configuration: SSF gives them no meaning (P-15).
func noNulls(data []byte) error {
	members, err := strictjson.Members(data)
	if err != nil {
		return bad("the body is not an object")
	}
	for _, m := range members {
		if string(m.Value) == "null" {
			return bad("%s is null; leave a member out or give it a value", printable(cut(m.Name, 80)))
		}
		if m.Name == "delivery" {
			if err := noNulls(m.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

func present(data []byte, name string) bool {
	members, _ := strictjson.Members(data)
	return slices.ContainsFunc(members, func(m strictjson.Member) bool { return m.Name == name })
}

func cut(s string, runes int) string {
	if utf8.RuneCountInString(s) <= runes {
		return s
	}
	return string([]rune(s)[:runes])
}
