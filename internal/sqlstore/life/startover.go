package life

import (
	"context"
	"fmt"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

// A NewStart is how [StartOver] is done.
type NewStart struct {
	At     time.Time
	Note   string
	Keys   []string      // signing keys whose signatures count no more
	Events []audit.Event // written beside those that the ends have
}

// Over is what a [NewStart] ended.
type Over struct {
	revoke.Ended
	Codes, Pushed, Consents int64
}

// StartOver ends everything that lives in the transaction of q, for the reason
// epoch, and forgets what was begun or allowed: what of it was ended, used or
// withdrawn since the backup was made is not known. The numbers of the feed go
// on where nobody has been.
func StartOver(ctx context.Context, db *engine.DB, q engine.Querier, s NewStart) (over Over, err error) {
	e := &ending{db: db, q: q, at: s.At, reason: audit.Epoch, note: s.Note, leap: engine.Unix(s.At) * revoke.Leap}
	e.events = s.Events
	e.event(audit.Event{Kind: audit.Restored})
	// Who signs in again within the second gets tokens that count: what was
	// issued in it before was signed with the keys that are gone.
	if err := e.everything(ctx, engine.Unix(s.At)-1); err != nil {
		return Over{}, err
	}
	for _, kid := range s.Keys {
		e.event(audit.Event{Kind: audit.KeyRevokedKind, Note: kid})
		e.tell(revoke.Key, kid)
	}
	if over.Pushed, err = engine.Exec(ctx, q, "delete from pushed"); err != nil {
		return Over{}, fmt.Errorf("delete pushed requests: %w", err)
	}
	if over.Consents, err = engine.Exec(ctx, q, "delete from consent"); err != nil {
		return Over{}, fmt.Errorf("delete consents: %w", err)
	}
	err = e.finish(ctx)
	over.Ended, over.Codes = e.ended, e.codes
	return over, err
}
