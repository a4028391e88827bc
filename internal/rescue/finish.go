package rescue

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/history"
	"github.com/fastbind/fastbind/internal/keys"
	"github.com/fastbind/fastbind/internal/opaque"
)

// An Outcome says what finishing a restore has ended, and what nobody but an
// operator can know.
type Outcome struct {
	Ended  app.Restored `json:"ended"`
	LookAt []string     `json:"look_at"`
}

// Write writes o for people.
func (o Outcome) Write(w io.Writer) error {
	e := o.Ended
	_, err := fmt.Fprintf(w, "epoch %d: ended sessions %d, families %d, codes %d, pushed requests %d, consents %d, signing keys %d\n"+
		"Everything that was issued before counts nowhere any more; people sign in again.\n"+
		"What happened after the backup is not known. Look at these yourself:\n",
		e.Epoch, e.Sessions, e.Families, e.Codes, e.Pushed, e.Consents, e.Keys)
	for _, line := range o.LookAt {
		if _, err := fmt.Fprintf(w, "  - %s\n", line); err != nil {
			return err
		}
	}
	return err
}

// Finish makes an installation safe whose database was restored from a backup,
// while servers run or while none does: see docs/restore.md. To finish a restore
// that was none costs every person a sign-in, and nothing else.
func Finish(ctx context.Context, cfg app.Config, db *app.Database, secrets opaque.Secrets, note string) (o Outcome, err error) {
	file := history.In(cfg.Data)
	noted, err := file.Read()
	if err != nil {
		return o, err
	}
	ring := &keys.Ring{Store: db.Keys(), Seal: secrets.Keys(keys.SealPurpose)}
	fresh, err := ring.Fresh(ctx)
	if err != nil {
		return o, err
	}
	if o.Ended, err = db.FinishRestore(ctx, app.Restore{At: time.Now(), Keys: fresh, Noted: noted, Note: note}); err != nil {
		return o, err
	}
	o.LookAt = []string{
		"users who were disabled or deleted: fastbind user list, fastbind user disable NAME",
		"passwords that were changed because somebody knew them: fastbind user password NAME",
		"users and clients that were created are gone: create them again",
		"clients that were disabled or deleted, and secrets of clients that were changed: fastbind client list, fastbind client delete ID",
		"other copies of the master key, if one was replaced",
	}
	found, err := db.Histories().Mark(ctx)
	if err != nil {
		return o, err
	}
	return o, file.Write(found)
}
