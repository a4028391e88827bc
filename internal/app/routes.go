package app

import (
	"net/http"

	"github.com/fastbind/fastbind/internal/authorize"
	"github.com/fastbind/fastbind/internal/grant"
	"github.com/fastbind/fastbind/internal/keys"
	"github.com/fastbind/fastbind/internal/login"
	"github.com/fastbind/fastbind/internal/page"
	"github.com/fastbind/fastbind/internal/proof"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/token"
	"github.com/fastbind/fastbind/internal/web"
)

// routes builds the handler of the whole server.
func (a *App) routes() (http.Handler, error) {
	u, err := a.Config.issuer()
	if err != nil {
		return nil, err
	}
	proxies, err := a.Config.proxies()
	if err != nil {
		return nil, err
	}
	a.cookies = web.Cookies{Secure: u.Scheme == "https", Port: port(u)}
	meta, err := metadataHandler(a.Config.Issuer)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	read := func(path string, h http.Handler) { mux.Handle(path, web.CORS(h, "GET, HEAD")) }
	call := func(path string, h http.Handler) { mux.Handle(path, web.CORS(h, "GET, POST")) }
	read("/.well-known/openid-configuration", meta)
	read("/.well-known/oauth-authorization-server", meta)
	read(jwksPath, &keys.Handler{Ring: a.Keys})
	a.tokens(mux, call)
	a.pages(mux)
	mux.HandleFunc("GET /readyz", a.ready)
	edge := &web.Edge{
		Secure: a.cookies.Secure, Proxies: proxies, Log: a.log.With("component", "web"), Observe: a.request,
	}
	outer := http.NewServeMux()
	outer.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	outer.Handle("/", a.history.Guard(mux))
	return edge.Wrap(outer), nil
}

// tokens adds the endpoints that software calls.
func (a *App) tokens(mux *http.ServeMux, call func(string, http.Handler)) {
	call(grant.Path, &grant.Handler{
		Auth: a.auth, Codes: a.DB.Codes(), Minter: a.minter, Rotator: a.rotator, Mint: a.mint, Revoke: a.Revoke,
		Policy: policyOf, Proofs: a.Proofs, Report: &proof.Report{Events: a.DB, Log: a.log.With("component", "grant")},
		Log: a.log.With("component", "grant"), Now: a.now,
	})
	call(userinfoPath, &token.UserInfo{
		Path: userinfoPath, Proofs: a.Proofs,
		Reader: a.reader, Standing: a.Revoke, People: people{a.DB.Accounts()}, Log: a.log.With("component", "userinfo"), Now: a.now,
	})
	log := a.log.With("component", "revoke")
	call(revoke.RevokePath, &revoke.Handler{Core: a.Revoke, Auth: a.auth, Minter: a.minter, Reader: a.reader, Log: log})
	mux.Handle(revoke.IntrospectPath, &revoke.Introspection{Core: a.Revoke, Auth: a.auth, Reader: a.reader, Log: log})
	mux.Handle(revoke.FeedPath, &revoke.Feed{Core: a.Revoke, Auth: a.auth, Log: log, Readers: &a.insight.readers, Done: a.stopped})
	mux.Handle(revoke.UsePath, &revoke.Uses{Core: a.Revoke, Auth: a.auth, Log: log})
}

// pages adds the endpoints that people's browsers call.
func (a *App) pages(mux *http.ServeMux) {
	az := &authorize.Handler{
		Issuer: a.Config.Issuer, ACR: login.ACR, Clients: a.Clients, Auth: a.auth, Gate: a.Gate, Codes: a.DB.Codes(),
		Store: a.DB.Requests(), Hints: a.reader, People: people{a.DB.Accounts()}, Policy: policyOf, Throttle: a.floods, Proofs: a.Proofs,
		Sealer: a.sealer, Cookies: a.cookies, Log: a.log.With("component", "authorize"), Now: a.now,
	}
	mux.Handle(authorize.Path, az)
	mux.Handle(authorize.PushPath, web.CORS(http.HandlerFunc(az.Push), "POST"))
	own := http.NewCrossOriginProtection()
	own.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page.Error(w, r, http.StatusForbidden, page.ErrorData{
			Problem: page.ProblemForbidden, RequestID: web.RequestID(r.Context()), Continue: login.Path,
		})
	}))
	mux.Handle("POST "+authorize.ConsentPath, own.Handler(http.HandlerFunc(az.Decide)))
	mux.Handle("GET "+authorize.ConsentPath, http.RedirectHandler(login.Path, http.StatusSeeOther))
	a.signIn(mux, own)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, login.Path, http.StatusSeeOther)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		page.Error(w, r, http.StatusNotFound, page.ErrorData{
			Problem: page.ProblemNotFound, RequestID: web.RequestID(r.Context()), Continue: login.Path,
		})
	})
}

// signIn adds the pages on which people sign in and out. What asks for a
// sign-out may come from another site; what signs in or decides may not.
func (a *App) signIn(mux *http.ServeMux, own *http.CrossOriginProtection) {
	h := &login.Handler{
		Accounts: a.Accounts, People: people{a.DB.Accounts()}, Gate: a.Gate, Attempts: a.Attempts,
		Revoke: a.Revoke, Clients: a.Clients, Hints: a.reader, Events: a.DB, Sealer: a.sealer, Cookies: a.cookies,
		Remember: true, Log: a.log.With("component", "login"), Now: a.now,
	}
	mux.Handle(login.Path, own.Handler(h))
	mux.HandleFunc(login.LogoutPath, h.Logout)
}

// ready answers whether the server can do its work.
func (a *App) ready(w http.ResponseWriter, r *http.Request) {
	if err := a.DB.Ping(r.Context()); err != nil {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
