// Command preview serves every page with sample data, to look at while working
// on texts and styles:
//
//	go run ./internal/page/preview -listen 127.0.0.1:8099
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/fastbind/fastbind/internal/page"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("preview", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "127.0.0.1:8099", "address to listen on")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	fmt.Fprintf(stdout, "http://%s/\n", *listen) //nolint:errcheck // nobody to tell
	server := &http.Server{Addr: *listen, Handler: handler(), ReadHeaderTimeout: 10 * time.Second}
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(stderr, err) //nolint:errcheck // nobody to tell
		return 1
	}
	return 0
}

func handler() http.Handler {
	samples := samples()
	mux := http.NewServeMux()
	var names []string
	for name, h := range samples {
		names = append(names, name)
		mux.HandleFunc("GET /"+name, h)
	}
	slices.Sort(names)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		for _, name := range names {
			fmt.Fprintf(w, "<p><a href=\"/%s\">%s</a></p>\n", name, name) //nolint:errcheck // nobody to tell
		}
	})
	return mux
}

func samples() map[string]http.HandlerFunc {
	signIn := func(status int, d page.SignInData) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			d.Action, d.Transaction = "/login", "sample"
			page.SignIn(w, r, status, d)
		}
	}
	wrong := func(status int, d page.ErrorData) http.HandlerFunc {
		d.RequestID = "6RlNqzwo9tPiWnSOgdDk2m"
		return func(w http.ResponseWriter, r *http.Request) { page.Error(w, r, status, d) }
	}
	const app = "Orchard Notes"
	return map[string]http.HandlerFunc{
		"signin":      signIn(200, page.SignInData{}),
		"signin-app":  signIn(200, page.SignInData{ClientName: app, Remember: true, Cancel: "/"}),
		"wrong":       signIn(401, page.SignInData{ClientName: app, Remember: true, Cancel: "/", Username: "ada", Problem: page.ProblemCredentials}),
		"limited":     signIn(429, page.SignInData{ClientName: app, Username: "ada", Problem: page.ProblemLimited, Wait: 4 * time.Minute}),
		"reauth":      signIn(200, page.SignInData{ClientName: app, Username: "ada", Reauth: true, Cancel: "/"}),
		"signin-long": signIn(200, page.SignInData{ClientName: "تطبيق الملاحظات \u202eevil " + longName, Remember: true, Cancel: "/", Username: longName}),
		"consent": func(w http.ResponseWriter, r *http.Request) {
			page.Consent(w, r, 200, page.ConsentData{
				Action: "/consent", Transaction: "sample", ClientName: app, ClientID: "orchard-notes", RedirectHost: "notes.orchard.example",
				Username: "ada", Switch: "/",
				Scopes: []page.Scope{{Name: "openid"}, {Name: "profile"}, {Name: "email"}, {Name: "offline_access"}, {Name: "orders:read"}},
			})
		},
		"select": func(w http.ResponseWriter, r *http.Request) {
			page.SelectAccount(w, r, 200, page.SelectAccountData{Username: "ada", Continue: "/", Other: "/", ClientName: app, Cancel: "/"})
		},
		"signout": func(w http.ResponseWriter, r *http.Request) {
			page.SignOut(w, r, 200, page.SignOutData{Action: "/logout", Transaction: "sample", Username: "ada", ClientName: app, Stay: "/"})
		},
		"signedout": func(w http.ResponseWriter, r *http.Request) { page.SignedOut(w, r, page.SignedOutData{}) },
		"signedout-app": func(w http.ResponseWriter, r *http.Request) {
			page.SignedOut(w, r, page.SignedOutData{Continue: "https://notes.orchard.example/", ClientName: app})
		},
		"signedin": func(w http.ResponseWriter, r *http.Request) {
			page.SignedIn(w, r, page.SignedInData{Username: "ada", SignOut: "/logout", Transaction: "sample"})
		},
		"fault":     wrong(503, page.ErrorData{Problem: page.ProblemFault, Continue: "/"}),
		"request":   wrong(400, page.ErrorData{Problem: page.ProblemRequest, Detail: "redirect_uri is not registered for this client"}),
		"client":    wrong(400, page.ErrorData{Problem: page.ProblemClient}),
		"forbidden": wrong(403, page.ErrorData{Problem: page.ProblemForbidden}),
		"notfound":  wrong(404, page.ErrorData{Problem: page.ProblemNotFound}),
		"formpost": func(w http.ResponseWriter, r *http.Request) {
			page.FormPost(w, r, page.FormPostData{Action: "/nowhere", Fields: [][2]string{{"code", "sample"}, {"state", "s"}}})
		},
	}
}

// longName is as long as names get, without a place to break.
const longName = "augusta-ada-king-countess-of-lovelace-who-wrote-the-first-program@analytical-engines.example"
