package main

import (
	"slices"
	"strconv"
	"strings"
)

// A measurement is what benchmarks printed: for each benchmark and unit all
// values, in the order in which they were measured, and what was said about the
// machine.
type measurement struct {
	about  map[string]string
	values map[source][]float64
	procs  int // processors that the benchmarks had
}

// parse reads the text format of Go benchmarks: lines "key: value" and lines
// "BenchmarkName-procs iterations value unit value unit…". Other lines are
// passed over.
func parse(text []byte) measurement {
	m := measurement{about: map[string]string{}, values: map[source][]float64{}, procs: 1}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if name, value, ok := strings.Cut(line, ": "); ok && !strings.ContainsAny(name, " \t") {
			m.about[name] = strings.TrimSpace(value)
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i >= 0 {
			if n, err := strconv.Atoi(name[i+1:]); err == nil {
				name, m.procs = name[:i], n
			}
		}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				s := source{name, fields[i+1]}
				m.values[s] = append(m.values[s], v)
			}
		}
	}
	return m
}

// median returns the median of what was measured; false: nothing was.
func (m measurement) median(s source) (float64, bool) { return median(m.values[s]) }

// ratio returns the median of the ratios of two values of the same run: of the
// first of the one to the first of the other, and so on.
func (m measurement) ratio(s, floor source) (float64, bool) {
	var all []float64
	a, b := m.values[s], m.values[floor]
	for i := range min(len(a), len(b)) {
		if b[i] != 0 {
			all = append(all, a[i]/b[i])
		}
	}
	return median(all)
}

func median(values []float64) (float64, bool) {
	all := slices.Sorted(slices.Values(values))
	switch n := len(all); {
	case n == 0:
		return 0, false
	case n%2 == 0:
		return (all[n/2-1] + all[n/2]) / 2, true
	default:
		return all[n/2], true
	}
}
