// Package jose owns signed tokens on the wire: the compact serialization of a
// JSON Web Signature (RFC 7515), public keys as JSON Web Keys (RFC 7517), key
// thumbprints (RFC 7638), and the strict reading of the JSON inside them. What
// the claims of a token mean, and where keys come from, is the business of its
// callers. It knows no encryption.
//
// There are three algorithms: ES256, Ed25519 (under its old name EdDSA too, RFC
// 9864) and RS256. Every key has one of them, and that of the key decides: a
// token that names another one is refused. Whatever another reader could
// understand differently is refused as well: names that occur twice or differ
// only in case, loose base64, critical extensions, bytes that are not UTF-8.
//
// The invariant: a payload leaves this package only after the signature over
// exactly these bytes was found good under a key that the caller chose.
package jose
