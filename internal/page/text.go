package page

import (
	"net/http"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/page/part"
)

// texts are the words of all pages in one language. {name} stands for what a
// client or a person is called: it is shown escaped, and isolated in its writing
// direction.
type texts struct {
	lang, dir string // of the html element

	signIn       string
	signInTo     string // {name}: app
	reauth       string
	reauthLead   string
	reauthFor    string // {name}: app
	username     string
	password     string
	remember     string
	rememberHint string
	cancel       string
	cancelTo     string // {name}: app
	credentials  string
	missing      string
	limited      func(wait time.Duration) string
	expired      string
	fault        string

	consent      string // {name}: app
	consentTitle string
	consentLead  string
	signedInAs   string // {name}: person
	otherUser    string
	scopes       map[string][2]string // what is allowed, and what that means
	otherScope   string
	appID        string
	answersTo    string
	allow, deny  string

	selectAccount   string
	selectAccountTo string // {name}: app
	continueAs      string // {name}: person

	signOut       string
	signOutButton string
	signOutLead   string
	signOutAsked  string // {name}: app
	stay          string
	stayClose     string
	signedOut     string
	signedOutLead string
	backTo        string // {name}: app
	signInAgain   string
	signedIn      string
	signedInLead  string
	formPost      string
	formPostLead  string
	goOn          string

	errors    map[Problem][2]string // title, and what to do
	details   string
	requestID string
	tryAgain  string
	toSignIn  string
}

// catalogue returns the texts by language, the one that is used if none is
// asked for first.
func catalogue() []*texts { return []*texts{english()} }

// Locales are the languages that pages are written in (ui_locales_supported of
// OpenID Connect Discovery, section 3).
func Locales() []string {
	var out []string
	for _, t := range catalogue() {
		out = append(out, t.lang)
	}
	return out
}

// textsFor returns the texts in the first of the languages asked for that there
// is: those of the app's request, then those of the browser.
func textsFor(locales string, r *http.Request) *texts {
	all := catalogue()
	asked := strings.Fields(locales)
	for part := range strings.SplitSeq(r.Header.Get("Accept-Language"), ",") {
		tag, _, _ := strings.Cut(part, ";")
		asked = append(asked, strings.TrimSpace(tag))
	}
	for _, tag := range asked {
		primary, _, _ := strings.Cut(tag, "-")
		for _, t := range all {
			if strings.EqualFold(primary, t.lang) {
				return t
			}
		}
	}
	return all[0]
}

// problem returns the title and the text of an error page.
func (t *texts) problem(p Problem) [2]string {
	if words, ok := t.errors[p]; ok {
		return words
	}
	return t.errors[NoProblem]
}

// document returns the frame of a page.
func (t *texts) document(title string) part.Document {
	return part.Document{Lang: t.lang, Dir: t.dir, Title: title, Style: style, Icon: icon}
}

// wayOn returns the words of the link on an error page that leads to no app: what
// may work the next time is tried again.
func (t *texts) wayOn(p Problem) string {
	if p == ProblemFault || p == NoProblem {
		return t.tryAgain
	}
	return t.toSignIn
}

// back returns the words of a link back to the app, or others if it has no name.
func (t *texts) back(name, otherwise string) part.Words {
	if name == "" {
		return part.Words{Text: otherwise}
	}
	return part.Words{Text: t.backTo, Name: name}
}

func (d SignInData) title(t *texts) string {
	if d.Reauth {
		return t.reauth
	}
	return t.signIn
}

func (d SignInData) button(t *texts) string {
	if d.Reauth {
		return t.goOn
	}
	return t.signIn
}

func (d SignInData) lead(t *texts) string {
	switch {
	case d.Reauth && d.ClientName != "":
		return t.reauthFor
	case d.Reauth:
		return t.reauthLead
	case d.ClientName != "":
		return t.signInTo
	}
	return ""
}

func (d SignInData) alert(t *texts) string {
	switch d.Problem {
	case NoProblem:
		return ""
	case ProblemCredentials:
		return t.credentials
	case ProblemLimited:
		return t.limited(d.Wait)
	case ProblemExpired:
		return t.expired
	case ProblemMissing:
		return t.missing
	case ProblemFault:
		return t.fault
	default:
		return t.problem(d.Problem)[1]
	}
}

func (d SignInData) username(t *texts) part.Input {
	return part.Input{
		Name: "username", Type: "text", Label: t.username, Value: d.Username, Autocomplete: "username",
		First: d.Username == "", Problem: d.Problem != NoProblem, Invalid: d.invalid(),
	}
}

func (d SignInData) password(t *texts) part.Input {
	return part.Input{
		Name: "password", Type: "password", Label: t.password, Autocomplete: "current-password",
		First: d.Username != "", Problem: d.Problem != NoProblem, Invalid: d.invalid(),
	}
}

func (d SignInData) invalid() bool {
	return d.Problem == ProblemCredentials || d.Problem == ProblemMissing
}

func (d ConsentData) permissions(t *texts) []part.Permission {
	list := make([]part.Permission, 0, len(d.Scopes))
	for _, s := range d.Scopes {
		if words, known := t.scopes[s.Name]; known {
			list = append(list, part.Permission{Text: words[0], Hint: words[1]})
		} else {
			list = append(list, part.Permission{Text: t.otherScope, Code: s.Name})
		}
	}
	return list
}
