// Package proof is what a guard knows about proofs of possession: for which
// addresses they are, with which nonces, and which it has seen.
//
// What a proof says is the business of package dpop, and what a refusal looks
// like that of package guard. The invariant: a proof that [Checker.Use] has taken
// once is not taken again by this checker, nor by another one after it, however
// full its memory is and however its clock jumps; if nobody can know whether it
// was seen, a proof with a new nonce is asked for.
package proof
