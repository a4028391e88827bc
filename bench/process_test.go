package bench_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor times in /proc (USER_HZ), the same everywhere
// that Go runs on Linux.
const tick = 10 * time.Millisecond

// processors returns the processor time that a process and its children have
// used, those that have ended included.
func processors(pid int) time.Duration {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0
	}
	var sum time.Duration
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it has just ended
		}
		// The name may hold blanks; the fields after it do not.
		id, rest, ok := strings.Cut(string(b), " (")
		_, rest, ok2 := strings.Cut(rest, ") ")
		v := strings.Fields(rest)
		if !ok || !ok2 || len(v) < 15 {
			continue
		}
		self, child := id == strconv.Itoa(pid), v[1] == strconv.Itoa(pid)
		if self || child {
			sum += ticks(v[11]) + ticks(v[12])
		}
		if self {
			sum += ticks(v[13]) + ticks(v[14])
		}
	}
	return sum
}

func ticks(s string) time.Duration {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n) * tick
}

// resident returns the memory that a process holds, in bytes.
func resident(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("process %d does not say", pid)
}
