package web

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/opaque"
)

// Purposes of sealed state.
const (
	SealPurpose    = "page state" // of the keys of a Sealer
	SignInPurpose  = "sign-in"
	ConsentPurpose = "consent"
	SignOutPurpose = "sign-out"
	ResumePurpose  = "resume"
	DevicePurpose  = "device"
)

// A Transaction is a pending sign-in. It is not stored anywhere: the page
// carries it, sealed, so any number of tabs can be open for any time.
type Transaction struct {
	// Return is where to go on after the sign-in: path and query on this
	// server.
	Return     string    `json:"r"`
	Client     string    `json:"c,omitempty"`
	ClientName string    `json:"n,omitempty"`
	Username   string    `json:"u,omitempty"` // to fill in
	Cancel     string    `json:"x,omitempty"` // path and query on this server
	Targets    []string  `json:"t,omitempty"` // see page.SignInData
	Started    time.Time `json:"s"`
	Reauth     bool      `json:"a,omitempty"`
	Locales    string    `json:"l,omitempty"`
}

// A Sealer writes state that a browser carries and cannot read, change or use
// for anything else.
type Sealer struct{ Keys opaque.Keys }

// Seal returns v as text, for one purpose.
func (s Sealer) Seal(purpose string, v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("seal %s: %w", purpose, err)
	}
	return base64.RawURLEncoding.EncodeToString(s.Keys.Seal(b, []byte(purpose))), nil
}

// Open reads what [Sealer.Seal] wrote for the same purpose into v;
// [opaque.ErrMalformed] for anything else.
func (s Sealer) Open(purpose, text string, v any) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // which the decoder skips
		return opaque.ErrMalformed
	}
	b, err = s.Keys.Open(b, []byte(purpose))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("open %s: %w", purpose, err)
	}
	return nil
}
