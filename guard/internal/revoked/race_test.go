//go:build race

package revoked_test

// many is fewer under the race detector, which keeps a record for each word.
const many = 32_000
