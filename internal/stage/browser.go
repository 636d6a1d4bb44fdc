package stage

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"
)

// Browser is somebody's browser: it signs in, keeps cookies and opens pages. It knows no hub.
type Browser struct {
	Person string
	client *http.Client
}

// NewBrowser makes a browser with an empty cookie jar that trusts roots.
func NewBrowser(person string, roots *x509.CertPool) *Browser {
	jar, _ := cookiejar.New(nil)
	return &Browser{Person: person, client: &http.Client{
		Jar: jar, Timeout: 10 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// SignIn posts the sign-in form of a site.
func (b *Browser) SignIn(ctx context.Context, site, email, password string) error {
	form := url.Values{"email": {email}, "password": {password}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, site+"/login", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther {
		return fmt.Errorf("%s answered the sign-in of %s with %d", site, b.Person, resp.StatusCode)
	}
	return nil
}

// Open asks for the site's front page with whatever cookies there are, and gives the status.
func (b *Browser) Open(ctx context.Context, site string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, site+"/", nil)
	if err != nil {
		return 0, err
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, nil
}

// Token asks the site for an access token on the strength of the session.
func (b *Browser) Token(ctx context.Context, site string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, site+"/token", nil)
	if err != nil {
		return "", err
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(site + " gave no token: " + resp.Status)
	}
	return strings.TrimSpace(string(body)), nil
}
