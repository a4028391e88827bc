package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// busyWait is for how long SQLite waits for the lock of another process.
const busyWait = "busy_timeout(5000)"

func (db *DB) openSQLite(ctx context.Context, path string) (err error) {
	if path == "" {
		return errors.New("the database URL names no file")
	}
	if err := createPrivate(path); err != nil {
		return err
	}
	writer, err := sql.Open("sqlite", sqliteName(path, busyWait, "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"))
	if err != nil {
		return err
	}
	writer.SetMaxOpenConns(1)
	conn, err := writer.Conn(ctx)
	if err != nil {
		return errors.Join(err, writer.Close())
	}
	db.pool, err = sql.Open("sqlite", sqliteName(path, busyWait, "query_only(1)"))
	if err != nil {
		return errors.Join(err, conn.Close(), writer.Close())
	}
	readers := max(4, runtime.GOMAXPROCS(0))
	db.pool.SetMaxOpenConns(readers)
	db.pool.SetMaxIdleConns(readers)
	db.Reader = &prepared{pool: db.pool, stmts: make(map[string]*sql.Stmt)}
	w := &queue{conn: conn, batch: db.options.Watch.Batch, stmts: make(map[string]*sql.Stmt)}
	db.Dialect = Dialect{
		transact:  w.transact,
		write:     w.transact,
		snapshot:  db.snapshotSQLite,
		copyTo:    func(ctx context.Context, file string) error { return copySQLite(ctx, path, file) },
		transient: func(err error) bool { return sqliteCode(err)&0xff == sqlite3.SQLITE_BUSY },
		Unique:    func(err error) bool { return sqliteCode(err) == sqlite3.SQLITE_CONSTRAINT_UNIQUE },
		wake:      db.watchFile,
		migrate:   func(ctx context.Context, fn func(*goose.Provider) error) error { return migrateSQLite(path, fn) },
		close:     func() error { return errors.Join(w.close(), writer.Close()) },
	}
	return nil
}

// snapshotSQLite keeps one transaction that only reads open while fn runs.
func (db *DB) snapshotSQLite(ctx context.Context, fn func(context.Context, Querier) error) (err error) {
	conn, err := db.pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, "begin deferred"); err != nil {
		return err
	}
	defer func() {
		_, end := conn.ExecContext(context.WithoutCancel(ctx), "rollback")
		err = errors.Join(err, end)
	}()
	return fn(ctx, conn)
}

// copySQLite writes a copy of one file into another, which is empty.
func copySQLite(ctx context.Context, from, to string) (err error) {
	source, err := sql.Open("sqlite", sqliteName(from, busyWait))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	if _, err := source.ExecContext(ctx, "vacuum into ?", to); err != nil {
		return err
	}
	made, err := sql.Open("sqlite", sqliteName(to, "query_only(1)"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, made.Close()) }()
	sound, err := One(ctx, made, String, "pragma integrity_check")
	if err == nil && sound != "ok" {
		err = fmt.Errorf("the copy is not sound: %s", sound)
	}
	return err
}

// createPrivate makes sure that there is a file at path that only its owner can
// read. SQLite gives the files beside it the same mode.
//
// It never opens a file that may be in use: closing it would drop the locks that
// this process holds on it by other handles.
func createPrivate(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		return os.Chmod(path, 0o600)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // has the mode 0600
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	linked := os.Link(f.Name(), path)
	if err := os.Remove(f.Name()); err != nil || linked == nil || errors.Is(linked, fs.ErrExist) {
		return err // there is a file: ours, or somebody else was faster
	}
	// The file system knows no links.
	if f, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); err == nil {
		return f.Close()
	}
	return err
}

// sqliteName returns the data source name of a file whose connections begin
// with the pragmas, in their order.
func sqliteName(path string, pragmas ...string) string {
	v := url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + v.Encode()
}

// sqliteCode returns the extended result code of err; 0 if it is not SQLite's.
func sqliteCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

// watchFile calls f when this process has appended to the feed, and when
// anybody has changed the file.
func (db *DB) watchFile(ctx context.Context, f func()) error {
	conn, err := db.pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	told := db.listen()
	defer db.unlisten(told)
	poll := db.options.Poll
	if poll == 0 {
		poll = 50 * time.Millisecond
	}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	version := int64(-1)
	for {
		now, err := One(ctx, conn, Int, "pragma data_version")
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("watch database file: %w", err)
		case now != version:
			version = now
			f()
		}
		select {
		case <-told:
			f()
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// listen returns a channel that holds something after this process has appended
// to the feed.
func (db *DB) listen() chan struct{} {
	told := make(chan struct{}, 1)
	db.mu.Lock()
	defer db.mu.Unlock()
	db.waiting[told] = struct{}{}
	return told
}

func (db *DB) unlisten(told chan struct{}) {
	db.mu.Lock()
	defer db.mu.Unlock()
	delete(db.waiting, told)
}

// Tell wakes those who wait in this process: the feed has grown.
func (db *DB) Tell() {
	db.mu.Lock()
	defer db.mu.Unlock()
	for told := range db.waiting {
		select {
		case told <- struct{}{}:
		default: // it has not yet looked at what it was told before
		}
	}
}
