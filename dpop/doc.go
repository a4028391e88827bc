// Package dpop makes and checks DPoP proofs (RFC 9449): signed statements that a
// request comes from the holder of a key. A token that is bound to the key is
// worth nothing to anybody else.
//
// A client makes a [Key], and lets a [Transport] send its requests: each gets a
// proof, and is sent once more if the server asks for a nonce. A server takes
// the proof of a request with [Header], asks [Check] what it says, and has
// [Nonces] that tell how old it can be. Package guard does all of that for an
// API.
//
// What a proof is good for is the business of the caller: that the token belongs
// to the key ([Proof].Thumbprint), and that the proof was not shown before
// ([Proof].Digest, to be remembered until [Proof].Until).
//
// The invariant: a [Proof] leaves this package only if the key in it has signed
// it, for this request and no other, at a time that is near enough to now.
package dpop
