package enroll

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"countersign/internal/hub"
	"countersign/receiver"
)

// consentLife is how long somebody may take to consent.
const consentLife = 15 * time.Minute

const consentPurpose = "source.consent"

// Consenting is a consent that was begun at the authorization server of a source.
type Consenting struct {
	URL    string `json:"url"`    // where a person goes with a browser
	Ticket string `json:"ticket"` // to be handed back with the answer; it opens only here
}

// ticket is what is sealed in it.
type ticket struct {
	Consent *receiver.Consent `json:"consent"`
	Until   time.Time         `json:"until"`
}

func (e *Enroller) consenter(ctx context.Context, tenant, source string) (*hub.Source, *receiver.RefreshSource, error) {
	src, err := e.Source(ctx, tenant, source)
	switch {
	case err != nil:
		return nil, nil, err
	case src == nil:
		return nil, nil, hub.Errorf(hub.NotFound, "there is no source %s", source)
	case src.Auth == nil || src.Auth.Method != "refresh_token":
		return nil, nil, hub.Errorf(hub.Conflict, "the source %s needs nobody's consent", source).WithHint("only auth: {method: refresh_token, …} does")
	}
	cred, err := e.Credentials(ctx, tenant, src)
	if err != nil {
		return nil, nil, e.outside(ctx, tenant, src, err)
	}
	r, ok := cred.(*receiver.RefreshSource)
	if !ok {
		return nil, nil, hub.Errorf(hub.Internal, "the credential of the source %s is of another kind", source)
	}
	return src, r, nil
}

// Begin prepares a person's consent (authorization code with PKCE). redirect is where the authorization server sends the
// browser back to; it is registered there.
func (e *Enroller) Begin(ctx context.Context, tenant, source, redirect string) (*Consenting, error) {
	src, r, err := e.consenter(ctx, tenant, source)
	if err != nil {
		return nil, err
	}
	c, err := r.Begin(ctx, redirect)
	if err != nil {
		return nil, e.outside(ctx, tenant, src, err)
	}
	plain, err := json.Marshal(ticket{c, e.Now().Add(consentLife)})
	if err != nil {
		return nil, err
	}
	return &Consenting{URL: c.URL, Ticket: base64.RawURLEncoding.EncodeToString(e.Vault.Seal(consentPurpose, tenant+"/"+source, plain))}, nil
}

// Finish takes the parameters with which the browser came back, and keeps the refresh token that they lead to.
func (e *Enroller) Finish(ctx context.Context, tenant, source, sealed string, answer url.Values) error {
	src, r, err := e.consenter(ctx, tenant, source)
	if err != nil {
		return err
	}
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return hub.Errorf(hub.Invalid, "the ticket cannot be read").WithHint("countersign source authorize %s", source)
	}
	plain, err := e.Vault.Open(consentPurpose, tenant+"/"+source, raw)
	var t ticket
	if err != nil || json.Unmarshal(plain, &t) != nil || t.Consent == nil {
		return hub.Errorf(hub.Invalid, "the ticket is none of ours for this source").WithHint("countersign source authorize %s", source)
	}
	if e.Now().After(t.Until) {
		return hub.Errorf(hub.Conflict, "the consent took longer than %v", consentLife).WithHint("countersign source authorize %s", source)
	}
	if err := r.Finish(ctx, t.Consent, answer); err != nil {
		if errors.Is(err, receiver.ErrRefusedConsent) {
			return &hub.Error{Code: hub.Conflict, Message: e.hide(ctx, tenant, src, reason(err)), Hint: "countersign source authorize " + source}
		}
		return e.outside(ctx, tenant, src, err)
	}
	e.Log.InfoContext(ctx, "somebody consented for a source", "tenant", tenant, "source", source)
	if _, err := e.change(ctx, tenant, source, func(s *State) *State {
		if s == nil {
			s = fresh(src)
		}
		s.Consent = true
		return s
	}); err != nil {
		return err
	}
	if src.Stream == None {
		return nil
	}
	if err := e.enqueue(ctx, tenant, source); err != nil { // what waited for it is tried at once
		return err
	}
	e.Poke()
	return nil
}
