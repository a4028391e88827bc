package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const printed = `date: 2026-01-02
go: go1.26.8
cpu: Some Processor
BenchmarkRefresh/PostgreSQL/64-4    10  100 ns/op  4000 op/s  0.5 x-bare  0.30 cpu-ms/op
BenchmarkRefresh/PostgreSQL/64-4    10  100 ns/op  2000 op/s  0.4 x-bare  0.40 cpu-ms/op
BenchmarkRefresh/PostgreSQL/64-4    10  100 ns/op  3000 op/s  0.6 x-bare  0.36 cpu-ms/op
BenchmarkRefresh/SQLite/64-4        10  100 ns/op  6000 op/s
BenchmarkRefresh/SQLite/64-4        10  100 ns/op  1000 op/s
BenchmarkBareSwap/PostgreSQL/64-4   10  100 ns/op  8000 op/s  0.10 cpu-ms/op
BenchmarkSeen/OneToken-4            10  300 ns/op  0 B/op  1 allocs/op
PASS
ok  	github.com/fastbind/fastbind/bench	1.0s
`

func find(t *testing.T, r report, name string) figure {
	t.Helper()
	for _, f := range r.Rows {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no row %q", name)
	return figure{}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	r := newReport(parse([]byte(printed)))
	if r.Machine != "Some Processor" || r.Processors != 4 || r.Go != "go1.26.8" || r.Date != "2026-01-02" {
		t.Errorf("about: %+v", r)
	}
	for _, want := range []struct {
		name                string
		value, floor, ratio float64 // -1: null
		met                 string
	}{
		// The median of three, its ratio as measured beside it.
		{"refresh, PostgreSQL, 64 at once", 3000, 8000, 0.5, "true"},
		{"refresh, PostgreSQL, against the fastest other", 3000, 362, 3000 / 362.0, "false"},
		{"refresh, processor time of server and PostgreSQL", 0.36, 0.1, 3, "false"}, // the ratio of the first run
		// The median of the ratios 6000/4000 and 1000/2000.
		{"refresh, SQLite, 64 at once", 3500, 3000, 1, "true"},
		{"guard: token seen before, 1,000,000 revocations loaded", 300, -1, -1, "true"}, // the floor is missing, the bar needs none
		{"guard: token seen before, allocations", 1, -1, -1, "false"},
		{"introspection, 64 at once, tokens seen before", -1, -1, -1, "null"},
		{"introspection of tokens seen before, against Ory Hydra", -1, -1, -1, "null"},
	} {
		f := find(t, r, want.name)
		for what, v := range map[string]struct {
			got  *float64
			want float64
		}{"value": {f.Value, want.value}, "floor": {f.Floor, want.floor}, "ratio": {f.Ratio, want.ratio}} {
			if (v.got == nil) != (v.want < 0) || v.got != nil && *v.got-v.want > 1e-9 || v.got != nil && v.want-*v.got > 1e-9 {
				b, _ := json.Marshal(v.got) //nolint:errcheck // a number or null
				t.Errorf("%s: %s is %s, want %v", want.name, what, b, v.want)
			}
		}
		if b, err := json.Marshal(f.Met); err != nil || string(b) != want.met {
			t.Errorf("%s: met is %s, want %s", want.name, b, want.met)
		}
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		0: "0", 0.33149: "0.331", 1.5: "1.50", 31.24: "31.2", 197.4: "197", 1000: "1,000", 1234567: "1,234,567", 3560.4: "3,560", 0.001: "0.001",
	} {
		if got := number(v); got != want {
			t.Errorf("number(%v) is %s, want %s", v, got, want)
		}
	}
}

// TestRun: the command writes what it printed into the page, between the marks,
// and says what was not measured.
func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in, out, page := filepath.Join(dir, "in"), filepath.Join(dir, "out"), filepath.Join(dir, "page")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(in, printed)
	write(page, "before\n"+sectionBegin+"old\n"+sectionEnd+"after\n")
	var stdout, stderr bytes.Buffer
	args := []string{"-in", in, "-json", out, "-readme", page}
	if code := run(args, &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), "not measured: ") {
		t.Errorf("exit code %d, %s", code, &stderr)
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if want := "before\n" + sectionBegin + stdout.String() + sectionEnd + "after\n"; string(got) != want {
		t.Error(cmp.Diff(want, string(got)))
	}
	write(page, "no marks\n")
	if code := run(args, &stdout, &stderr); code != 2 {
		t.Errorf("a page without marks: exit code %d, want 2", code)
	}
}

// TestStored: the JSON is of the result, and the README shows the JSON. If it
// fails after a run of the benchmarks, run `make bench` to its end.
func TestStored(t *testing.T) {
	t.Parallel()
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	stored := read("../result.json")
	fresh, err := newReport(parse(read("../result.txt"))).encode()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(fresh), string(stored)); diff != "" {
		t.Errorf("bench/result.json is not what bench/result.txt says (-want +got):\n%s", diff)
	}
	var r report
	if err := json.Unmarshal(stored, &r); err != nil {
		t.Fatal(err)
	}
	shown, err := section(read("../../README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r.table(), shown); diff != "" {
		t.Errorf("README.md does not show bench/result.json (-want +got):\n%s", diff)
	}
}
