// Package refresh owns refresh-token families.
//
// A family is everything issued to one client from one authorization on one
// device: one row that counts generations. A refresh token names its family and
// generation and carries a MAC, so the successor of a token can be derived
// again and no token is ever stored. [Judge] decides what a shown token means;
// [Store.Swap] makes that decision happen at most once. The contract is
// docs/rotation.md.
//
// The invariant: a generation has at most one successor, and what has ended
// stays ended.
package refresh
