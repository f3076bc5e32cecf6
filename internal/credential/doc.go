// Package credential holds what is secret about a site and the rules for it: password hashes and password rules, the minting of
// tokens, and the keyring that digests, fingerprints and seals them.
//
// It imports access only, does no I/O, reads no clock and keeps no state. It promises that nothing it returns for storing (hashes, lookups,
// fingerprints, sealed values, key checks) gives the secret away: passwords are behind argon2id, minted tokens have 160 bits and
// more, and whatever people chose is behind a key of the server.
package credential
