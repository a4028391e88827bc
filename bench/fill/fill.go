// Package fill fills a database with very many rows, for measuring what a server
// does when there are as many.
//
// The rows are copies of one that the server itself has written, made inside the
// database, so they follow the schema whatever becomes of it. The invariant: when
// [DB.Copy] returns nil all indexes are there again and the statistics are fresh.
package fill

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the drivers
	_ "modernc.org/sqlite"
)

// A DB is a database that nobody else uses meanwhile.
type DB struct {
	pool   *sql.DB
	sqlite bool
}

// Open opens the database at a URL as the server takes it.
func Open(ctx context.Context, address string) (*DB, error) {
	path, lite := strings.CutPrefix(address, "sqlite://")
	driver, source := "pgx", address
	if lite {
		driver, source = "sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma=busy_timeout(5000)"
	}
	pool, err := sql.Open(driver, source)
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(1) // settings are those of a connection
	db := &DB{pool: pool, sqlite: lite}
	settings := []string{
		"set synchronous_commit = off", "set maintenance_work_mem = '512MB'",
	}
	if lite {
		settings = []string{"pragma journal_mode = off", "pragma synchronous = off", "pragma cache_size = -500000"}
	}
	for _, s := range settings {
		if _, err := pool.ExecContext(ctx, s); err != nil {
			return nil, errors.Join(err, pool.Close())
		}
	}
	return db, nil
}

// Close makes the database as durable as it was and closes it.
func (db *DB) Close(ctx context.Context) error {
	var err error
	if db.sqlite {
		_, err = db.pool.ExecContext(ctx, "pragma journal_mode = wal")
	} else {
		_, err = db.pool.ExecContext(ctx, "checkpoint")
	}
	return errors.Join(err, db.pool.Close())
}

// ID returns the 16 bytes that [DB.Key] yields for number i of n. They are in
// the order of i and spread over all of the key space.
func ID(i, n int64) (id [16]byte) {
	binary.BigEndian.PutUint64(id[:8], uint64(i*step(n)))
	binary.BigEndian.PutUint64(id[8:], uint64(i))
	return id
}

func step(n int64) int64 { return 1<<62/n - 1 }

// Key returns an expression for the 16 bytes of [ID] where i is the number of a
// copy of n.
func (db *DB) Key(n int64) string { return db.bytes(step(n), 0) }

// Digest is [DB.Key] with 16 bytes of zero after them.
func (db *DB) Digest(n int64) string { return db.bytes(step(n), 16) }

func (db *DB) bytes(step int64, zeros int) string {
	after := strings.Repeat("00", zeros)
	if db.sqlite {
		return fmt.Sprintf("unhex(printf('%%016x%%016x', i * %d, i) || '%s')", step, after)
	}
	return fmt.Sprintf("decode(lpad(to_hex(i * %d), 16, '0') || lpad(to_hex(i), 16, '0') || '%s', 'hex')", step, after)
}

// Copy adds n copies of the row of table for which where is true. In each of
// them the columns named in set get the value of an expression, in which i is
// the number of the copy, from 1.
func (db *DB) Copy(ctx context.Context, table, where string, n int64, set map[string]string) error {
	columns, err := db.texts(ctx, "select column_name from information_schema.columns where table_schema = current_schema() and table_name = $1 and is_identity = 'NO' order by ordinal_position",
		"select name from pragma_table_info($1) order by cid", table)
	if err != nil {
		return fmt.Errorf("columns of %s: %w", table, err)
	}
	values := make([]string, len(columns))
	for i, c := range columns {
		values[i] = "r." + c
		if v, ok := set[c]; ok {
			values[i] = v
		}
	}
	numbers := "generate_series(1::bigint, $1) as s(i)"
	if db.sqlite {
		numbers = "(with recursive s(i) as (select 1 union all select i + 1 from s where i < $1) select i from s) as s"
	}
	indexes, err := db.dropIndexes(ctx, table)
	if err != nil {
		return fmt.Errorf("indexes of %s: %w", table, err)
	}
	text := fmt.Sprintf("insert into %s (%s) select %s from %s cross join (select * from %s where %s limit 1) as r",
		table, strings.Join(columns, ", "), strings.Join(values, ", "), numbers, table, where)
	if _, err := db.pool.ExecContext(ctx, text, n); err != nil {
		return fmt.Errorf("copy row of %s: %w", table, err)
	}
	tidy := "vacuum (analyze) " + table // as a table of this size is when nobody has just filled it
	if db.sqlite {
		tidy = "analyze " + table
	}
	for _, s := range append(indexes, tidy) {
		if _, err := db.pool.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// dropIndexes drops the indexes of a table that are no constraints, and returns
// the statements that make them again: faster than to keep them up to date.
func (db *DB) dropIndexes(ctx context.Context, table string) ([]string, error) {
	const postgres = ` from pg_index i join pg_class c on c.oid = i.indexrelid
		where i.indrelid = $1::regclass and not exists (select 1 from pg_constraint k where k.conindid = i.indexrelid) order by c.relname`
	const sqlite = " from sqlite_master where type = 'index' and tbl_name = $1 and sql is not null order by name"
	names, err := db.texts(ctx, "select c.relname"+postgres, "select name"+sqlite, table)
	if err != nil {
		return nil, err
	}
	again, err := db.texts(ctx, "select pg_get_indexdef(i.indexrelid)"+postgres, "select sql"+sqlite, table)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, err := db.pool.ExecContext(ctx, "drop index "+name); err != nil {
			return nil, err
		}
	}
	return again, nil
}

// texts runs the query for this engine, of one column of text.
func (db *DB) texts(ctx context.Context, postgres, sqlite string, arg any) (all []string, err error) {
	text := postgres
	if db.sqlite {
		text = sqlite
	}
	rows, err := db.pool.QueryContext(ctx, text, arg)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}
