// Package egress is the one dialer for every call to the outside.
//
// Each new connection is checked after name resolution, on the very address that is dialled, so that a
// name that changes its answer between check and use gains nothing. Private, loopback, link-local,
// unique-local, mapped, metadata and otherwise special addresses are refused unless the operator allows
// them; redirects are not followed; plain http needs --dev. What is asked, and how often, is the callers'
// business.
package egress
