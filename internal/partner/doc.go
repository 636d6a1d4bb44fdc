// Package partner reads the partner profiles (folder partners): what a partner product speaks, which quirks it needs let pass,
// how one connects to it, what its mistakes look like and who mends them, and how sure we are.
//
//	partners/NAME/profile.yaml ─► Profile ─► receiver.Quirks   which switches a source of this profile has
//	partners/NAME/guide.md     ─► Guide   ─► docs/partners     the steps, for people
//	                              Cure                         what to change, and on which side
//
// A profile is data: it is read strictly, a quirk that nobody knows is refused, and nothing in it is a program. The profiles are
// part of the binary; they are read once.
package partner
