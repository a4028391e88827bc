package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/fastbind/fastbind/internal/refresh"
)

func (db *DB) openPostgres(ctx context.Context, url string) error {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return errors.New("the URL of the PostgreSQL database is malformed") // err may hold a part of it
	}
	// What the contracts of the stores rest on.
	cfg.RuntimeParams["default_transaction_isolation"] = "read committed"
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "fastbind"
	}
	db.pool = stdlib.OpenDB(*cfg)
	conns := cmp.Or(db.options.MaxConns, 16)
	db.pool.SetMaxOpenConns(conns)
	db.pool.SetMaxIdleConns(conns)
	db.pool.SetConnMaxIdleTime(5 * time.Minute)
	db.reader = db.pool
	db.dialect = dialect{
		forUpdate:  " for update",
		forShare:   " for share",
		skipLocked: " for update skip locked",
		clock:      "select (extract(epoch from clock_timestamp()) * 1000000)::bigint",
		pushGate:   "select pg_advisory_xact_lock(hashtextextended($1, 9126))",
		notify:     "select pg_notify('" + channel + "', $1)",
		transact:   db.transactPostgres,
		write: func(ctx context.Context, fn func(context.Context, querier) error) error {
			return fn(ctx, db.pool)
		},
		transient: func(err error) bool {
			return slices.Contains([]string{"40001", "40P01"}, postgresCode(err))
		},
		unique:  func(err error) bool { return postgresCode(err) == "23505" },
		load:    db.loadAll,
		swap:    db.swapAll,
		confirm: db.confirmAll,
		wake:    func(ctx context.Context, f func()) error { return waitForNotifications(ctx, cfg, f) },
		migrate: func(ctx context.Context, fn func(*goose.Provider) error) error { return migratePostgres(cfg, fn) },
		close:   func() error { return nil },
	}
	if err := db.pool.PingContext(ctx); err != nil {
		return errors.Join(err, db.pool.Close())
	}
	return nil
}

// postgresCode returns the SQLSTATE of err; empty if it is not PostgreSQL's.
func postgresCode(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

func (db *DB) transactPostgres(ctx context.Context, fn func(context.Context, querier) error) error {
	tx, err := db.pool.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer tx.Rollback()
	if err := fn(ctx, tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	return nil
}

func (db *DB) loadAll(ctx context.Context, ids []refresh.FamilyID) ([]refresh.Family, error) {
	raw := make([][]byte, len(ids))
	for i, id := range ids {
		raw[i] = familyBytes(id)
	}
	return list(ctx, db.reader, scanFamily, "select "+familyColumns+" from family where id = any($1)", raw)
}

// swapPlain changes many families in one statement. The arrays are sorted by
// id, so that two such statements lock what they share in the same order.
const swapPlain = `update family f set
	version = f.version + 1, generation = c.generation, confirmed = c.confirmed, idle_end = c.idle_end,
	rotated = c.rotated, attempt = c.attempt, network = c.network, agent = c.agent, replays = c.replays,
	retries = c.retries, shadows = c.shadows, shadowed_in = c.shadowed_in, alarms = c.alarms
	from unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[],
		$8::text[], $9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[])
	as c(id, version, generation, confirmed, idle_end, rotated, attempt,
		network, agent, replays, retries, shadows, shadowed_in, alarms)
	where f.id = c.id and f.version = c.version and f.ended = 0
	returning f.id`

// swapAll writes what ends a family or has events first, each in a transaction
// of its own: when one of them fails nothing else has been written.
func (db *DB) swapAll(ctx context.Context, changes []refresh.Change) ([]bool, error) {
	written := make([]bool, len(changes))
	plain := make([]int, 0, len(changes))
	for i, c := range changes {
		if c.State.Ended.IsZero() && len(c.Events) == 0 {
			plain = append(plain, i)
			continue
		}
		err := db.transact(ctx, func(ctx context.Context, q querier) (err error) {
			written[i], err = db.swapOne(ctx, q, c)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(plain) == 0 {
		return written, nil
	}
	slices.SortFunc(plain, func(a, b int) int { return cmp.Compare(changes[a].ID, changes[b].ID) })
	var ids []refresh.FamilyID
	err := db.write(ctx, func(ctx context.Context, q querier) (err error) {
		ids, err = list(ctx, q, scanFamilyID, swapPlain, swapArrays(changes, plain)...)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, i := range plain {
		written[i] = slices.Contains(ids, changes[i].ID)
	}
	return written, nil
}

// swapArrays returns the arguments of swapPlain for the changes at the given
// places.
func swapArrays(changes []refresh.Change, at []int) []any {
	n := len(at)
	ids, attempts := make([][]byte, n), make([][]byte, n)
	networks, agents := make([]string, n), make([]string, n)
	var numbers [10][]int64
	for k := range numbers {
		numbers[k] = make([]int64, n)
	}
	for i, place := range at {
		c := &changes[place]
		s := &c.State
		ids[i], attempts[i], networks[i], agents[i] = familyBytes(c.ID), digestBytes(s.Attempt), s.Network, s.Agent
		for k, v := range [len(numbers)]int64{
			c.Version, s.Generation, s.Confirmed, unix(s.IdleEnd), milli(s.Rotated),
			s.Replays, s.Retries, s.Shadows, s.ShadowedIn, s.Alarms,
		} {
			numbers[k][i] = v
		}
	}
	return []any{
		ids, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], attempts,
		networks, agents, numbers[5], numbers[6], numbers[7], numbers[8], numbers[9],
	}
}

// confirmAll confirms many families in one statement: of the generations named
// for a family the highest that exists.
func (db *DB) confirmAll(ctx context.Context, uses []refresh.Use) error {
	uses = slices.Clone(uses)
	slices.SortFunc(uses, func(a, b refresh.Use) int { return cmp.Compare(a.Family, b.Family) })
	ids, generations := make([][]byte, len(uses)), make([]int64, len(uses))
	for i, u := range uses {
		ids[i], generations[i] = familyBytes(u.Family), u.Generation
	}
	return db.write(ctx, func(ctx context.Context, q querier) error {
		_, err := exec(ctx, q, `update family f set confirmed = u.generation, version = f.version + 1
			from (select g.id, max(c.generation) as generation
				from unnest($1::bytea[], $2::bigint[]) as c(id, generation)
				join family g on g.id = c.id and g.ended = 0 and g.generation >= c.generation
				group by g.id order by g.id) as u
			where f.id = u.id and f.ended = 0 and f.confirmed < u.generation`, ids, generations)
		return err
	})
}

// channel is where nodes tell each other that the feed has grown.
const channel = "fastbind_revocations"

// aliveEvery is how often a connection on which nothing arrives is tried.
const aliveEvery = 15 * time.Second

func waitForNotifications(ctx context.Context, cfg *pgx.ConnConfig, f func()) error {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect for notifications: %w", err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing) // nothing is lost with it
	}()
	if _, err := conn.Exec(ctx, "listen "+channel); err != nil {
		return fmt.Errorf("listen for notifications: %w", err)
	}
	f()
	for {
		quiet, cancel := context.WithTimeout(ctx, aliveEvery)
		_, err := conn.WaitForNotification(quiet)
		cancel()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			f()
		case pgconn.Timeout(err):
			alive, cancel := context.WithTimeout(ctx, aliveEvery/3)
			err := conn.Ping(alive)
			cancel()
			if err != nil {
				return fmt.Errorf("wait for notifications: %w", err)
			}
			f() // a ping takes in what arrived meanwhile
		default:
			return fmt.Errorf("wait for notifications: %w", err)
		}
	}
}

func scanFamilyID(r scanner) (id refresh.FamilyID, err error) {
	err = r.Scan(familyInto{&id})
	return id, err
}
