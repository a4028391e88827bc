package site

import (
	"context"
	"slices"

	"github.com/fastbind/fastbind/chaos/internal/watch"
	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/refresh"
)

// loadAtOnce is how many families are read in one statement.
const loadAtOnce = 500

// Check compares the whole state with what everybody was told. It does nothing
// while the database is down.
func (s *Site) Check(ctx context.Context) {
	s.mu.Lock()
	all := slices.Clone(s.families)
	s.mu.Unlock()
	for some := range slices.Chunk(all, loadAtOnce) {
		if err := s.compare(ctx, some); err != nil {
			if ctx.Err() == nil && !s.Log.Excused() {
				s.Log.Report("harness", "read the state: %v", err)
			}
			return
		}
	}
	if err := s.Inspect(ctx); err != nil && ctx.Err() == nil && !s.Log.Excused() {
		s.Log.Report("harness", "inspect what is stored: %v", err)
	}
}

func (s *Site) compare(ctx context.Context, families []*watch.Family) error {
	ids, marks := make([]refresh.FamilyID, len(families)), make(map[refresh.FamilyID]watch.Mark, len(families))
	for i, f := range families {
		ids[i] = refresh.FamilyID(f.ID)
		marks[ids[i]] = f.Mark()
	}
	rows, err := s.DB.Families().Load(ctx, ids)
	if err != nil {
		return err
	}
	for _, row := range rows {
		marks[row.ID].Stored(row)
		delete(marks, row.ID)
	}
	for id, m := range marks {
		if m.Begun() {
			s.Log.Report("lost-family", "family %s is lost", id)
		}
	}
	return nil
}

// Inspect looks for broken invariants in all that is stored, and compares the
// number of families with those that were begun: a family is one row, however
// often it rotates.
func (s *Site) Inspect(ctx context.Context) error {
	r, err := s.DB.Fsck(ctx, s.Clock.Now())
	if err != nil {
		return err
	}
	for _, f := range r.Findings {
		s.Log.Report("fsck "+f.Check, "%s: %s", f.Row, f.Detail)
	}
	begun, err := s.begun(ctx)
	if err == nil && r.Families != int64(begun) {
		s.Log.Report("rows", "%d families are stored, and %d were begun", r.Families, begun)
	}
	return err
}

// begun returns how many of the families that were asked for there are.
func (s *Site) begun(ctx context.Context) (n int, err error) {
	s.mu.Lock()
	all := slices.Clone(s.families)
	s.mu.Unlock()
	for some := range slices.Chunk(all, loadAtOnce) {
		ids := make([]refresh.FamilyID, len(some))
		for i, f := range some {
			ids[i] = refresh.FamilyID(f.ID)
		}
		rows, err := s.DB.Families().Load(ctx, ids)
		if err != nil {
			return 0, err
		}
		n += len(rows)
	}
	return n, nil
}

// Noticed reports whether somebody was told of a theft of the family: it has
// ended for it, or, if it is bound, lives on with an event.
func (s *Site) Noticed(ctx context.Context, f *watch.Family) (bool, error) {
	kind := audit.Theft
	if f.Bound {
		kind = audit.ForeignKey
	}
	events, err := s.DB.Events(ctx, app.EventQuery{Family: f.ID, Kind: kind, Limit: 1})
	return len(events) > 0, err
}
