// Package sqlstore keeps everything that must not be lost, in SQLite or in
// PostgreSQL: it implements the Store of every domain package, the audit trail
// and the sweeping of what has expired. It decides nothing.
//
// Rows are locked in one order: client, account, session, code, family, consent,
// feed counter; several rows of a table by their key. A transaction that skips some
// of them keeps the order of the others. What still collides is tried again,
// at most five times.
//
// Times are unix seconds, 0 for the zero time; the rotation of a family, the
// moments of feed entries and of events are unix milliseconds; limits are unix
// microseconds. Digests and family ids are bytes, lists are JSON text.
//
// The invariant: when a method returns without an error what it reports is
// durable, and on both engines the answers are the same.
package sqlstore
