// Package console is the pages door: what people see at / of the admin listener.
//
// Pages are html/template files, embedded, parsed at start, and rendered on the server; no script is
// needed or sent. routes.go is the site map, page_*.go load and fill one typed view each, assets carry
// their hash in the path. People sign in with an access token; the session is a cookie that holds
// a random id and nothing else. The content security policy allows our own style sheet only.
//
// Every page can be made from fixtures (fixture.go): `countersign dev pages` writes them all, and the
// same fixtures feed golden HTML and the screenshots under docs/img.
//
// The room reads the store and changes nothing in it.
package console
