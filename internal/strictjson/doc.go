// Package strictjson reads JSON that came from outside.
//
// encoding/json is forgiving in ways that matter for signed tokens: it turns broken text into U+FFFD,
// lets the last of two equal names win, fills a field named "iss" from a member named "ISS", and has
// no depth limit. Check is one pass over the bytes that refuses all of this; Unmarshal is Check and a
// decoder that compares member names exactly; Object and Members list the members of an object with
// their values untouched; JCS and Canonical give one spelling to equal values.
//
// What the values mean is left to the callers: set, subject, event, receipt and the doors of the hub.
package strictjson
