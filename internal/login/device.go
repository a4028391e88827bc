package login

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"

	"github.com/fastbind/fastbind/internal/account"
	"github.com/fastbind/fastbind/internal/limit"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/web"
)

// A device is what the device cookie holds, sealed: a browser, and the accounts
// that were signed in to there.
type device struct {
	ID       string   `json:"i"`
	Accounts []string `json:"a"` // digests of usernames, newest first
}

// maxAccounts is how many accounts a device is known for, so that the cookie
// stays small.
const maxAccounts = 10

func (h *Handler) device(r *http.Request) device {
	var d device
	if v := h.Cookies.Device(r); v == "" || h.Sealer.Open(web.DevicePurpose, v, &d) != nil {
		return device{}
	}
	return d
}

// attempt says who tries to sign in, as far as the limits ask.
func (h *Handler) attempt(r *http.Request, username string) limit.Attempt {
	at := limit.Attempt{Account: username, Network: web.Network(r)}
	name, err := account.Canonical(username)
	if err != nil {
		at.Account = "\x00" + at.Account // no canonical name begins like this
		return at
	}
	at.Account = name
	if d := h.device(r); slices.Contains(d.Accounts, accountMark(name)) {
		at.Device = d.ID
	}
	return at
}

// know forgets the failures before a success, and makes the device known for
// the account.
func (h *Handler) know(w http.ResponseWriter, r *http.Request, at limit.Attempt) error {
	d := h.device(r)
	if d.ID == "" {
		d.ID = opaque.NewID()
	}
	mark := accountMark(at.Account)
	d.Accounts = slices.DeleteFunc(d.Accounts, func(s string) bool { return s == mark })
	d.Accounts = slices.Insert(d.Accounts, 0, mark)
	if len(d.Accounts) > maxAccounts {
		d.Accounts = d.Accounts[:maxAccounts]
	}
	sealed, err := h.Sealer.Seal(web.DevicePurpose, d)
	if err != nil {
		return err
	}
	h.Cookies.SetDevice(w, sealed)
	return h.Attempts.Succeeded(r.Context(), at)
}

func accountMark(name string) string {
	sum := sha256.Sum256([]byte(name))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
