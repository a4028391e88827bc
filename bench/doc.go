// Package bench holds the benchmarks that the README quotes. `make bench` runs
// them and stores what they measured in result.txt, from which command report
// makes result.json and the table of the README.
//
// Every figure stands beside its floor, measured in the same run: machines
// differ, ratios less so.
package bench
