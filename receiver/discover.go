package receiver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"countersign/stream"
)

// DiscoverAny reads the metadata of issuer and says at which address it was. With a metadataURL only that is asked. Without,
// the address of SSF 1.0 is asked, and with fallbacks or Quirks.OtherMetadataPlaces, where that is not there (404, or no metadata), the others in use: the
// path appended to the issuer, then those of the drafts, sse-configuration and risc-configuration, inserted and appended
// (RX-7, RX-8, Q-01). Whatever is found must name issuer byte for byte: another name ends the search at once.
func (c *Client) DiscoverAny(ctx context.Context, issuer, metadataURL string, fallbacks bool) (md *stream.Metadata, usedURL string, err error) {
	if metadataURL != "" {
		md, err = c.Discover(ctx, issuer, metadataURL)
		return md, metadataURL, err
	}
	first, err := stream.MetadataURL(issuer)
	if err != nil {
		return nil, "", err
	}
	md, err = c.Discover(ctx, issuer, first)
	if err == nil || !fallbacks && !c.Quirks.OtherMetadataPlaces || !absent(err) {
		return md, first, err
	}
	failed := err
	for _, at := range elsewhere(issuer) {
		if at == first {
			continue
		}
		if md, err = c.Discover(ctx, issuer, at); err == nil || !absent(err) {
			return md, at, err
		}
	}
	return nil, "", fmt.Errorf("%w; nor at the other places in use", failed)
}

// absent tells whether an answer says that metadata is not at this address.
func absent(err error) bool {
	if e, ok := errors.AsType[*APIError](err); ok {
		return e.Status == http.StatusNotFound || e.Status == http.StatusGone || e.Status == http.StatusMethodNotAllowed ||
			e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden || e.Status == http.StatusBadRequest
	}
	return errors.Is(err, ErrAnswer) // a web page, or another document
}

// elsewhere lists the further places of metadata, in the order of RX-8. The issuer is a good one.
func elsewhere(issuer string) []string {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil
	}
	host, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.EscapedPath(), "/")
	all := []string{host + path + "/.well-known/ssf-configuration"}
	for _, name := range []string{"sse-configuration", "risc-configuration"} {
		all = append(all, host+"/.well-known/"+name+path)
		if path != "" {
			all = append(all, host+path+"/.well-known/"+name)
		}
	}
	return all
}
