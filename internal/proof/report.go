package proof

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
)

// Events keeps the record of what happened.
type Events interface {
	// Record writes events that belong to no other change.
	Record(ctx context.Context, events ...audit.Event) error
}

// A Report tells which clients are issued tokens that are bound to no key: what
// would be refused if a proof were required. It is safe for concurrent use.
type Report struct {
	Events Events
	Log    *slog.Logger

	mu      sync.Mutex
	clients map[string]*tally // those that were issued any
}

// A tally is what was issued to a client since it was last told.
type tally struct {
	issued int64
	told   time.Time
}

// tellEvery is how often a client is told about.
const tellEvery = time.Hour

// Unbound notes that a client was issued a token that is bound to no key, to the
// party named. The first time is told at once; after that each node tells no more
// than once in an hour, with the number since. What cannot be written is told
// with the next: the client has its token.
func (r *Report) Unbound(ctx context.Context, client string, by audit.Party) {
	n, told := r.count(client, by.Time)
	if n == 0 {
		return
	}
	err := r.Events.Record(ctx, audit.Event{
		Time: by.Time, Kind: audit.Unbound, Client: client, Parties: []audit.Party{by},
		Note: fmt.Sprintf("%d token answers without a proof since the last event", n),
	})
	if err != nil {
		r.Log.LogAttrs(ctx, slog.LevelWarn, "event of a token without a proof", slog.Any("err", err))
		r.takeBack(client, n, told)
	}
}

// count counts one more, and returns how many are to be told now, and when some
// were told before.
func (r *Report) count(client string, now time.Time) (n int64, told time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.clients == nil {
		r.clients = make(map[string]*tally)
	}
	t := r.clients[client]
	if t == nil {
		t = &tally{}
		r.clients[client] = t
	}
	t.issued++
	told = t.told
	if since := now.Sub(told); since >= 0 && since < tellEvery {
		return 0, told
	}
	n, t.issued, t.told = t.issued, 0, now
	return n, told
}

func (r *Report) takeBack(client string, n int64, told time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients[client].issued += n
	r.clients[client].told = told
}
