// Package oauth says who may call: it is the hub's own authorization server, and the resource server's half of
// OAuth 2.0 for the doors that take access tokens.
//
// As authorization server it owns, for each tenant, the token endpoint (client credentials by
// client_secret_basic, client_secret_post or private_key_jwt), the revocation endpoint (RFC 7009), and two
// documents that tell of them: authorization server metadata (RFC 8414) and protected resource metadata (RFC 9728).
//
//	POST <issuer>/oauth/token
//	POST <issuer>/oauth/revoke
//	GET  /.well-known/oauth-authorization-server[/t/NAME]
//	GET  /.well-known/oauth-protected-resource[/t/NAME]
//
// Its access tokens are opaque: 256 random bits that live at most an hour and are kept only as their SHA-256, so that
// each can be revoked and none can be read back.
//
// As resource server it has Check, which holds a token against, in this order: our own access tokens, the pre-shared
// tokens of `token create`, and the tenant's external issuer, where it has one: JWTs (RFC 9068) or what the
// issuer says of an opaque token (RFC 7662). What a token may do is never more than what its client may do now.
// Three answers are told apart: the token is not valid (hub.Unauthenticated, 401), it cannot be known now
// (hub.Unavailable, 503), and a Grant.
//
// Which client a name means, its secret, and which tenants there are comes from internal/server; rows are
// internal/store's; outgoing calls go through the guarded client of internal/egress. The doors themselves,
// and the answers 401 and 403 of the stream API, are internal/web/ssf's and transmitter's.
package oauth
