// Package fsck owns the invariants of what is stored: what must be true of each
// row, and of it together with its neighbours, whatever happened before.
//
// It reads nothing itself: package sqlstore gives it every row of one moment.
// The invariant: a [Checker] decides on each row alone, so that its memory does
// not grow with the data.
package fsck
