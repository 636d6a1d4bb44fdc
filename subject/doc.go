// Package subject reads, makes and compares Subject Identifiers (RFC 9493), with the formats that the
// Shared Signals Framework (§3.3, §3.5) and SCIM events (RFC 9967 §2.1) add.
//
// Parse is lenient in what it takes: undeclared members are kept and ignored, the names of the older
// drafts ("phone", "jwt-id", "saml-assertion-id", complex subjects without format) are read as today's.
// The constructors make today's forms only.
//
// Comparing has two sides that must not be mixed:
//
//   - Match and Identical are for subject lists and are literal: A@x.example is not a@x.example
//     (SSF 1.0 §8.1.3.1). They work on Canonical, the subject's one spelling as JSON.
//   - Email and IssSub are for finding the person and canonicalise (RFC 9493 §3.2.2.1).
//
// An Identifier prints as its format alone, so that no subject slips into a log. Which account a subject
// is, in which application, is the correlation's business, not this package's.
package subject
