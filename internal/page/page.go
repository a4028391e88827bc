// Package page owns every HTML page that people see: layout, texts and styles.
//
// It decides nothing: an endpoint says what to show, and each function writes
// one whole answer. The pages need no JavaScript, load nothing from anywhere and
// are one request each. The invariant: whatever comes from a client or a person
// is escaped and isolated in its writing direction, and no page can be framed,
// cached or made to run a script that is not ours.
package page

import (
	"net/http"
	"time"
)

// Problem is what went wrong, as a person is told it.
type Problem int

// The problems. NoProblem is the zero value.
const (
	NoProblem          Problem = iota
	ProblemCredentials         // the username or password is wrong
	ProblemLimited             // too many attempts
	ProblemExpired             // the page is too old to go on from
	ProblemMissing             // a field was left empty
	ProblemFault               // something here does not work: try again
	ProblemRequest             // the app sent a request that cannot be answered
	ProblemClient              // the app, or the address it names, is not known
	ProblemForbidden           // the form did not come from one of our pages
	ProblemNotFound            // there is no such page
)

// SignInData is what the sign-in page shows.
type SignInData struct {
	Action      string        // where the form is posted
	Transaction string        // sent back as it is; may be empty
	ClientName  string        // the app that asks; empty: none
	Username    string        // filled in
	Reauth      bool          // the person proves again who they are
	Remember    bool          // offer to stay signed in (field "remember")
	Remembered  bool          // that offer was taken before
	Problem     Problem       // what went wrong before
	Wait        time.Duration // for ProblemLimited
	Cancel      string        // link back to the app; empty: none
	// Targets are the origins or schemes that the answer to the form may
	// redirect to: browsers apply form-action to redirects as well.
	Targets []string
	Locales string // languages asked for, best first, separated by spaces
}

// Scope is something that an app wants to do.
type Scope struct {
	Name string // of the protocol; those of OpenID Connect have texts
}

// ConsentData is what the consent page shows.
type ConsentData struct {
	Action       string // where the form is posted, with field decision: allow or deny
	Transaction  string
	ClientName   string // empty: ClientID is shown
	ClientID     string
	RedirectHost string // where the answer goes; empty: not said
	Username     string
	Scopes       []Scope
	Switch       string   // link: use another account; empty: none
	Targets      []string // see SignInData
	Locales      string
}

// SelectAccountData is what the page shows on which a person says as whom they
// go on.
type SelectAccountData struct {
	Username   string
	Continue   string // link: go on as Username
	Other      string // link: use another account
	ClientName string
	Cancel     string // link back to the app; empty: none
	Locales    string
}

// SignOutData is what the page shows that asks whether to sign out.
type SignOutData struct {
	Action      string // where the form is posted
	Transaction string
	Username    string // empty: not said
	ClientName  string // the app that asks; empty: none
	Stay        string // link for those who stay; empty: none
	Targets     []string
	Locales     string
}

// SignedOutData is what the page shows after a sign-out.
type SignedOutData struct {
	Continue   string // link; empty: the sign-in page
	ClientName string // what Continue leads to
	Locales    string
}

// SignedInData is what the page shows to somebody who signed in without an app.
type SignedInData struct {
	Username    string
	SignOut     string // where the form that signs out is posted
	Transaction string
	Locales     string
}

// ErrorData is what an error page shows.
type ErrorData struct {
	Problem      Problem
	Detail       string // constant text of ours for developers; empty: none
	RequestID    string // empty: none
	Continue     string // link; empty: none
	ContinueName string // the app it leads to; empty: the same address again, or the sign-in page
	Locales      string
}

// FormPostData is what the page sends that answers an app by a form (OAuth 2.0
// Form Post Response Mode).
type FormPostData struct {
	Action  string
	Fields  [][2]string // name and value, in order
	Locales string
}

// SignIn writes the sign-in page.
func SignIn(w http.ResponseWriter, r *http.Request, status int, d SignInData) {
	t := textsFor(d.Locales, r)
	write(w, r, status, formPolicy(d.Targets), signIn(t, d))
}

// Consent writes the page that asks a person what an app may do.
func Consent(w http.ResponseWriter, r *http.Request, status int, d ConsentData) {
	t := textsFor(d.Locales, r)
	if d.ClientName == "" {
		d.ClientName = d.ClientID
	}
	write(w, r, status, formPolicy(d.Targets), consent(t, d))
}

// SelectAccount writes the page that asks a person as whom they go on.
func SelectAccount(w http.ResponseWriter, r *http.Request, status int, d SelectAccountData) {
	t := textsFor(d.Locales, r)
	write(w, r, status, formPolicy(nil), selectAccount(t, d))
}

// SignOut writes the page that asks whether to sign out.
func SignOut(w http.ResponseWriter, r *http.Request, status int, d SignOutData) {
	t := textsFor(d.Locales, r)
	write(w, r, status, formPolicy(d.Targets), signOut(t, d))
}

// SignedOut writes the page that says that a person is signed out.
func SignedOut(w http.ResponseWriter, r *http.Request, d SignedOutData) {
	t := textsFor(d.Locales, r)
	write(w, r, http.StatusOK, formPolicy(nil), signedOut(t, d))
}

// SignedIn writes the page that says that a person is signed in.
func SignedIn(w http.ResponseWriter, r *http.Request, d SignedInData) {
	t := textsFor(d.Locales, r)
	write(w, r, http.StatusOK, formPolicy(nil), signedIn(t, d))
}

// Error writes a page that says what went wrong.
func Error(w http.ResponseWriter, r *http.Request, status int, d ErrorData) {
	t := textsFor(d.Locales, r)
	write(w, r, status, formPolicy(nil), problemPage(t, d))
}

// FormPost writes a page that posts the fields to an app: by itself where
// scripts run, and by a button where they do not.
func FormPost(w http.ResponseWriter, r *http.Request, d FormPostData) {
	t := textsFor(d.Locales, r)
	write(w, r, http.StatusOK, submitPolicy(), formPost(t, d))
}
