// Package hub holds the nouns of Countersign: what the rows of the store, the steps of the
// flow and the doors all speak about. It does no input or output.
//
// The words are those of the field and have one meaning each:
//
//   - a Source is a party that may tell us things; a Signal is one normalised event from it;
//   - an Identity is a person, workload or device; an Account its presence at a place (an app or a source);
//   - an App is a place where we can act; a Policy decides; a Decision is what the policies gave for one signal;
//   - an Action is one unit of work on one target, and has a State; a Receipt is the signed answer.
//
// action.go holds the one table that ties actions to operations, and state.go the one that ties
// states to receipt lines. error.go is the error vocabulary that every door translates.
package hub
