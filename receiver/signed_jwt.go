package receiver

import (
	"cmp"
	"crypto"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"countersign/set"
)

// SignedJWT is a Credential that we make ourselves: a JWT in place of an access token, signed with a key that the
// transmitter knows. Google takes one from a service account: Issuer is its e-mail address, KeyID and Key are those of its
// key file. It is safe for concurrent use and must not be copied or changed once used.
type SignedJWT struct {
	Key       crypto.Signer // ParseKey reads one
	KeyID     string        // kid; empty: none
	Algorithm set.Algorithm // empty: by the key, as for TokenSource
	Issuer    string
	Subject   string // empty: Issuer
	Audience  string
	Lifetime  time.Duration // 0: an hour, the most that Google takes
	Now       func() time.Time

	mu      sync.Mutex
	token   string
	refresh time.Time
}

// Authorize puts a JWT on r that is valid now.
func (s *SignedJWT) Authorize(r *http.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.Now != nil {
		now = s.Now()
	}
	if s.token == "" || !now.Before(s.refresh) {
		if err := s.sign(now); err != nil {
			return err
		}
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	return nil
}

// Renew forgets the JWT on r, which was answered 401. One that was replaced meanwhile is left alone.
func (s *SignedJWT) Renew(r *http.Request) bool {
	_, refused, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == refused {
		s.token = ""
	}
	return true
}

func (s *SignedJWT) sign(now time.Time) error {
	life := cmp.Or(s.Lifetime, time.Hour)
	switch {
	case s.Key == nil:
		return fmt.Errorf("%w: a signed JWT needs a key", ErrTokenConfig)
	case s.Issuer == "" || s.Audience == "":
		return fmt.Errorf("%w: a signed JWT needs an issuer and an audience", ErrTokenConfig)
	case life < 0 || life > 24*time.Hour:
		return fmt.Errorf("%w: a signed JWT lives up to 24 hours", ErrTokenConfig)
	}
	alg, err := fit(s.Key, s.Algorithm)
	if err != nil {
		return err
	}
	claims, err := json.Marshal(jwtClaims{
		Issuer: s.Issuer, Subject: cmp.Or(s.Subject, s.Issuer), Audience: s.Audience, ID: set.NewID(), Issued: now.Unix(), Expires: now.Add(life).Unix(),
	})
	if err != nil {
		return err
	}
	token, err := signJWT(alg, s.KeyID, claims, func(input []byte) ([]byte, error) { return signAssertion(s.Key, alg, input) })
	if err != nil {
		return err
	}
	s.token, s.refresh = token, now.Add(life-min(life/5, time.Minute))
	return nil
}
