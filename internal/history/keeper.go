package history

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

// A Keeper compares the database of a running server with what was noted of it,
// and notes how far it has come. Set the fields before use.
type Keeper struct {
	Store Store
	File  File
	Log   *slog.Logger
	// Now returns the time; nil means time.Now.
	Now func() time.Time

	noted Mark // by Run and Check only
	said  time.Time
	lost  atomic.Bool
}

// How often the database is looked at, how often that is written into it, and
// how often a server that serves nothing says so.
const (
	lookEvery = time.Second
	seenEvery = time.Minute
	sayEvery  = time.Minute
)

// Check compares the database with the note. It is a [LostError] if history is
// missing.
func (k *Keeper) Check(ctx context.Context) error {
	noted, err := k.File.Read()
	if err != nil {
		return err
	}
	found, err := k.Store.Mark(ctx)
	if err != nil {
		return err
	}
	if err := found.After(noted); err != nil {
		return err
	}
	k.noted = found
	return nil
}

// Run looks at the database until ctx ends, and once more then. While the
// database does not answer it goes on with what it knows.
func (k *Keeper) Run(ctx context.Context) error {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for failing := false; ; {
		err := k.Look(ctx)
		failing = k.tell(ctx, err, failing)
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookEvery)
			defer cancel()
			k.tell(last, k.Look(last), failing)
			return nil
		case <-t.C:
		}
	}
}

// tell logs a fault when it begins, and reports whether it lasts.
func (k *Keeper) tell(ctx context.Context, err error, failing bool) bool {
	if err != nil && !failing && ctx.Err() == nil {
		k.Log.LogAttrs(ctx, slog.LevelWarn, "history cannot be looked at", slog.Any("err", err))
	}
	return err != nil
}

// Look compares the database with what is known of it, and notes how far it has
// come. A database that has lost history closes [Keeper.Guard] until a restore
// is finished; one that lacks only the last moments does not, since servers that
// run know what was revoked in them.
func (k *Keeper) Look(ctx context.Context) error {
	now := k.now()
	found, err := k.Store.Mark(ctx)
	if err != nil {
		return err
	}
	before := k.noted
	before.Number = 0 // revocations that are missing are told again by those who know them
	if err := found.After(before); err != nil {
		k.lost.Store(true)
		if now.Sub(k.said).Abs() >= sayEvery {
			k.said = now
			k.Log.LogAttrs(ctx, slog.LevelError, "nothing is served", slog.Any("err", err))
		}
		return nil
	}
	if k.lost.Swap(false) {
		k.Log.LogAttrs(ctx, slog.LevelWarn, "the restore was finished: serving again")
	}
	if now.Sub(time.UnixMilli(found.Seen)) >= seenEvery {
		if err := k.Store.Seen(ctx, now); err != nil {
			return err
		}
		if found, err = k.Store.Mark(ctx); err != nil {
			return err
		}
	}
	if found.Installation == k.noted.Installation && found.Epoch == k.noted.Epoch {
		found.Number = max(found.Number, k.noted.Number) // until what is missing was told again nobody may forget it
	}
	if found == k.noted {
		return nil
	}
	k.noted = found
	return k.File.Write(found)
}

// Guard answers 503 instead of next while history is missing.
func (k *Keeper) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if k.lost.Load() {
			w.Header().Set("Retry-After", "60")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (k *Keeper) now() time.Time {
	if k.Now != nil {
		return k.Now()
	}
	return time.Now()
}
