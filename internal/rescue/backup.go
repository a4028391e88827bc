// Package rescue makes backups of an installation, and makes one safe that was
// restored from a backup.
//
// The invariant: what it says is done is durable and was looked at.
package rescue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/fsck"
)

// A Copy is a backup that was made.
type Copy struct {
	File  string      `json:"file"`
	Bytes int64       `json:"bytes"`
	Fsck  fsck.Report `json:"fsck"` // of the copy
}

// Write writes c for people.
func (c Copy) Write(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%s: %d bytes. The master key is not in it: keep a copy of it elsewhere.\n", c.File, c.Bytes); err != nil {
		return err
	}
	if c.Fsck.Broken > 0 {
		return c.Fsck.Write(w)
	}
	return nil
}

// Backup writes the database of cfg, as it is at one moment, into a new file
// that only its owner can read, while servers use it. The file appears when it
// is durable and sound; one that is there already is left alone. Progress is
// told of what takes long.
func Backup(ctx context.Context, cfg app.Config, db *app.Database, file string, progress io.Writer) (done Copy, err error) {
	if _, err := os.Lstat(file); err == nil {
		return done, fmt.Errorf("%s exists: a backup never replaces a file", file)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return done, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(file), ".fastbind-backup-*") // mode 0700
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	made := filepath.Join(dir, "db")
	f, err := os.OpenFile(made, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return done, err
	}
	if err := f.Close(); err != nil {
		return done, err
	}
	stop := tell(made, progress)
	err = db.CopyTo(ctx, made)
	stop()
	if err != nil {
		return done, err
	}
	if done.Fsck, err = look(ctx, cfg, made); err != nil {
		return done, err
	}
	if done.Bytes, err = durable(made); err != nil {
		return done, err
	}
	if err := os.Link(made, file); err != nil { // fails if the file exists by now
		return done, fmt.Errorf("put the backup in its place: %w", err)
	}
	done.File = file
	return done, syncDir(filepath.Dir(file))
}

// look opens a copy as a server would and looks for broken invariants.
func look(ctx context.Context, cfg app.Config, file string) (r fsck.Report, err error) {
	cfg.DatabaseURL = "sqlite://" + file
	db, err := app.OpenDatabase(ctx, cfg)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.Fsck(ctx, time.Now())
}

// durable writes all of a file to the disk and returns its size.
func durable(file string) (int64, error) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// tellEvery is how often somebody who waits hears how far a copy is.
const tellEvery = 2 * time.Second

// tell says how large the file has become, again and again, until stop is
// called.
func tell(file string, progress io.Writer) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(tellEvery)
		defer t.Stop()
		for {
			select {
			case <-end:
				return
			case <-t.C:
				if info, err := os.Stat(file); err == nil {
					fmt.Fprintf(progress, "%d MB written\n", info.Size()>>20)
				}
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}
