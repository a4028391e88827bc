// Package keys owns the signing keys of an installation: it creates, seals,
// publishes, rotates and retires them, and answers with the key set (RFC 7517)
// at the address that the metadata calls jwks_uri. What is signed with them, and
// who is told when a key is revoked, is the business of others.
//
// A key goes one way: published, so that every verifier can learn it; signing;
// retired, until the last token it signed has expired; gone. All nodes share one
// [Set], which changes only by compare-and-swap, and each holds its last good
// copy in memory, so that signing and verifying never wait for the store.
// Private keys leave memory sealed only.
//
// The invariant: once an algorithm has a signing key, it has exactly one in
// every set that is ever stored.
package keys
