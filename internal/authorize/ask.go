package authorize

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/page"
	"github.com/fastbind/fastbind/internal/session"
	"github.com/fastbind/fastbind/internal/web"
	"github.com/fastbind/fastbind/oauth"
)

// back returns the address at which q goes on, with what the person has done.
func (h *Handler) back(q *request, m resume) (string, error) {
	m.Request, m.Opened = digestOf(q.query), q.opened
	s, err := h.Sealer.Seal(web.ResumePurpose, m)
	if err != nil {
		return "", err
	}
	v := q.query
	return Path + "?" + v.Encode() + "&" + resumeParam + "=" + url.QueryEscape(s), nil
}

// started is when the person was first asked for anything about q.
func (q *request) started(now time.Time) time.Time {
	if q.isResumed {
		return q.resume.Started
	}
	return now
}

// signIn shows the sign-in page. What is pending travels in it, sealed.
func (h *Handler) signIn(w http.ResponseWriter, r *http.Request, q *request, s *session.Session, now time.Time) error {
	// Started anew: a sign-in from before this page does not count.
	back, err := h.back(q, resume{Started: now})
	if err != nil {
		return err
	}
	cancel, err := h.back(q, resume{Started: now, Denied: true, Decided: now, Session: sessionID(s)})
	if err != nil {
		return err
	}
	tx := web.Transaction{
		Return: back, Cancel: cancel, Client: q.client.ID, ClientName: name(q.client),
		Username: q.loginHint, Targets: []string{client.Target(q.redirect)}, Started: now, Locales: q.locales,
	}
	if s != nil {
		tx.Reauth = true
		if q.subject == "" || q.subject == s.Subject {
			if tx.Username, err = h.People.Username(r.Context(), s.Subject); err != nil {
				return fmt.Errorf("load username: %w", err)
			}
		}
	}
	sealed, err := h.Sealer.Seal(web.SignInPurpose, tx)
	if err != nil {
		return err
	}
	page.SignIn(w, r, http.StatusOK, page.SignInData{
		Action: loginPath, Transaction: sealed, ClientName: tx.ClientName, Username: tx.Username, Reauth: tx.Reauth,
		Remember: true, Cancel: tx.Cancel, Targets: tx.Targets, Locales: tx.Locales,
	})
	return nil
}

func sessionID(s *session.Session) string {
	if s == nil {
		return ""
	}
	return s.ID
}

// selectAccount asks whether to go on with the account that is signed in.
func (h *Handler) selectAccount(w http.ResponseWriter, r *http.Request, q *request, s *session.Session, now time.Time) error {
	username, err := h.People.Username(r.Context(), s.Subject)
	if err != nil {
		return fmt.Errorf("load username: %w", err)
	}
	m := resume{Started: q.started(now), Decided: now, Session: s.ID, Selected: true}
	goOn, err := h.back(q, m)
	if err != nil {
		return err
	}
	m.Selected, m.Denied = false, true
	cancel, err := h.back(q, m)
	if err != nil {
		return err
	}
	other, err := h.elsewhere(q, now)
	if err != nil {
		return err
	}
	page.SelectAccount(w, r, http.StatusOK, page.SelectAccountData{
		Username: username, ClientName: name(q.client), Continue: goOn, Other: other, Cancel: cancel, Locales: q.locales,
	})
	return nil
}

// elsewhere returns the address of a sign-in with another account that comes
// back to q.
func (h *Handler) elsewhere(q *request, now time.Time) (string, error) {
	back, err := h.back(q, resume{Started: now})
	if err != nil {
		return "", err
	}
	sealed, err := h.Sealer.Seal(web.SignInPurpose, web.Transaction{
		Return: back, Client: q.client.ID, ClientName: name(q.client),
		Targets: []string{client.Target(q.redirect)}, Started: now, Reauth: true, Locales: q.locales,
	})
	if err != nil {
		return "", err
	}
	return loginPath + "?transaction=" + url.QueryEscape(sealed), nil
}

// A pendingConsent is what a consent page asks about. The decision refers to it
// alone, never to what the form says.
type pendingConsent struct {
	Query   string    `json:"q"`
	Client  string    `json:"c"`
	Scope   []string  `json:"o"`
	Session string    `json:"i"`
	Subject string    `json:"u"`
	Opened  time.Time `json:"p"`
	Started time.Time `json:"s"`
}

// consent asks the person.
func (h *Handler) consent(w http.ResponseWriter, r *http.Request, q *request, s *session.Session, now time.Time) error {
	username, err := h.People.Username(r.Context(), s.Subject)
	if err != nil {
		return fmt.Errorf("load username: %w", err)
	}
	sealed, err := h.Sealer.Seal(web.ConsentPurpose, pendingConsent{
		Query: q.query.Encode(), Client: q.client.ID, Scope: q.asks,
		Session: s.ID, Subject: s.Subject, Opened: q.opened, Started: q.started(now),
	})
	if err != nil {
		return err
	}
	other, err := h.elsewhere(q, now)
	if err != nil {
		return err
	}
	d := page.ConsentData{
		Action: ConsentPath, Transaction: sealed, ClientName: name(q.client), ClientID: q.client.ID,
		RedirectHost: client.Target(q.redirect), Username: username, Switch: other,
		Targets: []string{client.Target(q.redirect)}, Locales: q.locales,
	}
	for _, s := range q.asks {
		d.Scopes = append(d.Scopes, page.Scope{Name: s})
	}
	page.Consent(w, r, http.StatusOK, d)
	return nil
}

// Decide takes the answer of a consent page (POST) and leads back to the
// authorization endpoint. It is given once or twice: the outcome is the same.
func (h *Handler) Decide(w http.ResponseWriter, r *http.Request) {
	web.NoStore(w)
	if err := h.decided(w, r); err != nil {
		h.refuse(w, r, nil, err)
	}
}

func (h *Handler) decided(w http.ResponseWriter, r *http.Request) error {
	now := h.now()
	p, err := web.Form(w, r, web.MaxPage, []string{"transaction", "decision"})
	if err != nil {
		return err
	}
	var t pendingConsent
	if err := h.Sealer.Open(web.ConsentPurpose, p.Get("transaction"), &t); err != nil {
		return &oauth.Error{Code: oauth.InvalidRequest, Description: "this page is too old: go back to the app and begin again", Cause: err}
	}
	query, err := url.ParseQuery(t.Query)
	if err != nil {
		return fmt.Errorf("consent of an unreadable request: %w", err)
	}
	q := &request{query: query, opened: t.Opened}
	m := resume{Started: t.Started, Decided: now, Session: t.Session}
	s, err := h.Gate.Visit(r.Context(), h.Cookies.Session(r))
	switch {
	case errors.Is(err, session.ErrNone), err == nil && (s.ID != t.Session || s.Subject != t.Subject):
		// Somebody else, or nobody any more: the request begins anew.
		http.Redirect(w, r, Path+"?"+query.Encode(), http.StatusSeeOther)
		return nil
	case err != nil:
		return err
	}
	switch p.Get("decision") {
	case "allow":
		m.Consent = true
		err := h.Store.Allow(r.Context(), Consent{Subject: s.Subject, Client: t.Client, Scope: t.Scope, Given: now}, audit.Event{
			Time: now, Kind: audit.ConsentGiven, Subject: s.Subject, Session: s.ID, Client: t.Client,
			Parties: []audit.Party{{Time: now, Network: web.Network(r), Agent: web.Agent(r)}},
		})
		if err != nil {
			return fmt.Errorf("store consent: %w", err)
		}
	case "deny":
		m.Denied = true
	default:
		return oauth.Refuse(oauth.InvalidRequest, "neither allowed nor denied")
	}
	back, err := h.back(q, m)
	if err != nil {
		return err
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
	return nil
}

// name is what a client is called on pages.
func name(c client.Client) string {
	if c.Name != "" {
		return c.Name
	}
	return c.ID
}
