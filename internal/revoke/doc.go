// Package revoke owns the ends of things: of tokens, families and sessions.
//
// Every end goes through one function, [Core.End], and has exactly one reason
// code. The package tells it to whoever verifies tokens, by the numbered feed
// (docs/revocation.md), and answers whether a token still counts (RFC 7662) and
// requests to revoke one (RFC 7009). The invariant: when End returns nil the
// end is durable; when it cannot be made durable nobody is told that it is.
package revoke
