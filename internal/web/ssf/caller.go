package ssf

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"countersign/internal/hub"
	"countersign/transmitter"
)

// Client is a caller of the stream API, after its token was checked.
type Client struct {
	Spec   *hub.Client
	Scopes []string // of the token, within those of the client
	// Events are the type URIs that the client may ask for on its streams; nil: all that are offered.
	Events []string
	// Shape is the older form that its tenant serves; empty: SSF 1.0.
	Shape string
}

// Caller makes transmitter.Config.Caller from a token check. check gives hub.Unauthenticated for a
// token that is not valid, and knows only tokens of clients; any other error means that it cannot be known now.
func Caller(check func(ctx context.Context, token string) (*Client, error)) func(*http.Request) (transmitter.Caller, error) {
	return func(r *http.Request) (transmitter.Caller, error) {
		token, err := bearer(r)
		if err != nil {
			return transmitter.Caller{}, err
		}
		c, err := check(r.Context(), token)
		if err != nil {
			if hub.CodeOf(err) == hub.Unauthenticated {
				return transmitter.Caller{}, transmitter.ErrBadCredentials
			}
			return transmitter.Caller{}, err
		}
		if c == nil || c.Spec == nil || c.Spec.Name == "" {
			return transmitter.Caller{}, transmitter.ErrBadCredentials
		}
		out := transmitter.Caller{Receiver: c.Spec.Name, Scopes: c.Scopes, Algorithm: c.Spec.Alg, Events: c.Events,
			OneStream: c.Spec.Streams != "many", DefaultSubjects: c.Spec.Subjects, Shape: c.Shape} // AZ-11
		if c.Spec.Subject != nil {
			if out.Naming, err = json.Marshal(c.Spec.Subject); err != nil {
				return transmitter.Caller{}, err
			}
		}
		return out, nil
	}
}

// bearer takes the token of exactly one Authorization field (RFC 6750 §2.1, AZ-1). A token in the address or in a
// body is none (IOP-41, IOP-42), and a field that cannot be read is a bad one.
func bearer(r *http.Request) (string, error) {
	fields := r.Header.Values("Authorization")
	if len(fields) == 0 {
		return "", transmitter.ErrNoCredentials
	}
	scheme, token, ok := strings.Cut(fields[0], " ")
	token = strings.TrimLeft(token, " ")
	if len(fields) != 1 || !ok || !strings.EqualFold(scheme, "Bearer") || token == "" || strings.ContainsAny(token, " \t,") {
		return "", transmitter.ErrBadCredentials
	}
	return token, nil
}
