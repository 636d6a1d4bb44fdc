// Package scim holds the twelve event types of RFC 9967, the SCIM profile for security event tokens.
// Their subject is a SCIM resource (format "scim"); create, patch and put come as a notice that
// names attributes, or in full with the data, never both.
package scim
