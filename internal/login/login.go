// Package login owns how a person signs in and out in a browser: the form, its
// limits, the session cookie, and the logout that apps ask for (OpenID Connect
// RP-Initiated Logout 1.0).
//
// It keeps nothing itself. What is pending travels in the pages, sealed, so any
// number of tabs can sign in at any time and each goes on where it was going.
// The invariants: nobody outside can tell an unknown, a disabled and an existing
// account apart; nobody is signed out or sent away by a request that they did
// not mean; and a fault is a fault, never "wrong password" or "signed out".
package login

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/page"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/session"
	"github.com/fastbind/fastbind/internal/token"
	"github.com/fastbind/fastbind/internal/web"
	"github.com/fastbind/fastbind/oauth"
)

// Paths of the endpoints, below the issuer.
const (
	Path       = "/login"
	LogoutPath = "/logout"
)

// ACR is the authentication context class of a sign-in with one factor.
const ACR = "urn:fastbind:acr:1fa"

// methods are what a sign-in here proves with (RFC 8176).
func methods() []string { return []string{"pwd"} }

// checkWait is how long a person waits for their turn to have a password
// checked.
const checkWait = 10 * time.Second

// Accounts checks passwords.
type Accounts interface {
	// Check returns the account whose username and password these are. If it
	// is [account.ErrRefused] the account that was meant is returned as well,
	// as far as there is one.
	Check(ctx context.Context, username, password string) (account.Account, error)
}

// People knows the name of a person.
type People interface {
	// Username returns the name that the person signs in with; empty: unknown.
	Username(ctx context.Context, subject string) (string, error)
}

// Ends ends sessions.
type Ends interface {
	// End carries out an order and returns when that is durable.
	End(ctx context.Context, o revoke.Order) (revoke.Ended, error)
}

// Hints reads ID tokens that were issued here.
type Hints interface {
	// Hint returns the claims of an ID token of ours, expired or not; it is
	// [token.ErrInvalid] for anything else.
	Hint(ctx context.Context, idToken string) (token.Claims, error)
}

// Events keeps the record of what happened.
type Events interface {
	// Record writes events that belong to no other change.
	Record(ctx context.Context, events ...audit.Event) error
}

// A Handler serves the sign-in page, and by [Handler.Logout] the sign-out. Set
// the fields before use.
type Handler struct {
	Accounts Accounts
	People   People
	Gate     *session.Gate
	Attempts *limit.Attempts
	Revoke   Ends
	Clients  client.Store
	Hints    Hints
	Events   Events
	Sealer   web.Sealer
	Cookies  web.Cookies
	Remember bool // offer to stay signed in
	Log      *slog.Logger
	// Now returns the time; nil means time.Now.
	Now func() time.Time
}

func (h *Handler) now() time.Time {
	if h.Now != nil {
		return h.Now()
	}
	return time.Now()
}

// A refusal is an answer that is not the one that was wanted, and why.
type refusal struct {
	status  int
	problem page.Problem
	cause   error
}

func (e *refusal) Error() string {
	if e.cause == nil {
		return "refused"
	}
	return e.cause.Error()
}

func (e *refusal) Unwrap() error { return e.cause }

// ServeHTTP answers the sign-in page.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	web.NoStore(w)
	var err error
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		err = h.show(w, r)
	case http.MethodPost:
		err = h.signIn(w, r)
	default:
		w.Header().Set("Allow", "GET, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if err != nil {
		h.fail(w, r, Path, err)
	}
}

// fail writes the page for an error that nothing more helpful was said about,
// and logs it, once.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, again string, err error) {
	e := &refusal{status: http.StatusServiceUnavailable, problem: page.ProblemFault, cause: err}
	level := web.Severity(r.Context(), e.status, err)
	if own, ok := errors.AsType[*refusal](err); ok {
		e, level = own, slog.LevelInfo
	} else if wire, ok := errors.AsType[*oauth.Error](err); ok { // the form could not be read
		e, level = &refusal{wire.HTTPStatus(), page.ProblemRequest, err}, slog.LevelInfo
	}
	id := web.RequestID(r.Context())
	h.Log.LogAttrs(r.Context(), level, "refused", slog.String("endpoint", again), slog.String("request_id", id),
		slog.Int("status", e.status), slog.Any("err", err))
	if e.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "2")
	}
	page.Error(w, r, e.status, page.ErrorData{Problem: e.problem, RequestID: id, Continue: again})
}

// transaction opens a pending sign-in; false: there is none that can go on.
func (h *Handler) transaction(sealed string) (web.Transaction, bool) {
	var tx web.Transaction
	if sealed == "" || h.Sealer.Open(web.SignInPurpose, sealed, &tx) != nil || !local(tx.Return) {
		return web.Transaction{}, false
	}
	return tx, true
}

// local reports whether s is a path, and perhaps a query, on this server,
// whatever a browser makes of it.
func local(s string) bool {
	if !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.ContainsAny(s, "\\\t\r\n#") {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil
}

// current returns the live session of the browser, or nil.
func (h *Handler) current(r *http.Request) (*session.Session, error) {
	s, err := h.Gate.Visit(r.Context(), h.Cookies.Session(r))
	if errors.Is(err, session.ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// show answers a GET: the form, or who is signed in.
func (h *Handler) show(w http.ResponseWriter, r *http.Request) error {
	p, err := web.Query(r, []string{"transaction", "ui_locales"})
	if err != nil {
		return err
	}
	sealed := p.Get("transaction")
	tx, ok := h.transaction(sealed)
	if !ok {
		sealed, tx.Locales = "", p.Get("ui_locales")
		s, err := h.current(r)
		if err != nil {
			return err
		}
		if s != nil {
			return h.signedIn(w, r, s, tx.Locales)
		}
	}
	h.form(w, r, http.StatusOK, sealed, tx, page.SignInData{Username: tx.Username})
	return nil
}

func (h *Handler) signedIn(w http.ResponseWriter, r *http.Request, s *session.Session, locales string) error {
	username, err := h.People.Username(r.Context(), s.Subject)
	if err != nil {
		return err
	}
	sealed, err := h.Sealer.Seal(web.SignOutPurpose, departure{Session: s.ID, Reason: audit.Logout, Locales: locales})
	if err != nil {
		return err
	}
	page.SignedIn(w, r, page.SignedInData{Username: username, SignOut: LogoutPath, Transaction: sealed, Locales: locales})
	return nil
}

// form writes the sign-in page for a transaction.
func (h *Handler) form(w http.ResponseWriter, r *http.Request, status int, sealed string, tx web.Transaction, d page.SignInData) {
	d.Action, d.Transaction = Path, sealed
	d.ClientName, d.Reauth, d.Targets, d.Locales = tx.ClientName, tx.Reauth, tx.Targets, tx.Locales
	d.Remember = h.Remember
	if local(tx.Cancel) {
		d.Cancel = tx.Cancel
	}
	page.SignIn(w, r, status, d)
}

// signIn answers a POST of the form.
func (h *Handler) signIn(w http.ResponseWriter, r *http.Request) error {
	var own http.CrossOriginProtection
	if err := own.Check(r); err != nil {
		return &refusal{http.StatusForbidden, page.ProblemForbidden, err}
	}
	p, err := web.Form(w, r, web.MaxPage, []string{"username", "password", "remember", "transaction"})
	if err != nil {
		return err
	}
	sealed := p.Get("transaction")
	tx, ok := h.transaction(sealed)
	if !ok {
		sealed = ""
	}
	username, password, remember := p.Get("username"), p.Get("password"), h.Remember && p.Has("remember")
	again := func(status int, d page.SignInData) error {
		d.Username, d.Remembered = username, remember
		h.form(w, r, status, sealed, tx, d)
		return nil
	}
	if username == "" || password == "" {
		return again(http.StatusBadRequest, page.SignInData{Problem: page.ProblemMissing})
	}
	at := h.attempt(r, username)
	wait, err := h.Attempts.Take(r.Context(), at)
	if err != nil {
		return err
	}
	if wait > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(seconds(wait), 10))
		if err := h.limited(r, at); err != nil {
			return err
		}
		return again(http.StatusTooManyRequests, page.SignInData{Problem: page.ProblemLimited, Wait: wait})
	}
	switch err := h.enter(w, r, at, username, password, remember); {
	case errors.Is(err, account.ErrRefused), errors.Is(err, session.ErrBarred):
		return again(http.StatusUnauthorized, page.SignInData{Problem: page.ProblemCredentials})
	case err != nil:
		level := web.Severity(r.Context(), http.StatusServiceUnavailable, err)
		h.Log.LogAttrs(r.Context(), level, "sign-in", slog.String("request_id", web.RequestID(r.Context())), slog.Any("err", err))
		w.Header().Set("Retry-After", "2")
		return again(http.StatusServiceUnavailable, page.SignInData{Problem: page.ProblemFault})
	}
	to := Path // which says who is signed in
	if ok {
		to = tx.Return
	}
	// RFC 9700, section 4.12: 307 would have the browser post the password on.
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

func seconds(d time.Duration) int64 {
	return int64((min(d, 24*time.Hour) + time.Second - 1) / time.Second)
}

// enter checks the password and begins the session.
func (h *Handler) enter(w http.ResponseWriter, r *http.Request, at limit.Attempt, username, password string, remember bool) error {
	ctx := r.Context()
	wait, cancel := context.WithTimeout(ctx, checkWait)
	defer cancel()
	a, err := h.Accounts.Check(wait, username, password)
	if errors.Is(err, account.ErrRefused) {
		return h.refused(r, a.Subject, err)
	}
	if err != nil {
		return err
	}
	old, err := h.current(r)
	if err != nil {
		return err
	}
	entry := session.Entry{
		Subject: a.Subject, ACR: ACR, AMR: methods(), Remember: remember,
		Network: web.Network(r), Agent: web.Agent(r),
	}
	handle, s, err := h.Gate.Enter(ctx, entry, old)
	if errors.Is(err, session.ErrBarred) { // disabled since it was checked
		return h.refused(r, a.Subject, account.ErrDisabled)
	}
	if err != nil {
		return err
	}
	if old != nil && old.Subject != a.Subject { // only now: a sign-in that fails signs nobody out
		order := revoke.Order{Kind: revoke.Session, Value: old.ID, Reason: audit.SessionReplaced, At: h.now()}
		if _, err := h.Revoke.End(ctx, order); err != nil {
			return err
		}
	}
	h.Cookies.SetSession(w, handle, s.AbsoluteEnd, remember)
	if err := h.know(w, r, at); err != nil {
		// The person is in; what was counted stays counted.
		h.Log.LogAttrs(ctx, slog.LevelWarn, "attempts are not forgotten", slog.String("session", s.ID), slog.Any("err", err))
	}
	return nil
}

// refused records an attempt that was wrong, and returns why.
func (h *Handler) refused(r *http.Request, subject string, why error) error {
	note := "wrong password"
	switch {
	case errors.Is(why, account.ErrUnknown):
		note = "unknown account"
	case errors.Is(why, account.ErrDisabled):
		note = "account is disabled"
	case errors.Is(why, account.ErrHash):
		note = "unusable password hash"
	}
	// Also of who does not wait for the answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), checkWait)
	defer cancel()
	if err := h.Events.Record(ctx, h.event(r, audit.SignInFailed, subject, note)); err != nil {
		return err
	}
	return why
}

// limited records attempts that were held back, one a minute.
func (h *Handler) limited(r *http.Request, at limit.Attempt) error {
	first, err := h.Attempts.FirstRefusal(r.Context(), at)
	if err != nil || !first {
		return err
	}
	return h.Events.Record(r.Context(), h.event(r, audit.SignInLimited, "", ""))
}

func (h *Handler) event(r *http.Request, kind audit.Kind, subject, note string) audit.Event {
	now := h.now()
	return audit.Event{
		Time: now, Kind: kind, Subject: subject, Note: note,
		Parties: []audit.Party{{Time: now, Network: web.Network(r), Agent: web.Agent(r)}},
	}
}
