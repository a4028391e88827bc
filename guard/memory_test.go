package guard_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fastbind/fastbind/guard"
	"github.com/fastbind/fastbind/guard/guardtest"
)

// measured names the variable that makes a process of this program a guard that
// measures its memory and ends.
const measured = "GUARD_TEST_MEASURED"

// A footprint is what a guard takes in memory, in bytes.
type footprint struct {
	Revocations         int
	Heap, Resident, Max uint64
}

func TestMain(m *testing.M) {
	if s := os.Getenv(measured); s != "" {
		os.Exit(measure(s))
	}
	os.Exit(m.Run())
}

// measure runs a guard until it knows all revocations.
func measure(config string) int {
	fail := func(err error) int {
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	var c guard.Config
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return fail(err)
	}
	g, err := guard.New(c)
	if err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- g.Run(ctx) }()
	if err := g.Ready(ctx); err != nil {
		return fail(err)
	}
	var mem runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&mem)
	f := footprint{Revocations: g.Stats().Revocations, Heap: mem.HeapAlloc}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return fail(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 {
			n, _ := strconv.ParseUint(fields[1], 10, 64) // lines of another kind are not looked at
			switch fields[0] {
			case "VmRSS:":
				f.Resident = n << 10
			case "VmHWM:":
				f.Max = n << 10
			}
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		return fail(err)
	}
	cancel()
	if err := <-stopped; err != nil {
		return fail(err)
	}
	return 0
}

// BenchmarkMemory measures a guard with a million revocations in a process of its
// own. It is of no meaning with the race detector.
func BenchmarkMemory(b *testing.B) {
	const n, most = 1_000_000, 100_000_000
	issuer := guardtest.New(b)
	entries := make([]guardtest.Entry, n)
	for i := range entries {
		entries[i] = guardtest.Entry{Kind: "jti", Value: "value-" + strconv.Itoa(i), Until: time.Now().Add(time.Hour).Unix()}
	}
	issuer.Append(entries...)
	config, err := json.Marshal(map[string]string{
		"Issuer": issuer.URL, "Audience": issuer.Audience, "ClientID": issuer.ClientID, "ClientSecret": issuer.ClientSecret,
	})
	if err != nil {
		b.Fatal(err)
	}
	var f footprint
	for b.Loop() {
		cmd := exec.CommandContext(b.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), measured+"="+string(config))
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			b.Fatal(err)
		}
		if err := json.Unmarshal(out, &f); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(f.Heap), "heap-B")
	b.ReportMetric(float64(f.Resident), "resident-B")
	b.ReportMetric(float64(f.Max), "resident-max-B")
	if f.Revocations != n || f.Heap > most || f.Resident > most {
		b.Errorf("%+v, want %d revocations in at most %d bytes", f, n, most)
	}
}
