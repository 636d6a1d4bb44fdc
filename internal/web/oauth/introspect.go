package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/internal/strictjson"
)

// How long an answer of introspection is believed: revocation is seen within a minute (AZ-16), and a token that was
// refused is asked about again sooner.
const (
	activeLife   = time.Minute
	inactiveLife = 10 * time.Second
	slotWait     = 2 * time.Second
)

// introspected asks the issuer about a token (RFC 7662), or takes what it said within the last minute. Callers that
// ask about one token at one time share one call.
func (i *issuer) introspected(ctx context.Context, token string) (finding, error) {
	sum := sha256.Sum256([]byte(token))
	if k, ok := i.seen.look(sum); ok {
		if k.none {
			return finding{}, invalid("its issuer says so")
		}
		return k.finding, nil
	}
	return i.asked.do(ctx, string(sum[:]), func() (finding, error) {
		wait := time.NewTimer(slotWait)
		defer wait.Stop()
		select {
		case i.slots <- struct{}{}:
			defer func() { <-i.slots }()
		case <-wait.C:
			return finding{}, hub.Errorf(hub.Unavailable, "too many tokens are being asked about at %s", i.spec.Issuer)
		}
		limited, stop := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer stop()
		body, err := i.ask(limited, token)
		if err != nil {
			i.s.cfg.Log.WarnContext(ctx, "an external issuer cannot be asked about a token", "tenant", i.tenant, "error", err)
			return finding{}, hub.Errorf(hub.Unavailable, "introspection at %s: %w", i.spec.Issuer, err)
		}
		now := i.s.cfg.Now()
		f, err := i.read(body, now)
		switch {
		case err == nil:
			until := now.Add(activeLife)
			if exp := f.expires.Time().Add(-skew); f.expires != 0 && exp.Before(until) {
				until = exp // AZ-16
			}
			i.seen.keep(sum, memory{finding: f, until: until}, 0)
		case hub.CodeOf(err) == hub.Unauthenticated:
			i.seen.keep(sum, memory{none: true, until: now.Add(inactiveLife)}, 0)
		}
		return f, err
	})
}

// ask makes the call (RFC 7662 §2.1, AZ-13): the endpoint knows us by our own credentials.
func (i *issuer) ask(ctx context.Context, token string) ([]byte, error) {
	at := i.spec.Introspection.Endpoint
	if at == "" {
		m, err := i.metadata(ctx)
		if err != nil {
			return nil, err
		}
		if at = m.Introspection; at == "" {
			return nil, fmt.Errorf("its metadata names no introspection_endpoint")
		}
	}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	r.SetBasicAuth(url.QueryEscape(i.spec.Introspection.ClientID), url.QueryEscape(i.secret))
	body, _, err := exchange(i.s.cfg.HTTP, r)
	return body, err
}

// read holds an answer against RFC 7662 §2.2. An error that is not hub.Unauthenticated says that it is no answer.
func (i *issuer) read(body []byte, now time.Time) (finding, error) {
	if err := strictjson.Check(body, strictjson.Limits{Bytes: maxAnswer}); err != nil {
		return finding{}, hub.Errorf(hub.Unavailable, "introspection at %s: %w", i.spec.Issuer, err)
	}
	var state struct {
		Active json.RawMessage `json:"active"`
	}
	if err := strictjson.Decode(body, &state); err != nil {
		return finding{}, hub.Errorf(hub.Unavailable, "introspection at %s: %w", i.spec.Issuer, err)
	}
	if string(state.Active) != "true" { // AZ-14: false, missing, or no boolean
		return finding{}, invalid("its issuer says so")
	}
	var a claims
	var kind struct {
		Type *string `json:"token_type"`
	}
	if err := strictjson.Decode(body, &a); err != nil || strictjson.Decode(body, &kind) != nil {
		return finding{}, invalid("its issuer says of it what cannot be read")
	}
	switch { // AZ-15
	case kind.Type != nil && !strings.EqualFold(*kind.Type, "Bearer"):
		return finding{}, invalid("it is no bearer token")
	case a.Issuer != nil && *a.Issuer != i.spec.Issuer:
		return finding{}, invalid("iss is not the tenant's issuer")
	case text(a.ClientID) == "":
		return finding{}, invalid("its issuer does not say whose it is")
	}
	return i.checked(&a, now)
}
