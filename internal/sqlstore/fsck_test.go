package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/authorize"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/code"
	"github.com/fastbind/fastbind/internal/fsck"
	"github.com/fastbind/fastbind/internal/keys"
	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/session"
	"github.com/fastbind/fastbind/internal/sqlstore"
)

// raw opens a database beside the store.
func raw(t *testing.T, url string) *sql.DB {
	t.Helper()
	if strings.HasPrefix(url, "sqlite") {
		return rawSQLite(t, url)
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// A town is a database in which a bit of everything has happened.
type town struct {
	t        *testing.T
	db       *sqlstore.DB
	families map[string]refresh.FamilyID
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *town) session(id, subject string) {
	w.t.Helper()
	must(w.t, w.db.Sessions().Begin(w.t.Context(), session.Session{
		ID: id, Handle: opaque.New(opaque.Session).Digest(), Subject: subject, AuthTime: epoch, Begun: epoch,
		LastSeen: epoch, IdleEnd: epoch.Add(time.Hour), AbsoluteEnd: epoch.Add(24 * time.Hour),
	}, audit.Event{Time: epoch, Kind: audit.SessionBegun, Subject: subject, Session: id}))
}

// family redeems a code for a family of the client c in a session, and rotates
// it some times.
func (w *town) family(name, c, subject, session string, offline bool) refresh.FamilyID {
	w.t.Helper()
	f := refresh.Family{ID: refresh.NewFamilyID(), Version: 1, Grant: refresh.Grant{
		Client: c, Subject: subject, Session: session, Offline: offline, AuthTime: epoch, Begun: epoch, AbsoluteEnd: epoch.Add(24 * time.Hour),
	}}
	f.State = refresh.State{Generation: 1, Rotated: epoch, IdleEnd: epoch.Add(2 * time.Hour)}
	d := opaque.New(opaque.Code).Digest()
	must(w.t, w.db.Codes().Put(w.t.Context(), code.Code{Digest: d, Issued: epoch, Expires: epoch.Add(code.Life), Family: f.ID, Grant: f.Grant}))
	must(w.t, w.db.Codes().Redeem(w.t.Context(), d, epoch, f))
	for range 4 {
		n := f.State
		n.Generation++
		n.Confirmed = f.Generation
		if ok, err := w.db.Families().Swap(w.t.Context(), []refresh.Change{{ID: f.ID, Version: f.Version, State: n}}); err != nil || !ok[0] {
			w.t.Fatalf("swap: %v, %v", ok, err)
		}
		f.State = n
		f.Version++
	}
	w.families[name] = f.ID
	return f.ID
}

func (w *town) end(kind revoke.Kind, value string, reason audit.Reason, at time.Time) {
	w.t.Helper()
	core := revoke.Core{Store: w.db.Revocations()}
	_, err := core.End(w.t.Context(), revoke.Order{Kind: kind, Value: value, Reason: reason, At: at})
	must(w.t, err)
}

// theft ends a family as a replay does.
func (w *town) theft(id refresh.FamilyID, at time.Time) {
	w.t.Helper()
	fs, err := w.db.Families().Load(w.t.Context(), []refresh.FamilyID{id})
	must(w.t, err)
	c := refresh.Change{ID: id, Version: fs[0].Version, State: fs[0].State, EndSession: true}
	c.State.Ended, c.State.Reason = at, audit.TokenTheft
	c.Events = []audit.Event{{Time: at, Kind: audit.Theft, Reason: audit.TokenTheft, Family: string(id), Session: fs[0].Grant.Session}}
	_, err = w.db.Families().Swap(w.t.Context(), []refresh.Change{c})
	must(w.t, err)
}

// built returns a database in which a bit of everything has happened by epoch
// and a minute.
func built(t *testing.T, url string) *town {
	t.Helper()
	ctx := t.Context()
	w := &town{t: t, db: open(t, url), families: map[string]refresh.FamilyID{}}
	for _, id := range []string{"app", "gone"} {
		must(t, w.db.Clients().Put(ctx, client.Client{ID: id, Created: epoch}, audit.Event{Time: epoch, Kind: audit.ClientChanged}))
	}
	for _, id := range []string{"ada", "bob"} {
		must(t, w.db.Accounts().Put(ctx, account.Account{Subject: id, Username: id, Created: epoch}))
	}
	for _, id := range []string{"alive", "left", "robbed"} {
		w.session(id, "ada")
	}
	w.session("barred", "bob")
	w.family("alive", "app", "ada", "alive", false)
	w.family("offline", "app", "ada", "left", true)
	w.family("left", "app", "ada", "left", false)
	w.family("other", "gone", "ada", "alive", false)
	w.family("beside", "app", "ada", "robbed", false)
	w.family("barred", "app", "bob", "barred", false)
	ended := w.family("ended", "app", "ada", "alive", false)
	robbed := w.family("robbed", "app", "ada", "robbed", false)
	at := epoch.Add(time.Minute)
	w.end(revoke.Session, "left", audit.Logout, at)
	w.end(revoke.Client, "gone", audit.RevokedByAdmin, at)
	w.theft(robbed, at)
	w.end(revoke.Family, string(ended), audit.RevokedByClient, at)
	w.end(revoke.Subject, "bob", audit.RevokedByAdmin, at)
	w.end(revoke.Token, "jti", audit.RevokedByClient, at)
	must(t, w.db.Codes().Put(ctx, code.Code{
		Digest: opaque.New(opaque.Code).Digest(), Issued: epoch, Expires: epoch.Add(code.Life), Family: refresh.NewFamilyID(),
		Grant: refresh.Grant{Client: "app", Subject: "ada", Session: "alive"},
	}))
	must(t, w.db.Requests().Push(ctx, authorize.Pushed{Digest: opaque.Digest{1}, Client: "app", Expires: epoch.Add(time.Minute)}, epoch, 10))
	must(t, w.db.Requests().Allow(ctx, authorize.Consent{Subject: "ada", Client: "app", Given: epoch}, audit.Event{Time: epoch, Kind: audit.ConsentGiven}))
	ring := &keys.Ring{Store: w.db.Keys(), Seal: opaque.NewSecrets().Keys(keys.SealPurpose), Now: func() time.Time { return epoch }}
	must(t, ring.Start(ctx))
	_, err := w.db.Limits().Take(ctx, opaque.Digest{1}, limit.Rate{Burst: 1, Every: time.Second}, epoch)
	must(t, err)
	_, err = w.db.Limits().Once(ctx, opaque.Digest{1}, epoch, epoch.Add(time.Minute))
	must(t, err)
	return w
}

// tables are those that a case may change.
var tables = []string{
	"client", "account", "session", "family", "code", "pushed", "consent", "key_set", "signing_key", "rate", "once",
	"feed_counter", "feed", "audit_event",
}

func execRaw(t *testing.T, db *sql.DB, text string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), text, args...); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// faults break one invariant each by hand: the check that must find it, after it
// those that then find something too; the family that is broken, if it is one;
// and how.
var faults = []struct{ checks, family, text string }{
	{"generation", "alive", "update family set generation = 0, confirmed = 0, shadowed_in = 0 where id = $1"},
	{"confirmed", "alive", "update family set confirmed = generation + 1 where id = $1"},
	{"confirmed", "alive", "update family set confirmed = -1 where id = $1"},
	{"version", "alive", "update family set version = generation - 1 where id = $1"},
	{"shadowed_in", "alive", "update family set shadowed_in = generation + 1 where id = $1"},
	{"counters", "alive", "update family set retries = replays + 1 where id = $1"},
	{"counters", "alive", "update family set alarms = -1 where id = $1"},
	{"idle_within_absolute", "alive", "update family set idle_end = absolute_end + 1 where id = $1"},
	{"absolute_after_begin", "left", "update family set begun = absolute_end where id = $1"},
	{"one_reason event_says_reason", "left", "update family set reason = '', ended = ended - 4000 where id = $1"},
	{"one_reason", "alive", "update family set reason = 'logout' where id = $1"},
	{"known_reason one_reason", "alive", "update family set reason = 'boredom' where id = $1"},
	{"owner", "left", "update family set client = '' where id = $1"},
	{"live_client consent_owner", "alive", "delete from client where id = 'app'"},
	{"live_client", "alive", "update client set disabled = 1 where id = 'app'"},
	{"live_subject", "alive", "update account set disabled = 1 where subject = 'ada'"},
	{"live_session", "alive", "delete from session where id = 'alive'"},
	{"live_session", "alive", "update session set ended = 5, reason = 'logout' where id = 'alive'"},
	{"ends_in_time", "alive", "update family set sweep_at = idle_end + 1 where id = $1"},
	{"one_end_event", "left", "delete from audit_event where kind = 'family_ended' and session = 'left'"},
	{"one_end_event", "other", "delete from audit_event where kind = 'family_ended' and client = 'gone'"},
	{"event_says_reason", "left", "update family set reason = 'rp_logout' where id = $1"},
	{"one_theft one_end_event", "robbed", `insert into audit_event (at, kind, reason, subject, session, family, client, note, parties)
		select at, kind, reason, subject, session, family, client, note, parties from audit_event where kind = 'theft'`},
	{"theft_ends live_session", "robbed", "update family set ended = 0, reason = '' where session = 'robbed' and id = $1"},
	{"end_is_told", "left", "delete from feed where value = 'left'"},
	{"end_is_told", "ended", "update feed set value = 'x' where kind = 'family' and reason = 'revoked_by_client'"},
	{"end_is_told", "other", "update feed set before = before - 1 where kind = 'client'"},
	{"version", "", "update session set version = 0 where id = 'alive'"},
	{"one_end_event", "", "delete from audit_event where kind = 'session_ended' and session = 'left'"},
	{"idle_within_absolute", "", "update session set idle_end = absolute_end + 1 where id = 'alive'"},
	{"live_subject consent_owner", "", "delete from account where subject = 'ada'"},
	{"ends_in_time", "", "update session set sweep_at = absolute_end + 1 where id = 'alive'"},
	{"code_life", "", "update code set expires = issued where redeemed = 0"},
	{"redeemed_code", "", "update code set redeemed = issued where redeemed = 0"},
	{"unredeemed_code", "", "update code set redeemed = 0"},
	{"feed_number feed_gap", "", "update feed set number = 0 where number = 1"},
	{"feed_kind", "", "update feed set kind = 'x' where kind = 'jti'"},
	{"known_reason", "", "update feed set reason = 'x' where kind = 'jti'"},
	{"feed_value", "", "update feed set value = '' where kind = 'jti'"},
	{"feed_before", "", "update feed set before = 7 where kind = 'jti'"},
	{"feed_until", "", "update feed set until = at / 1000 where kind = 'jti'"},
	{"feed_gap end_is_told", "", "delete from feed where kind = 'client'"},
	{"feed_gap", "", "delete from feed where kind = 'jti'"}, // the newest
	{"feed_counter", "", "update feed_counter set number = number - 1"},
	{"feed_counter", "", "delete from feed_counter"},
	{"key_position", "", "update signing_key set position = position + 1"},
	{"key_state", "", "update signing_key set state = 'lost' where position = 0"},
	{"one_signing_key", "", "update signing_key set state = 'retired'"},
	{"one_signing_key", "", "update signing_key set algorithm = 'ES256'"},
	{"key_times", "", "update signing_key set since = created - 1 where position = 0"},
	{"key_sealed", "", "update signing_key set sealed = substr(sealed, 1, 0) where position = 0"},
	{"key_public", "", "update signing_key set id = 'x' where position = 0"},
	{"key_set", "", "delete from key_set"},
	{"account", "", "update account set version = 0 where subject = 'bob'"},
	{"client", "", "update client set version = 0 where id = 'gone'"},
	{"consent_owner", "", "update consent set client = 'nobody'"},
	{"consent_time", "", "update consent set given = 0"},
	{"pushed", "", "update pushed set expires = 0"},
	{"limit", "", "update rate set free_at = 0"},
	{"once", "", "update once set until = 0"},
	{"event", "", "update audit_event set kind = '' where kind = 'consent_given'"},
}

// TestFsck breaks each invariant by hand in a database in which all sorts of
// things have happened, and wants exactly that to be found.
func TestFsck(t *testing.T) {
	t.Parallel()
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			url := e.url(t)
			w, db := built(t, url), raw(t, url)
			now := epoch.Add(2 * time.Minute)
			clean := w.fsck(now)
			want := fsck.Report{Families: 8, Sessions: 4, Codes: 9, Entries: clean.Entries, Keys: 2, Findings: []fsck.Finding{}}
			if diff := cmp.Diff(want, clean); diff != "" || clean.Entries < 5 {
				t.Fatalf("before anything is broken (-want +got):\n%s", diff)
			}
			for _, table := range tables {
				execRaw(t, db, "create table kept_"+table+" as select * from "+table)
			}
			for i, f := range faults {
				checks := strings.Fields(f.checks)
				t.Run(fmt.Sprintf("%02d_%s", i, checks[0]), func(t *testing.T) {
					var args []any
					if strings.Contains(f.text, "$1") {
						args = []any{familyBytes(w.families[f.family])}
					}
					execRaw(t, db, f.text, args...)
					defer restoreTables(context.WithoutCancel(t.Context()), t, db)
					got := w.fsck(now)
					row := "family " + string(w.families[f.family])
					if !slices.ContainsFunc(got.Findings, func(v fsck.Finding) bool {
						return v.Check == checks[0] && (f.family == "" || v.Row == row)
					}) {
						t.Errorf("got %+v", got.Findings)
					}
					for _, v := range got.Findings {
						if !slices.Contains(checks, v.Check) {
							t.Errorf("found besides: %+v", v)
						}
					}
				})
			}
			if got := w.fsck(now); got.Broken != 0 {
				t.Errorf("in the end: %+v", got.Findings)
			}
		})
	}
}

func (w *town) fsck(now time.Time) fsck.Report {
	w.t.Helper()
	got, err := w.db.Fsck(w.t.Context(), now)
	must(w.t, err)
	return got
}

func familyBytes(id refresh.FamilyID) []byte {
	b, err := opaque.DecodeID(string(id))
	if err != nil {
		panic(err)
	}
	return b[:]
}

// restoreTables puts all tables back to what was kept of them.
func restoreTables(ctx context.Context, t *testing.T, db *sql.DB) {
	tx, err := db.BeginTx(ctx, nil)
	must(t, err)
	for _, table := range tables {
		for _, text := range []string{"delete from " + table, "insert into " + table + overriding(db, table) + " select * from kept_" + table} {
			if _, err := tx.ExecContext(ctx, text); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
		}
	}
	must(t, tx.Commit())
}

// overriding lets the number of an event be given where the engine makes it.
func overriding(db *sql.DB, table string) string {
	if table == "audit_event" && strings.Contains(fmt.Sprintf("%T", db.Driver()), "stdlib") {
		return " overriding system value"
	}
	return ""
}

// TestFsckForgets looks long after: what was swept is missed by nobody.
func TestFsckForgets(t *testing.T) {
	t.Parallel()
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			w := built(t, e.url(t))
			later := epoch.Add(3 * time.Hour)
			for _, after := range []time.Duration{3 * time.Hour, 30 * time.Hour, 32 * 24 * time.Hour} {
				later = epoch.Add(after)
				_, err := w.db.Revocations().EndExpired(t.Context(), later, 1000)
				must(t, err)
				_, err = w.db.Sweep(t.Context(), later, 0)
				must(t, err)
				if got := w.fsck(later); got.Broken != 0 {
					t.Errorf("after %s: %+v", after, got.Findings)
				}
			}
			w.end(revoke.Token, "late", audit.Logout, later)
			if got := w.fsck(later); got.Broken != 0 || got.Entries == 0 {
				t.Errorf("an entry after many that are gone: %+v", got)
			}
		})
	}
}

// TestFsckSeesOneMoment lets sessions and families end while it looks.
func TestFsckSeesOneMoment(t *testing.T) {
	t.Parallel()
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			w := built(t, e.url(t))
			for i := range 200 {
				id := fmt.Sprintf("s%d", i)
				w.session(id, "ada")
				w.family(id, "app", "ada", id, false)
			}
			ended := make(chan error, 1)
			go func() {
				for i := range 200 {
					if _, err := w.db.Revocations().End(t.Context(), revoke.Order{
						Kind: revoke.Session, Value: fmt.Sprintf("s%d", i), Reason: audit.Logout, At: epoch, Until: epoch.Add(time.Hour),
					}); err != nil {
						ended <- err
						return
					}
				}
				ended <- nil
			}()
			for done := false; !done; {
				select {
				case err := <-ended:
					must(t, err)
					done = true
				default:
				}
				if got := w.fsck(epoch.Add(time.Minute)); got.Broken != 0 {
					t.Fatalf("%+v", got.Findings)
				}
			}
		})
	}
}
