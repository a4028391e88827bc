package watch

import (
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/refresh"
)

// stored is what may never go back of a family.
type stored struct {
	generation, confirmed int64
	idleEnd, absoluteEnd  time.Time
	ended                 time.Time
	reason                audit.Reason
}

// A Mark is what was known of a family before the database was read.
type Mark struct {
	family *Family
	newest int64
	ended  bool
	begun  bool
}

// Mark returns what is known now.
func (f *Family) Mark() Mark {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Mark{family: f, newest: f.newest, ended: f.ended, begun: f.expected}
}

// Stored compares the row of the family, read after the mark was set, with what
// everybody was told, and with the row as it was.
func (m Mark) Stored(row refresh.Family) {
	f := m.family
	f.mu.Lock()
	defer f.mu.Unlock()
	is := &stored{
		row.Generation, row.Confirmed, row.IdleEnd, row.AbsoluteEnd, row.Ended, row.Reason,
	}
	was := f.stored
	f.stored = is
	report := func(check, what string) {
		f.log.Report(check, "family %s (%s): %s: %+v", f.ID, f.Kind, what, *is)
	}
	switch {
	case is.generation < m.newest:
		report("lost-generation", "a generation that was handed out is lost")
	case is.confirmed > is.generation:
		report("confirmed", "a generation is confirmed that there is not")
	case is.idleEnd.After(is.absoluteEnd):
		report("idle-end", "the idle end is past the absolute end")
	case is.ended.IsZero() != (is.reason == ""):
		report("reason", "an end has a reason, and only an end has")
	case m.ended && is.ended.IsZero():
		report("ended-lives", "somebody was told that it has ended")
	case f.Safe && is.reason == audit.TokenTheft && !m.ended:
		report("false-alarm", "nobody has stolen anything")
	}
	if was == nil {
		return
	}
	switch {
	case is.generation < was.generation || is.confirmed < was.confirmed:
		report("lost-generation", "a generation was there before")
	case is.idleEnd.Before(was.idleEnd):
		report("idle-end", "the idle end has moved back")
	case !is.absoluteEnd.Equal(was.absoluteEnd):
		report("absolute-end", "the absolute end has moved")
	case !was.ended.IsZero() && (!is.ended.Equal(was.ended) || is.reason != was.reason):
		report("ended-lives", "it had ended otherwise before")
	}
}

// Begun reports whether somebody had been told that the family has begun.
func (m Mark) Begun() bool { return m.begun }
