// Package life stores what lives and ends: families, the ends of sessions, and
// the feed that tells verifiers. How a family rotates and how anything ends
// must be one transaction, so they are one package.
//
// The invariant: what ends, ends with its feed entry and its event, once, and
// the numbers of the feed have no gaps.
package life
