// Package access holds the nouns of a site (gates, users, groups, permissions, credentials, devices),
// the decision and its reasons, and the rules that a value must meet to be one of them.
//
// It imports nothing of this module, does no I/O, reads no clock and knows no encoding: every other package may import it.
package access
