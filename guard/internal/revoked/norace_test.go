//go:build !race

package revoked_test

const many = million
