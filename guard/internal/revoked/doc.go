// Package revoked holds what was revoked, and tells at once whether a token is
// named by it and which running requests it ends.
//
// Where revocations come from is the business of package issuer, and what a
// refusal looks like that of package guard. The invariant: once [Set.Add] has
// returned, every token that the [Ending] names is found by [Set.Ended], and
// every context of [Set.Watch] for such a token is cancelled, also if Watch and
// Add meet; what was added once stays until no token that it names can be
// valid any more.
package revoked
