// Package guard protects the APIs of a Go program: it checks the access token
// of a request and passes on who is behind it as a [Principal].
//
//	g, err := guard.New(guard.Config{
//		Issuer:   "https://id.example.com",
//		Audience: "https://api.example.com",
//		ClientID: "orders-api", ClientSecret: secret,
//	})
//	…
//	group.Go(func() error { return g.Run(ctx) })
//	mux.Handle("GET /orders", g.Require("orders:read")(orders))
//
// Tokens are JWT access tokens (RFC 9068), verified with the keys of the
// issuer. Nothing is asked of the issuer while a request waits: [Guard.Run]
// keeps the keys, and a view of everything that was revoked, up to date in the
// background. When a session, a family of tokens, a person, a client or a key
// is revoked, the next check refuses, and the contexts of the requests that are
// still running are cancelled with the cause [ErrRevoked].
//
// The invariant: a request gets through only with a token that verifies at this
// moment, that no revocation known here names, and, unless the view is known
// to be complete up to a few seconds ago, that the rule of the route lets
// through ([Policy]). What cannot be decided is 503, never "logged out".
//
// A token that is bound to a key (RFC 9449) is taken only with a proof that the
// request comes from the holder of the key, and each proof once: see [DPoP]. For
// that the guard has to know under which addresses clients reach the API. Tokens
// that are bound in another way are refused.
//
// The package issues nothing and knows no sessions of its own.
package guard
