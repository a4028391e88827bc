// Package archtest holds the repository to its design: which package may
// import which, what production code must not call, how large things may grow,
// that every required negative test exists, and that docs/spec-map.md says
// where each standard is followed.
//
// It has tests only. To change a table in them is a design decision: it belongs
// in a commit of its own that says why.
package archtest
