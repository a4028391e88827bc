package site

import (
	"context"
	"database/sql"
	"slices"
	"strings"

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

// Rows compares the number of families that are stored with those that were
// begun: a family is one row, however often it rotates.
func (s *Site) Rows(ctx context.Context) (stored, begun int, err error) {
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
			return 0, 0, err
		}
		begun += len(rows)
	}
	stored, err = s.count(ctx)
	return stored, begun, err
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

// count returns how many families are stored.
func (s *Site) count(ctx context.Context) (n int, err error) {
	driver, source := "pgx", s.setup.Database
	if s.postgres == nil {
		driver, source = "sqlite", strings.TrimPrefix(source, "sqlite://")
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return 0, err
	}
	defer db.Close() //nolint:errcheck // it was only read
	err = db.QueryRowContext(ctx, "select count(*) from family").Scan(&n)
	return n, err
}
