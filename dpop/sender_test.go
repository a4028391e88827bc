package dpop_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/fastbind/fastbind/dpop"
)

// A sender that is kept holds nothing of the proof but its header, and a header
// that is longer than any honest one is not kept.
func TestSenderIsSmall(t *testing.T) { //nolint:paralleltest // it looks at the memory of the process
	s := es256(t)
	long, err := dpop.Check(s.proof(members{"more": strings.Repeat("x", 1<<10)}, nil), expect())
	if err != nil || long.Sender != nil {
		t.Errorf("the sender of a long header is kept: %v, error %v", long.Sender != nil, err)
	}
	const n, most = 1000, 2 << 10
	kept := make([]*dpop.Sender, n)
	before := heap()
	for i := range kept {
		p, err := dpop.Check(s.proof(nil, members{"htu": address + "?" + strings.Repeat("x", 5<<10)}), expect())
		if err != nil {
			t.Fatal(err)
		}
		kept[i] = p.Sender
	}
	each := (heap() - before) / n
	t.Logf("%d bytes for each sender", each)
	if each > most || kept[0] == nil {
		t.Errorf("a sender takes %d bytes, want at most %d", each, most)
	}
	runtime.KeepAlive(kept)
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
