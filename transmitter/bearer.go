package transmitter

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// StaticBearer makes a Config.Caller for small programs: it knows each receiver by one pre-shared token. Scopes that
// are empty mean ScopeRead and ScopeManage. Tokens are compared in constant time and kept only as hashes.
func StaticBearer(tokens map[string]Caller) func(*http.Request) (Caller, error) {
	type entry struct {
		hash   [sha256.Size]byte
		caller Caller
	}
	var known []entry
	for token, c := range tokens {
		if len(c.Scopes) == 0 {
			c.Scopes = []string{ScopeRead, ScopeManage}
		}
		known = append(known, entry{sha256.Sum256([]byte(token)), c})
	}
	return func(r *http.Request) (Caller, error) {
		token, err := BearerToken(r)
		if err != nil {
			return Caller{}, err
		}
		hash := sha256.Sum256([]byte(token))
		var found *Caller
		for i := range known {
			if subtle.ConstantTimeCompare(hash[:], known[i].hash[:]) == 1 {
				found = &known[i].caller
			}
		}
		if found == nil {
			return Caller{}, ErrBadCredentials
		}
		return *found, nil
	}
}

// BearerToken takes the token from the Authorization field, RFC 6750 §2.1: exactly one field, never the query.
func BearerToken(r *http.Request) (string, error) {
	fields := r.Header.Values("Authorization")
	switch len(fields) {
	case 0:
		return "", ErrNoCredentials
	case 1:
	default:
		return "", ErrBadCredentials // P-127
	}
	scheme, token, ok := strings.Cut(fields[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" || strings.ContainsAny(token, " \t,") {
		return "", ErrBadCredentials
	}
	return token, nil
}
