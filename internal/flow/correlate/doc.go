// Package correlate finds out whom a signal is about: from the subject of the signal to an identity,
// in the order that the source's correlate list gives, with every way that did not answer written down.
//
// It reads rows and writes nothing; the same rows give the same result. What cannot be resolved is
// visibly unresolved with a reason and is tried again when a mapping appears (design §2.2). Which
// accounts the identity has at which app is decide's business, and looking up an account at an app is
// act's.
package correlate
