// Package bench holds the benchmarks that the README quotes. `make bench` runs
// them and stores what they measured in result.txt.
//
// Every figure stands beside its floor, measured in the same run: machines
// differ, ratios less so.
package bench
