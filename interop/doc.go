// Package interop owns the tests that drive the built binary from the outside:
// with OpenID Connect libraries of other people, in Go and in JavaScript, with
// a real browser, and with the kill signal.
//
// It is a module of its own, so that what it needs stays out of the server's
// module file. Run them with "make interop"; INTEROP_SCREENSHOTS names a folder
// for pictures of every page. With FASTBIND_TEST_POSTGRES=1 they run on
// PostgreSQL too, against a server that is configured by its environment.
//
// The invariant: the libraries are used as they are, with the
// checks that they make by default, and none of our own code stands in for
// them.
package interop
