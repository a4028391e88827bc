package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/client"
	"github.com/fastbind/fastbind/internal/page"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/session"
	"github.com/fastbind/fastbind/internal/token"
	"github.com/fastbind/fastbind/internal/web"
)

// A departure is a pending sign-out, which the page that asks carries, sealed.
type departure struct {
	Session    string       `json:"s"`           // that is to end
	Reason     audit.Reason `json:"w"`           // why
	Client     string       `json:"c,omitempty"` // that asks
	ClientName string       `json:"n,omitempty"`
	Return     string       `json:"r,omitempty"` // registered for the client, with state
	Locales    string       `json:"l,omitempty"`
	hinted     bool         // the client showed an ID token of the person
}

// logoutParams are the parameters of RP-Initiated Logout 1.0, section 2.
func logoutParams() []string {
	return []string{"id_token_hint", "logout_hint", "client_id", "post_logout_redirect_uri", "state", "ui_locales"}
}

// Logout answers the logout endpoint: what apps ask for, by GET or POST, and the
// form of the page that asks the person.
func (h *Handler) Logout(w http.ResponseWriter, r *http.Request) {
	web.NoStore(w)
	var err error
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		err = h.askedByApp(w, r)
	case http.MethodPost:
		err = h.posted(w, r)
	default:
		w.Header().Set("Allow", "GET, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if err != nil {
		h.fail(w, r, LogoutPath, err)
	}
}

// askedByApp answers a GET. The session ends at once only if the app shows an ID
// token of this very session; in all other cases the person is asked (section
// 2). A request that somebody forged ends nothing.
func (h *Handler) askedByApp(w http.ResponseWriter, r *http.Request) error {
	p, err := web.Query(r, logoutParams())
	if err != nil {
		return err
	}
	d, sid, err := h.read(r.Context(), p)
	if err != nil {
		return err
	}
	s, err := h.current(r)
	if err != nil {
		return err
	}
	switch {
	case s == nil:
		h.clear(w, r)
		if d.hinted && d.Return != "" {
			http.Redirect(w, r, d.Return, http.StatusSeeOther)
			return nil
		}
		h.signedOut(w, r, d)
		return nil
	case d.hinted && sid != "" && sid == s.ID:
		d.Session = s.ID
		return h.end(w, r, d)
	default:
		return h.ask(w, r, s, d)
	}
}

// read reads a request of an app. What cannot be trusted is left out: an unsigned
// or foreign ID token, one of another client than client_id names, an unknown
// client, an address that is not registered (section 3). Sid is the session of
// the ID token.
func (h *Handler) read(ctx context.Context, p web.Params) (d departure, sid string, err error) {
	d = departure{Reason: audit.Logout, Locales: p.Get("ui_locales")}
	id := p.Get("client_id")
	if t := p.Get("id_token_hint"); t != "" {
		c, err := h.Hints.Hint(ctx, t)
		if errors.Is(err, token.ErrInvalid) || (err == nil && id != "" && id != c.Client) {
			return d, "", nil
		}
		if err != nil {
			return d, "", fmt.Errorf("read ID token: %w", err)
		}
		id, sid, d.hinted = c.Client, c.Session, true
	}
	if id == "" {
		return d, "", nil
	}
	c, err := h.Clients.Client(ctx, id)
	if errors.Is(err, client.ErrNone) || (err == nil && !c.Disabled.IsZero()) {
		d.hinted = false
		return d, "", nil
	}
	if err != nil {
		return d, "", fmt.Errorf("load client: %w", err)
	}
	d.Reason, d.Client, d.ClientName = audit.RPLogout, c.ID, c.Name
	if d.ClientName == "" {
		d.ClientName = c.ID
	}
	if uri := p.Get("post_logout_redirect_uri"); uri != "" {
		if !c.MayReturn(uri) {
			d.hinted = false // ask: this is not what the app was registered for
			return d, "", nil
		}
		d.Return = withState(uri, p.Get("state"))
	}
	return d, sid, nil
}

// withState returns uri, of which nothing else changes, with the state.
func withState(uri, state string) string {
	if state == "" {
		return uri
	}
	uri, fragment, hasFragment := strings.Cut(uri, "#")
	sep := "?"
	if strings.Contains(uri, "?") {
		sep = "&"
	}
	uri += sep + "state=" + url.QueryEscape(state)
	if hasFragment {
		uri += "#" + fragment
	}
	return uri
}

// posted answers a POST: the form of ours that was confirmed, or the request of
// an app. The latter comes from another site and therefore without the session
// cookie; it is turned into the GET that it stands for.
func (h *Handler) posted(w http.ResponseWriter, r *http.Request) error {
	p, err := web.Form(w, r, web.MaxPage, append(logoutParams(), "transaction"))
	if err != nil {
		return err
	}
	if !p.Has("transaction") {
		v := url.Values{}
		for _, name := range logoutParams() {
			if p.Has(name) {
				v.Set(name, p.Get(name))
			}
		}
		http.Redirect(w, r, LogoutPath+"?"+v.Encode(), http.StatusSeeOther)
		return nil
	}
	var own http.CrossOriginProtection
	if err := own.Check(r); err != nil {
		return &refusal{http.StatusForbidden, page.ProblemForbidden, err}
	}
	var d departure
	if h.Sealer.Open(web.SignOutPurpose, p.Get("transaction"), &d) != nil {
		http.Redirect(w, r, LogoutPath, http.StatusSeeOther)
		return nil //nolint:nilerr // a page that is not ours any more: ask again
	}
	s, err := h.current(r)
	if err != nil {
		return err
	}
	if s != nil && s.ID != d.Session { // somebody else has signed in meanwhile
		return h.ask(w, r, s, d)
	}
	return h.end(w, r, d)
}

// ask writes the page that asks the person.
func (h *Handler) ask(w http.ResponseWriter, r *http.Request, s *session.Session, d departure) error {
	d.Session = s.ID
	username, err := h.People.Username(r.Context(), s.Subject)
	if err != nil {
		return err
	}
	sealed, err := h.Sealer.Seal(web.SignOutPurpose, d)
	if err != nil {
		return err
	}
	v := page.SignOutData{
		Action: LogoutPath, Transaction: sealed, Username: username, ClientName: d.ClientName,
		Stay: Path, Locales: d.Locales,
	}
	if d.Return != "" {
		v.Targets = []string{client.Target(d.Return)}
	}
	page.SignOut(w, r, http.StatusOK, v)
	return nil
}

// end ends the session of d and says so, or sends the person back to the app.
// The cookie goes only when the end is durable.
func (h *Handler) end(w http.ResponseWriter, r *http.Request, d departure) error {
	order := revoke.Order{Kind: revoke.Session, Value: d.Session, Reason: d.Reason, At: h.now()}
	if d.Client != "" {
		order.Note = "asked by client " + d.Client
	}
	if _, err := h.Revoke.End(r.Context(), order); err != nil {
		return err
	}
	h.clear(w, r)
	if d.Return != "" {
		http.Redirect(w, r, d.Return, http.StatusSeeOther)
		return nil
	}
	h.signedOut(w, r, d)
	return nil
}

// clear removes the session cookie of a browser that has one.
func (h *Handler) clear(w http.ResponseWriter, r *http.Request) {
	if h.Cookies.Session(r) != "" {
		h.Cookies.ClearSession(w)
	}
}

func (h *Handler) signedOut(w http.ResponseWriter, r *http.Request, d departure) {
	page.SignedOut(w, r, page.SignedOutData{Continue: d.Return, ClientName: d.ClientName, Locales: d.Locales})
}
