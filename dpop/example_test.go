package dpop_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/fastbind/fastbind/dpop"
)

// A client makes a key, keeps it, and sends everything through a transport: token
// requests and requests to APIs. The access token is given to it as usual.
func ExampleTransport() {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		fmt.Println(scheme, r.Header.Get("DPoP") != "")
	}))
	defer api.Close()

	key, err := dpop.NewKey()
	if err != nil {
		fmt.Println(err)
		return
	}
	client := http.Client{Transport: &dpop.Transport{Key: key}, Timeout: time.Minute}
	r, err := http.NewRequest(http.MethodGet, api.URL+"/orders", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	r.Header.Set("Authorization", "Bearer "+"the access token")
	resp, err := client.Do(r)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	// Output:
	// DPoP true
}

// A server checks the proof of a request against its own address, which it knows
// from its configuration, and remembers what it has seen. Package guard does this
// for an API.
func ExampleCheck() {
	nonces, err := dpop.NewNonces([]byte("from a file, the same on all servers"))
	if err != nil {
		fmt.Println(err)
		return
	}
	check := func(r *http.Request, accessToken string) error {
		proof, err := dpop.Header(r.Header)
		if err != nil {
			return err
		}
		p, err := dpop.Check(proof, dpop.Expect{
			Method: r.Method, URLs: []string{"https://api.example.com" + r.URL.EscapedPath()},
			AccessToken: accessToken, Now: time.Now(), Nonces: nonces,
		})
		if err != nil {
			return err
		}
		// Here: is p.Thumbprint that of the token, and p.Digest seen for the first
		// time until p.Until?
		fmt.Println("a proof for", r.URL.Path, p.NonceIssued.IsZero())
		return nil
	}

	key, err := dpop.NewKey()
	if err != nil {
		fmt.Println(err)
		return
	}
	r := httptest.NewRequest(http.MethodGet, "/orders", nil)
	params := dpop.Params{Method: r.Method, URL: "https://api.example.com/orders", AccessToken: "the access token"}
	for range 2 {
		proof, err := key.Proof(params)
		if err != nil {
			fmt.Println(err)
			return
		}
		r.Header.Set("DPoP", proof)
		err = check(r, "the access token")
		if errors.Is(err, dpop.ErrNonce) {
			fmt.Println(dpop.Describe(err))
			params.Nonce = nonces.Issue(time.Now()) // the server sends it with the refusal
		}
	}
	// Output:
	// the DPoP proof needs a new nonce
	// a proof for /orders false
}
