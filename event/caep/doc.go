// Package caep holds the eight event types of the OpenID Continuous Access Evaluation Profile 1.0,
// each with its members and the rules they must keep.
//
// Values are compared exactly: risk levels are upper case, compliance words are lower case, and
// neither is folded. What a type leaves open (credential types, assurance namespaces, principals)
// is accepted as sent.
package caep
