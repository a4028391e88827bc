// Package opaque owns the random values that clients hold and the secrets that
// authenticate them.
//
// A [Handle] is a bearer secret in the clear: a kind that secret scanners can
// find, a body, and a checksum, so that a typo is refused without a look-up.
// The server keeps its [Digest] only. [Keys] are derived from the master
// secrets of the installation, which are never in the database: the first
// signs and seals, all of them verify and open, so that a secret can be changed
// without a single value in use becoming invalid. Nothing here ever prints a
// secret.
package opaque
