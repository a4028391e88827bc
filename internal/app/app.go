// Package app builds the server from its configuration. It is the one package
// that knows all others.
//
// It owns the wiring, the background work and the order of shutting down, and
// decides nothing else.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fastbind/fastbind/dpop"
	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/history"
	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/internal/keys"
	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/policy"
	"github.com/fastbind/fastbind/internal/proof"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/session"
	"github.com/fastbind/fastbind/internal/sqlstore"
	"github.com/fastbind/fastbind/internal/token"
	"github.com/fastbind/fastbind/internal/web"
)

// An App is a server that is ready to answer. It is safe for concurrent use.
type App struct {
	Config   Config
	DB       *sqlstore.DB
	Clients  *client.Cache
	Accounts *account.Directory
	Sessions session.Store
	Families refresh.Store
	Gate     *session.Gate
	Keys     *keys.Ring
	Revoke   *revoke.Core
	Attempts *limit.Attempts
	Proofs   *proof.Checker

	log     *slog.Logger
	now     func() time.Time
	rotator *refresh.Rotator
	minter  refresh.Minter
	mint    *token.Mint
	reader  *token.Reader
	auth    *client.Authenticator
	sealer  web.Sealer
	cookies web.Cookies
	insight insight
	floods  limit.Store // per node: cheap
	history *history.Keeper
	stopped chan struct{}
	reload  chan struct{} // the keys have changed; one waits at most
	handler http.Handler
}

// Options are what tests and commands need to choose besides the configuration.
type Options struct {
	// Now returns the time for all decisions; nil means time.Now.
	Now func() time.Time
	// NoMigration leaves the schema as it is; the server refuses to start if
	// migrations are pending.
	NoMigration bool
	// Stderr gets the audit log if the configuration says stderr; nil means
	// os.Stderr.
	Stderr io.Writer
}

// clientTTL is for how long a change of a client by another process may go
// unseen; disabling one is seen at once, by the revocation feed.
const clientTTL = revoke.ClientLag - time.Second

// verifiedTokens is how many bytes the access tokens take that are remembered as
// verified, some 6,000 of them.
const verifiedTokens = 8 << 20

// Open opens the database, brings its schema up to date and loads the keys.
func Open(ctx context.Context, c Config, log *slog.Logger, o Options) (*App, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	secrets, err := c.secrets()
	if err != nil {
		return nil, err
	}
	a := &App{Config: c, log: log, now: o.Now, stopped: make(chan struct{}), reload: make(chan struct{}, 1)}
	if a.now == nil {
		a.now = time.Now
	}
	a.look(o.Stderr)
	db, err := sqlstore.Open(ctx, c.Database(), sqlstore.Options{MaxConns: c.DatabaseConns, Now: o.Now, Watch: a.watch()})
	if err != nil {
		return nil, err
	}
	a.DB = db
	a.history = &history.Keeper{Store: db.Histories(), File: history.In(c.Data), Log: log.With("component", "history"), Now: o.Now}
	if err := a.prepare(ctx, o); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := a.openTrail(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	a.Clients = &client.Cache{Store: db.Clients(), TTL: clientTTL, Now: o.Now}
	a.Sessions, a.Families = db.Sessions(), db.Families()
	a.sealer = web.Sealer{Keys: secrets.Keys(web.SealPurpose)}
	a.minter = refresh.Minter{Keys: secrets.Keys(refresh.KeyPurpose)}
	a.Accounts = &account.Directory{Store: db.Accounts(), Hasher: &account.Hasher{}, Now: o.Now}
	a.Gate = &session.Gate{Store: a.Sessions, Life: sessionLife(), Now: o.Now}
	a.Keys = &keys.Ring{Store: db.Keys(), Seal: secrets.Keys(keys.SealPurpose), Now: o.Now, Log: log.With("component", "keys")}
	if err := a.Keys.Start(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	a.Revoke = &revoke.Core{Store: db.Revocations(), Families: a.Families, Log: log.With("component", "revoke"), Observe: a.observe, Lost: a.lost, Now: o.Now}
	a.rotator = &refresh.Rotator{
		Store: a.Families, Now: o.Now, Parallel: 1, Observe: a.insight.metrics.Refreshed, Batch: a.insight.metrics.Batch,
	}
	a.mint = &token.Mint{Issuer: c.Issuer, Signers: a.Keys, People: people{db.Accounts()}}
	a.reader = &token.Reader{Issuer: c.Issuer, Keys: &verifyingKeys{ring: a.Keys}, Remember: verifiedTokens}
	a.Attempts = &limit.Attempts{Store: db.Limits(), Now: o.Now}
	a.floods = &limit.Memory{}
	a.auth = &client.Authenticator{Store: a.Clients, Throttle: a.floods, Now: o.Now}
	if a.Proofs, err = a.checker(secrets); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := a.Revoke.Refresh(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if a.handler, err = a.routes(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return a, nil
}

// checker returns what checks the proofs of requests.
func (a *App) checker(secrets opaque.Secrets) (*proof.Checker, error) {
	clockError, err := a.Config.clockError()
	if err != nil {
		return nil, err
	}
	var each [][]byte // newest first
	for _, tag := range secrets.Keys(proof.NoncePurpose).MACs(nil) {
		each = append(each, tag[:])
	}
	nonces, err := dpop.NewNonces(each[0], each[1:]...)
	if err != nil {
		return nil, err
	}
	return &proof.Checker{
		Issuer: a.Config.Issuer, Nonces: nonces, NonceOptional: a.Config.DPoPNonce == nonceOptional, ClockError: clockError,
		Seen: a.DB.Limits(), Observe: a.insight.metrics.ProofRefused,
	}, nil
}

func (a *App) prepare(ctx context.Context, o Options) error {
	if !o.NoMigration {
		n, err := a.DB.Migrate(ctx)
		if err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		if n > 0 {
			a.log.LogAttrs(ctx, slog.LevelInfo, "database migrated", slog.Int("applied", n))
		}
		return a.history.Check(ctx)
	}
	n, err := a.DB.Pending(ctx)
	if err != nil {
		return err
	}
	if n > 0 {
		return fmt.Errorf("the database lacks %d migrations: run fastbind migrate", n)
	}
	return a.history.Check(ctx)
}

// sessionLife is that of the sign-on session, which clients of all policies
// share: the policies bound what each client holds.
func sessionLife() session.Life {
	p, ok := policy.Named(defaultPolicy)
	if !ok {
		panic("app: the default policy is missing")
	}
	return session.Life{Idle: p.SessionIdle, Absolute: p.SessionAbsolute}
}

const defaultPolicy = "web"

// policyOf returns the policy with a name; the default one for a name that is
// empty or not known, which registration refuses.
func policyOf(name string) policy.Policy {
	if p, ok := policy.Named(name); ok {
		return p
	}
	p, ok := policy.Named(defaultPolicy)
	if !ok {
		panic("app: the default policy is missing")
	}
	return p
}

// observe acts on what appears in the revocation feed, whoever wrote it.
func (a *App) observe(e revoke.Entry) {
	a.insight.readers.Appeared(e.Number, time.UnixMilli(e.At))
	switch e.Kind {
	case revoke.Client:
		a.Clients.Forget(e.Value)
	case revoke.Key:
		select {
		case a.reload <- struct{}{}:
		default: // a reload waits already
		}
	default: // the rest is for whoever verifies
	}
}

// lost acts on revocations that the database had lost: a signing key that was
// revoked is in it again.
func (a *App) lost(ctx context.Context, entries []revoke.Entry) {
	for _, e := range entries {
		if e.Kind != revoke.Key {
			continue
		}
		if err := a.Keys.Revoke(ctx, e.Value); err != nil && !errors.Is(err, keys.ErrUnknown) {
			a.log.LogAttrs(ctx, slog.LevelError, "a revoked key is back and cannot be removed", slog.String("key", e.Value), slog.Any("err", err))
		}
	}
}

// Handler returns the handler of the whole server.
func (a *App) Handler() http.Handler { return a.handler }

// sweepEvery is how often what has expired is deleted.
const sweepEvery = time.Minute

// Run does the background work until ctx ends: the revocation feed, the life of
// the keys, cleaning up, watching the clock.
func (a *App) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.Revoke.Run(ctx) })
	g.Go(func() error { return a.Keys.Run(ctx) })
	g.Go(func() error { return a.history.Run(ctx) })
	g.Go(func() error { return a.reloadKeys(ctx) })
	g.Go(func() error { return a.sweep(ctx) })
	if a.insight.trail != nil {
		g.Go(func() error { return a.insight.trail.Run(ctx) })
	}
	g.Go(func() error { // an RSA key takes long to make: nobody should wait for it
		if err := a.Keys.Ensure(ctx, jose.RS256); err != nil && ctx.Err() == nil {
			a.log.LogAttrs(ctx, slog.LevelWarn, "RS256 key", slog.Any("err", err))
		}
		return nil
	})
	return g.Wait()
}

// reloadKeys loads the keys anew when the feed says that one was revoked.
func (a *App) reloadKeys(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.reload:
		}
		if err := a.Keys.Reload(ctx); err != nil && ctx.Err() == nil {
			a.log.LogAttrs(ctx, slog.LevelWarn, "keys cannot be loaded", slog.Any("err", err))
		}
	}
}

func (a *App) sweep(ctx context.Context) error {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		// With much to do it comes back, so that the clock is watched meanwhile.
		if err := a.clean(ctx, sweepEvery); err != nil && ctx.Err() == nil {
			a.log.LogAttrs(ctx, slog.LevelWarn, "cleaning up", slog.Any("err", err))
		}
		a.watchClock(ctx)
	}
}

// Sweep deletes all that has expired, in small batches.
func (a *App) Sweep(ctx context.Context) error { return a.clean(ctx, 0) }

func (a *App) clean(ctx context.Context, atMost time.Duration) error {
	now := a.now()
	done, err := a.DB.Clean(ctx, now, atMost)
	if done {
		a.insight.swept.Store(now.UnixNano())
	}
	return err
}

// maxSkew is by how much the clocks of a node and the database may differ
// before somebody should know.
const maxSkew = time.Second

func (a *App) watchClock(ctx context.Context) {
	d, err := a.DB.Skew(ctx)
	if err == nil && d.Abs() > maxSkew {
		a.log.LogAttrs(ctx, slog.LevelWarn, "the clock differs from that of the database", slog.Duration("skew", d))
	}
}

// Drain ends the event streams, so that the HTTP server can shut down.
func (a *App) Drain() { close(a.stopped) }

// Close waits for refreshes that are under way, writes the rest of the audit log
// and closes the database.
func (a *App) Close() error {
	a.rotator.Wait()
	return errors.Join(a.closeTrail(), a.DB.Close())
}
