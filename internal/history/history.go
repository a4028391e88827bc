// Package history notices that a database was put back to an earlier state: that
// it was restored from a backup, or lost what it had committed.
//
// A database cannot know that by itself, so each server notes outside of it how
// far it has seen it come. The invariant: what is noted was durable in the
// database before, so that a database which is behind the note has lost
// history.
package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A Mark says how far the history of a database has come.
type Mark struct {
	// Installation is another one for each database, and the same for all
	// copies of it.
	Installation string `json:"installation"`
	// Epoch counts the restores that were finished.
	Epoch int64 `json:"epoch"`
	// Begun is when the epoch began, in unix seconds; 0: with the database.
	Begun int64 `json:"begun"`
	// Number is that of the newest entry of the revocation feed.
	Number int64 `json:"feed"`
	// Seen is the newest moment at which a server has written that it runs, in
	// unix milliseconds.
	Seen int64 `json:"seen"`
}

// Tolerated is how much of its history a database may lose while servers run
// that remember the revocations of that time: a standby that took over may lack
// the last moments.
const Tolerated = 2 * time.Minute

// A LostError says that a database is behind what was noted of it.
type LostError struct{ Noted, Found Mark }

func (e *LostError) Error() string {
	what := fmt.Sprintf("revocation %d was seen and the newest is %d", e.Noted.Number, e.Found.Number)
	switch {
	case e.Found.Epoch < e.Noted.Epoch:
		what = fmt.Sprintf("restore %d was finished and it knows of %d", e.Noted.Epoch, e.Found.Epoch)
	case e.Found.Number >= e.Noted.Number:
		what = fmt.Sprintf("the last %s are missing", time.Duration(e.Noted.Seen-e.Found.Seen)*time.Millisecond)
	}
	return "the database has lost history (" + what + "): if it was restored from a backup, run fastbind restore finish; until then what was revoked may be valid again, so nothing is served"
}

// After returns a [LostError] if the database is behind what was noted of it.
// The last moments are not missed: see [Tolerated].
func (m Mark) After(noted Mark) error {
	switch {
	case m.Installation != noted.Installation || m.Epoch > noted.Epoch:
		return nil // another database, or all was ended since
	case m.Epoch < noted.Epoch, m.Number < noted.Number, time.Duration(noted.Seen-m.Seen)*time.Millisecond > Tolerated:
		return &LostError{noted, m}
	}
	return nil
}

// Store is the memory of the package.
type Store interface {
	// Mark returns how far the database has come.
	Mark(ctx context.Context) (Mark, error)
	// Seen notes that a server runs at now, if nobody has noted a later time.
	Seen(ctx context.Context, now time.Time) error
}

// A File is where the note is kept, beside the master key. The empty name keeps
// none.
type File string

// In returns the file in a folder of data; "" for none.
func In(data string) File {
	if data == "" {
		return ""
	}
	return File(filepath.Join(data, "history.json"))
}

// Read returns the note; the zero Mark if there is none.
func (f File) Read() (m Mark, err error) {
	if f == "" {
		return m, nil
	}
	b, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return m, fmt.Errorf("history: %s cannot be read; remove it if the database was not restored from a backup: %w", f, err)
	}
	return m, nil
}

// Write replaces the note: it is there either as it was or as it should be.
func (f File) Write(m Mark) error {
	if f == "" {
		return nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(string(f)), ".history-*") // mode 0600
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	_, err = tmp.Write(append(b, '\n'))
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), string(f))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("history: %w", err), os.Remove(tmp.Name()))
	}
	return nil
}
