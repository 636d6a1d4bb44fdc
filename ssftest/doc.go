// Package ssftest helps to test programs that speak Shared Signals: keys that cost nothing, a Receiver that
// records what is pushed to it and answers as told, a Transmitter on a TLS server, and StoreSuite, which holds any
// implementation of transmitter.Store to its contract.
//
// It imports testing, so only tests import it. It leaves the rules to the packages that it puts together: set,
// transmitter, receipt.
package ssftest
