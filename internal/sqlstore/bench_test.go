package sqlstore_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/code"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/pgtest"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/session"
	"github.com/fastbind/fastbind/internal/sqlstore"
)

// BenchmarkSwap measures rotations by 64 callers at once: through the rotator,
// which shares statements, through the store alone, one change a call, and
// beside them a bare durable compare-and-swap of one number in one row on the
// same engine, with as many callers.
func BenchmarkSwap(b *testing.B) {
	type measured struct {
		name string
		url  string
		bare *sql.DB
	}
	lite := sqliteURL(b)
	bareLite, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "bare.db")+
		"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		b.Fatal(err)
	}
	defer bareLite.Close()
	bareLite.SetMaxOpenConns(1)
	all := []measured{{"SQLite", lite, bareLite}}
	if pgtest.Enabled() {
		s := pgtest.New(b) // commits as in earnest
		url := s.URL(b)
		bare, err := sql.Open("pgx", url)
		if err != nil {
			b.Fatal(err)
		}
		defer bare.Close()
		bare.SetMaxOpenConns(64)
		bare.SetMaxIdleConns(64)
		all = append(all, measured{"PostgreSQL", url, bare})
	}
	for _, m := range all {
		db := open(b, m.url)
		families := seed(b, db, 1000)
		b.Run(m.name+"/Rotator", func(b *testing.B) { benchRotator(b, db, families) })
		b.Run(m.name+"/Store", func(b *testing.B) { benchStore(b, db, families) })
		b.Run(m.name+"/Bare", func(b *testing.B) { benchBare(b, m.bare) })
	}
}

// seed stores n families of as many sessions.
func seed(b *testing.B, db *sqlstore.DB, n int) []refresh.FamilyID {
	b.Helper()
	ctx := b.Context()
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	must(db.Clients().Put(ctx, client.Client{ID: "c"}, audit.Event{}))
	must(db.Accounts().Put(ctx, account.Account{Subject: "1", Username: "a"}))
	end := time.Now().Add(24 * time.Hour)
	ids := make([]refresh.FamilyID, n)
	for i := range ids {
		f := refresh.Family{
			ID: refresh.NewFamilyID(),
			Grant: refresh.Grant{
				Client: "c", Subject: "1", Session: opaque.NewID(), Scope: []string{"openid", "orders:read"},
				AMR: []string{"pwd"}, Key: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", Begun: time.Now(), AbsoluteEnd: end,
			},
			State: refresh.State{Generation: 1, IdleEnd: end, Network: "192.0.2.1", Agent: "Mozilla/5.0 (X11; Linux x86_64) Browser/1"},
		}
		ids[i] = f.ID
		must(db.Sessions().Begin(ctx, session.Session{
			ID: f.Session, Handle: opaque.New(opaque.Session).Digest(), Subject: "1", IdleEnd: end, AbsoluteEnd: end,
		}, audit.Event{}))
		d := opaque.New(opaque.Code).Digest()
		must(db.Codes().Put(ctx, code.Code{Digest: d, Family: f.ID, Grant: f.Grant}))
		must(db.Codes().Redeem(ctx, d, f.Begun, f))
	}
	return ids
}

// callers runs fn b.N times by 64 callers, each with numbers of its own.
func callers(b *testing.B, fn func(ctx context.Context, i int) error) {
	const n = 64
	b.ResetTimer()
	var all sync.WaitGroup
	for c := range n {
		all.Go(func() {
			for i := c; i < b.N; i += n {
				if err := fn(b.Context(), i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "swaps/s")
}

func benchRotator(b *testing.B, db *sqlstore.DB, ids []refresh.FamilyID) {
	var r refresh.Rotator
	r.Store = db.Families()
	defer r.Wait()
	rules := refresh.Rules{}
	rules.Idle = time.Hour
	current := generations(b, db, ids)
	callers(b, func(ctx context.Context, i int) error {
		k := i % 64 * len(ids) / 64
		k += i / 64 % (len(ids) / 64)
		res, err := r.Rotate(ctx, ids[k], rules, refresh.Shown{
			Client: "c", Generation: current[k], Key: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
		})
		if err == nil && res.Answer != refresh.Rotated {
			b.Errorf("answer %v, %s", res.Answer, res.Why)
		}
		current[k] = res.Family.Generation
		return err
	})
}

func generations(b *testing.B, db *sqlstore.DB, ids []refresh.FamilyID) []int64 {
	b.Helper()
	found, err := db.Families().Load(b.Context(), ids)
	if err != nil {
		b.Fatal(err)
	}
	at := map[refresh.FamilyID]int64{}
	for _, f := range found {
		at[f.ID] = f.Generation
	}
	list := make([]int64, len(ids))
	for i, id := range ids {
		list[i] = at[id]
	}
	return list
}

func benchStore(b *testing.B, db *sqlstore.DB, ids []refresh.FamilyID) {
	found, err := db.Families().Load(b.Context(), ids)
	if err != nil {
		b.Fatal(err)
	}
	callers(b, func(ctx context.Context, i int) error {
		k := i%64*len(found)/64 + i/64%(len(found)/64)
		f := &found[k]
		n := f.State
		n.Generation++
		ok, err := db.Families().Swap(ctx, []refresh.Change{{ID: f.ID, Version: f.Version, State: n}})
		if err != nil {
			return err
		}
		if !ok[0] {
			b.Error("a swap at the right version was not written")
		}
		f.State, f.Version = n, f.Version+1
		return nil
	})
}

func benchBare(b *testing.B, db *sql.DB) {
	ctx := b.Context()
	const rows = 1000
	for _, text := range []string{"drop table if exists bare", "create table bare (id bigint primary key, version bigint not null)"} {
		if _, err := db.ExecContext(ctx, text); err != nil {
			b.Fatal(err)
		}
	}
	for i := range rows {
		if _, err := db.ExecContext(ctx, "insert into bare (id, version) values ($1, 0)", i); err != nil {
			b.Fatal(err)
		}
	}
	swap, err := db.PrepareContext(ctx, "update bare set version = version + 1 where id = $1 and version = $2")
	if err != nil {
		b.Fatal(err)
	}
	defer swap.Close()
	var versions [rows]int64
	callers(b, func(ctx context.Context, i int) error {
		k := i%64*rows/64 + i/64%(rows/64)
		r, err := swap.ExecContext(ctx, k, versions[k])
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n != 1 {
			b.Errorf("%d rows, %v", n, err)
		}
		versions[k]++
		return nil
	})
}
