package ssf

import (
	"net/http"
	"net/netip"
	"strings"
)

// Address makes a function that says where a request comes from. Where the peer is one of the proxies, it is the last
// address of X-Forwarded-For that is not a proxy's; what stands before that anybody may have written. Of an IPv6 address
// it is the network of 64 bits, which one host may have to itself.
func Address(proxies []netip.Prefix) func(*http.Request) string {
	trusted := func(a netip.Addr) bool {
		for _, p := range proxies {
			if p.Contains(a) {
				return true
			}
		}
		return false
	}
	return func(r *http.Request) string {
		ap, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil {
			return r.RemoteAddr
		}
		at := ap.Addr().Unmap().WithZone("")
		if trusted(at) {
			hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
			for i := len(hops) - 1; i >= 0; i-- {
				a, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
				if err != nil {
					break
				}
				at = a.Unmap().WithZone("")
				if !trusted(at) {
					break
				}
			}
		}
		if at.Is4() {
			return at.String()
		}
		p, _ := at.Prefix(64)
		return p.String()
	}
}
