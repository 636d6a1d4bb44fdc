package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
	"countersign/internal/strictjson"
	"countersign/receipt"
	"countersign/set"
	"countersign/stream"
)

// sendFlags are those of send.
type sendFlags struct {
	to, issuer                   string
	audience                     []string
	eventType, subject, payload  string
	order, txn, claims, raw, jti string
	headers                      []string
	print, insecure              bool
	timeout                      time.Duration
	signer                       signerFlags
}

func (a *App) sendCommand() *cobra.Command {
	var f sendFlags
	c := &cobra.Command{Use: "send --to URL …", Short: "Sign any SET and push it anywhere, without a hub", Args: exact(0),
		Long: "Send makes a Security Event Token, signs it, pushes it (RFC 8935), and shows the answer. What is sent is what you say,\n" +
			"right or wrong: it is for trying receivers. The exit status is that of the answer: 0 taken, 2 refused, 3 the caller\n" +
			"is refused, 4 nothing there, 5 try again.",
		Example: `  countersign send --to https://receiver.example.test/events --iss https://idp.example.test --aud https://receiver.example.test \
    --new-key --jwks-out jwks.json --event caep/session-revoked --subject '{"format":"email","email":"alice@example.test"}'
  countersign send --print --key idp.pem --claims claims.json`,
		RunE: func(c *cobra.Command, _ []string) error { return a.send(c.Context(), f) }}
	s := c.Flags()
	s.StringVar(&f.to, "to", "", "address to push to; with --print it may be left out")
	s.StringVar(&f.issuer, "iss", "", "issuer")
	s.StringArrayVar(&f.audience, "aud", nil, "audience; may be repeated")
	s.StringVar(&f.eventType, "event", "", "event type, by name or URI")
	s.StringVar(&f.subject, "subject", "", "subject identifier, JSON")
	s.StringVar(&f.payload, "payload", "", "the event's members, JSON")
	s.StringVar(&f.order, "order", "", "file with a directive: makes the token an order")
	s.StringVar(&f.txn, "txn", "", "transaction id")
	s.StringVar(&f.jti, "jti", "", "id of the token; made up otherwise")
	s.StringVar(&f.claims, "claims", "", "file with the whole claims object, signed as it stands; - is standard input")
	s.StringVar(&f.raw, "raw", "", "file with a token that is sent as it stands; - is standard input")
	s.StringArrayVar(&f.headers, "header", nil, "one more header field, as in 'Authorization: Bearer …'; may be repeated")
	s.StringVar(&f.signer.file, "key", "", "private key: PEM, JWK or JWK Set")
	s.BoolVar(&f.signer.fresh, "new-key", false, "make a key; with --key it is written there")
	s.StringVar(&f.signer.alg, "alg", "", "RS256, PS256, ES256 or EdDSA; the key's own otherwise")
	s.StringVar(&f.signer.kid, "kid", "", "key id; the key's thumbprint otherwise")
	s.StringVar(&f.signer.jwksOut, "jwks-out", "", "write the public key as a JWK Set to this file; - is standard output")
	s.BoolVar(&f.print, "print", false, "print the token")
	s.DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for the answer")
	s.BoolVar(&f.insecure, "insecure-http", false, "allow http to this machine")
	return c
}

// sent is what send prints with --json.
type sent struct {
	To       string            `json:"to,omitempty"`
	JTI      string            `json:"jti,omitempty"`
	SetHash  string            `json:"set_hash,omitempty"`
	Token    string            `json:"token,omitempty"`
	Status   int               `json:"status,omitempty"`
	Millis   int64             `json:"elapsed_ms,omitempty"`
	Answer   string            `json:"answer,omitempty"`
	RetryIn  string            `json:"retry_after,omitempty"`
	Location string            `json:"location,omitempty"`
	Error    *stream.WireError `json:"error,omitempty"`
}

func (a *App) send(ctx context.Context, f sendFlags) error {
	if f.to == "" && !f.print {
		return hub.Errorf(hub.Invalid, "to whom? --to is needed").WithHint("give --to URL, or --print to see the token only")
	}
	var target *url.URL
	header := http.Header{}
	if f.to != "" {
		var err error
		if target, err = url.Parse(f.to); err != nil {
			return hub.Errorf(hub.Invalid, "--to: %w", err)
		}
		if err := plainHTTP(target, f.insecure); err != nil {
			return err
		}
		for _, h := range f.headers {
			name, value, ok := strings.Cut(h, ":")
			if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(h, "\r\n") {
				return hub.Errorf(hub.Invalid, "--header wants NAME: VALUE").WithHint("as in --header 'Authorization: Bearer …'")
			}
			header.Add(name, strings.TrimSpace(value))
		}
	}
	token, err := a.token(f)
	if err != nil {
		return err
	}
	out := sent{To: f.to}
	if u, err := set.Parse(token); err == nil {
		claims := u.Claims()
		out.JTI, out.SetHash = claims.ID, u.Address()
	}
	if f.print || f.to == "" {
		out.Token = token
		a.say("%s", token)
	}
	if target == nil {
		if a.flags.json {
			return a.object(out)
		}
		return nil
	}
	if err := a.push(ctx, f, header, token, &out); err != nil {
		return err
	}
	if a.flags.json {
		if err := a.object(out); err != nil {
			return err
		}
	} else {
		a.showAnswer(out)
	}
	return answerError(out)
}

// token gives the compact token that the flags describe.
func (a *App) token(f sendFlags) (string, error) {
	if f.raw != "" {
		if f.claims != "" || f.eventType != "" || f.signer.file != "" || f.signer.fresh {
			return "", hub.Errorf(hub.Invalid, "--raw sends a token as it stands; it goes with no other part of one")
		}
		data, err := a.readArg(f.raw)
		if err != nil {
			return "", hub.Errorf(hub.Invalid, "--raw: %w", err)
		}
		return strings.TrimSpace(string(data)), nil
	}
	var payload []byte
	var err error
	if f.claims != "" {
		if f.eventType != "" || f.subject != "" || f.payload != "" || f.issuer != "" || len(f.audience) > 0 || f.order != "" || f.txn != "" || f.jti != "" {
			return "", hub.Errorf(hub.Invalid, "--claims has the whole claims object; it goes with no other part of one")
		}
		if payload, err = a.readArg(f.claims); err != nil {
			return "", hub.Errorf(hub.Invalid, "--claims: %w", err)
		}
		payload = bytes.TrimSpace(payload)
	} else if payload, err = a.claims(f); err != nil {
		return "", err
	}
	s, err := a.signer(f.signer)
	if err != nil {
		return "", err
	}
	return s.Sign(payload)
}

// claims makes the claims object of the flags.
func (a *App) claims(f sendFlags) ([]byte, error) {
	switch {
	case f.eventType == "":
		return nil, hub.Errorf(hub.Invalid, "--event is needed").WithHint("countersign event types; or --claims FILE for a whole claims object")
	case f.issuer == "" || len(f.audience) == 0:
		return nil, hub.Errorf(hub.Invalid, "--iss and --aud are needed").WithHint("as the receiver expects them; or --claims FILE for a whole claims object")
	}
	uri := f.eventType
	reg := registry()
	if t, ok := reg.Resolve(uri); ok {
		uri = t.URI
	} else if u, err := url.Parse(uri); err != nil || u.Scheme == "" {
		return nil, hub.Errorf(hub.Invalid, "the event type %q is neither a name that is known nor a URI", uri).WithHint("countersign event types")
	}
	claims := set.Claims{Issuer: f.issuer, Audience: f.audience, IssuedAt: time.Now().Unix(), ID: cmp.Or(f.jti, set.NewID()), TXN: f.txn}
	if f.subject != "" {
		claims.SubID = json.RawMessage(f.subject)
	}
	payload := json.RawMessage(cmp.Or(f.payload, "{}"))
	for flag, text := range map[string]json.RawMessage{"subject": claims.SubID, "payload": payload} {
		if text != nil && strictjson.Check(text, strictjson.Limits{}) != nil {
			return nil, hub.Errorf(hub.Invalid, "--%s is not JSON", flag).WithHint(`in quotes, as in --subject '{"format":"email","email":"alice@example.test"}'`)
		}
	}
	claims.Events = []set.Event{{Type: uri, Payload: payload}}
	if f.order != "" {
		data, err := os.ReadFile(f.order)
		if err != nil {
			return nil, hub.Errorf(hub.Invalid, "--order: %w", err)
		}
		if strictjson.Check(data, strictjson.Limits{}) != nil {
			return nil, hub.Errorf(hub.Invalid, "--order: %s is not JSON", f.order)
		}
		claims.Extra = append(claims.Extra, set.Member{Name: receipt.Default().Directive, Value: data})
	}
	if _, err := reg.Decode(uri, payload); err != nil {
		a.note("Sent as you say, though the event is not one: %v", err)
	}
	out, err := claims.Marshal()
	if err != nil {
		return nil, hub.Errorf(hub.Invalid, "%w", err).WithHint("--claims FILE signs any claims object, also one that breaks the rules")
	}
	return out, nil
}

// push sends the token, and keeps the answer in out.
func (a *App) push(ctx context.Context, f sendFlags, header http.Header, token string, out *sent) error {
	cl, err := a.outside(f.timeout, f.insecure)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.to, strings.NewReader(token))
	if err != nil {
		return hub.Errorf(hub.Invalid, "--to: %w", err)
	}
	req.Header.Set("Content-Type", "application/secevent+jwt")
	req.Header.Set("Accept", "application/json")
	for name, values := range header {
		req.Header[name] = values
	}
	began := time.Now()
	resp, err := cl.Do(req)
	if err != nil {
		return reached(req.URL.Host, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return reached(req.URL.Host, err)
	}
	out.Status, out.Millis = resp.StatusCode, time.Since(began).Milliseconds()
	out.Answer = strings.ToValidUTF8(string(body), "\ufffd")
	out.RetryIn, out.Location = resp.Header.Get("Retry-After"), resp.Header.Get("Location")
	var we stream.WireError
	if json.Unmarshal(body, &we) == nil && we.Err != "" {
		out.Error, out.Answer = &we, ""
	}
	return nil
}

func (a *App) showAnswer(out sent) {
	line := fmt.Sprintf("%d %s  %d ms", out.Status, http.StatusText(out.Status), out.Millis)
	if out.JTI != "" {
		line += "  jti " + out.JTI
	}
	a.say("%s", line)
	if out.RetryIn != "" {
		a.say("  retry after %s", out.RetryIn)
	}
	if out.Location != "" {
		a.say("  location %s (redirects are not followed)", out.Location)
	}
	if out.Error != nil {
		text := out.Error.Err
		if out.Error.ReceiptError != "" {
			text += " (" + out.Error.ReceiptError + ")"
		}
		a.say("  %s: %s", text, out.Error.Description)
	}
	for _, l := range splitLines(out.Answer) {
		if l != "" {
			a.say("  %s", l)
		}
	}
}

// answerError is the exit status of an answer: that of the hub.Code that the same HTTP status stands for.
func answerError(out sent) error {
	code := hub.Invalid
	switch s := out.Status; {
	case s >= 200 && s < 300:
		return nil
	case s == 401:
		code = hub.Unauthenticated
	case s == 403:
		code = hub.Forbidden
	case s == 404, s == 410:
		code = hub.NotFound
	case s == 409:
		code = hub.Conflict
	case s == 408, s == 429:
		code = hub.Limited
	case s >= 500:
		code = hub.Unavailable
	}
	hint := "the answer says why; RFC 8935 §2.4 has the codes"
	switch code {
	case hub.Unauthenticated, hub.Forbidden:
		hint = "show what the receiver asks for: --header 'Authorization: …'"
	case hub.NotFound:
		hint = "see that --to is the address that the receiver gave"
	case hub.Limited, hub.Unavailable:
		hint = "wait and send the same token again: --print shows it, --raw sends it"
	}
	return hub.Errorf(code, "the receiver answered %d", out.Status).WithHint("%s", hint)
}
