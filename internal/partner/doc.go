// Package partner reads the partner profiles (folder partners): what a partner product speaks, which quirks it needs let pass,
// how one connects to it, and how sure we are.
package partner
