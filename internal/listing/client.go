package listing

import (
	"io"
	"strings"

	"github.com/fastbind/fastbind/internal/client"
)

// A Client is a registered client.
type Client struct {
	ID       string `json:"client_id"`
	Secret   string `json:"client_secret,omitempty"` // only when it was just made
	Public   bool   `json:"public"`
	Created  string `json:"created"`
	Disabled string `json:"disabled,omitempty"`
	client.Meta
	Constrained bool `json:"dpop_bound_access_tokens,omitempty"` // RFC 9449, section 5.2
}

// OfClient returns k as it is shown.
func OfClient(k client.Client) Client {
	return Client{
		ID: k.ID, Public: k.Public(), Created: stamp(k.Created), Disabled: stamp(k.Disabled), Meta: k.Meta,
		Constrained: k.Constrained(),
	}
}

func (v Client) kind() string {
	if v.Public {
		return "public"
	}
	return "confidential"
}

// Write writes what is known of the client.
func (v Client) Write(w io.Writer) error {
	t := &Table{Head: []string{"FIELD", "VALUE"}}
	add := func(name string, values ...string) {
		if s := strings.Join(values, " "); s != "" {
			t.Add(name, s)
		}
	}
	add("client_id", v.ID)
	add("kind", v.kind())
	add("client_secret", v.Secret)
	add("name", v.Name)
	add("policy", v.Policy)
	add("grant_types", v.GrantTypes...)
	add("redirect_uris", v.RedirectURIs...)
	add("post_logout_redirect_uris", v.PostLogoutRedirectURIs...)
	add("scopes", v.Scopes...)
	add("audiences", v.Audiences...)
	add("dpop", v.DPoP)
	add("created", v.Created)
	add("disabled", v.Disabled)
	for _, is := range []struct {
		name string
		set  bool
	}{
		{"trusted", v.Trusted},
		{"resource_server", v.ResourceServer},
		{"pkce_optional", v.PKCEOptional},
		{"require_par", v.RequirePAR},
		{"sends_attempt_keys", v.SendsAttempts},
		{"apis_report_use", v.APIsReport},
		{"notify_only", v.NotifyOnly},
	} {
		if is.set {
			add(is.name, "yes")
		}
	}
	return t.Write(w)
}

// OfClients returns all as they are shown.
func OfClients(all []client.Client) ([]Client, *Table) {
	views, t := make([]Client, 0, len(all)), &Table{Head: []string{"CLIENT", "KIND", "POLICY", "DISABLED", "NAME"}}
	for _, k := range all {
		v := OfClient(k)
		views = append(views, v)
		t.Add(k.ID, v.kind(), k.Policy, When(k.Disabled), k.Name)
	}
	return views, t
}
