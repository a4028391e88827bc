package listing

import (
	"strings"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/authorize"
)

// A User is an account.
type User struct {
	Subject  string         `json:"subject"`
	Username string         `json:"username"`
	Password bool           `json:"has_password"`
	Created  string         `json:"created"`
	Disabled string         `json:"disabled,omitempty"`
	Claims   map[string]any `json:"claims,omitempty"`
}

// OfUser returns a as it is shown.
func OfUser(a account.Account) User {
	return User{
		Subject: a.Subject, Username: a.Display, Password: a.Password != "",
		Created: stamp(a.Created), Disabled: stamp(a.Disabled), Claims: a.Claims,
	}
}

// OfUsers returns all as they are shown.
func OfUsers(all []account.Account) ([]User, *Table) {
	views, t := make([]User, 0, len(all)), &Table{Head: []string{"USER", "SUBJECT", "CREATED", "DISABLED"}}
	for _, a := range all {
		views = append(views, OfUser(a))
		t.Add(a.Display, a.Subject, When(a.Created), When(a.Disabled))
	}
	return views, t
}

// A Consent is what a person has allowed a client.
type Consent struct {
	Subject  string   `json:"subject"`
	Username string   `json:"username,omitempty"`
	Client   string   `json:"client_id"`
	Scope    []string `json:"scope"`
	Given    string   `json:"given"`
}

// OfConsents returns all as they are shown; username names their persons.
func OfConsents(all []authorize.Consent, username map[string]string) ([]Consent, *Table) {
	views, t := make([]Consent, 0, len(all)), &Table{Head: []string{"USER", "CLIENT", "GIVEN", "SCOPE"}}
	for _, k := range all {
		name := username[k.Subject]
		views = append(views, Consent{k.Subject, name, k.Client, append([]string{}, k.Scope...), stamp(k.Given)})
		t.Add(name, k.Client, When(k.Given), strings.Join(k.Scope, " "))
	}
	return views, t
}
