// Package issuer is everything that a guard says to the issuer of its tokens:
// it fetches metadata and keys, follows the revocation feed into a
// [revoked.Set], asks about single tokens (RFC 7662) and reports which
// generations were seen in use.
//
// What the answers mean for a request is the business of package guard. The
// invariant: a fault of the issuer never takes away what is known, neither keys
// nor revocations, and never looks like the answer that a token is bad.
package issuer
