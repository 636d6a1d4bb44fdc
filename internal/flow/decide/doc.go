// Package decide turns one correlated signal into a decision and planned actions.
//
// It joins two sources of work (design §2.8): what the sender ordered and the source's orders rule
// accepts, and what the policies that match decide. The same action on the same account at the same app
// is done once, with the widest accepted reach, under the order's line; everything else is an x line.
// A deny wins over both. Nothing is sent and nothing is written here: the caller stores the decision, the
// actions and the charges in one transaction, and internal/flow/act carries them out.
//
// Compile checks a policy when it is loaded: event types, members of events, actions, scopes, places,
// and the CEL of every condition. The same evaluator serves enforcing, monitor mode and policy tests.
package decide
