package dpop

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/jose"
)

// Why a proof is refused. Their texts are constant and say nothing about the
// server: see [Describe].
var (
	// ErrNone says that the request has no proof.
	ErrNone = errors.New("no DPoP proof")
	// ErrSeveral says that the request has more than one proof.
	ErrSeveral = errors.New("more than one DPoP proof")
	// ErrMalformed says that the proof is not a JWT in strict form, or too long.
	ErrMalformed = errors.New("malformed DPoP proof")
	// ErrType is about typ.
	ErrType = errors.New("typ of the DPoP proof is not dpop+jwt")
	// ErrAlgorithm is about alg, and about extensions that change what it means.
	ErrAlgorithm = errors.New("alg or an extension of the DPoP proof is not accepted")
	// ErrKey is about jwk.
	ErrKey = errors.New("jwk of the DPoP proof is missing or not a public key for its alg")
	// ErrSignature says that the key in the proof has not signed it.
	ErrSignature = errors.New("signature of the DPoP proof is wrong")
	// ErrID is about jti.
	ErrID = errors.New("jti of the DPoP proof is missing or too long")
	// ErrMethod is about htm.
	ErrMethod = errors.New("htm of the DPoP proof is not the method of the request")
	// ErrURL is about htu.
	ErrURL = errors.New("htu of the DPoP proof is not the address of the request")
	// ErrToken is about ath.
	ErrToken = errors.New("ath of the DPoP proof is not the hash of the access token")
	// ErrTime is about iat.
	ErrTime = errors.New("iat of the DPoP proof is missing or too far from now")
	// ErrNonce asks for a proof with the nonce that the answer carries. It is
	// the one refusal that is no mistake of the client (RFC 9449, section 8).
	ErrNonce = errors.New("the DPoP proof needs a new nonce")
	// ErrReplayed is for callers: the proof was shown before.
	ErrReplayed = errors.New("the DPoP proof was used before")
)

// Describe returns a constant text for the client about an error of this
// package, empty for any other.
func Describe(err error) string {
	for _, cause := range []error{
		ErrNone, ErrSeveral, ErrMalformed, ErrType, ErrAlgorithm, ErrKey, ErrSignature, ErrID, ErrMethod, ErrURL, ErrToken,
		ErrNonce, ErrTime, ErrReplayed,
	} {
		if errors.Is(err, cause) {
			return cause.Error()
		}
	}
	return ""
}

const (
	// Window is how far iat may be from now when no nonce dates the proof.
	Window = time.Minute
	// MaxClockError is the most that [Expect].ClockError is meant to be.
	MaxClockError = 24 * time.Hour

	defaultClockError = 10 * time.Minute

	maxProof = 8 << 10
	maxID    = 128

	// maxKept is the longest header of a proof whose sender is kept. With what an
	// honest client writes into it a header has about 250 bytes.
	maxKept = 1 << 10
)

// canonicalHeader is how [http.Header] has the name DPoP.
const canonicalHeader = "Dpop"

// Header returns the proof of a request. It is [ErrNone] if there is none, and
// [ErrSeveral] if there are two, in two headers or in one.
func Header(h http.Header) (string, error) {
	values := h[canonicalHeader]
	switch {
	case len(values) == 0:
		return "", ErrNone
	// RFC 9449, section 4.3, check 1.
	case len(values) > 1 || strings.IndexByte(values[0], ',') >= 0:
		return "", ErrSeveral
	}
	return values[0], nil
}

// Expect is what a proof has to be for.
type Expect struct {
	Method string
	// URLs are the addresses of the request, without query and fragment, from
	// configuration and not from its headers. One of them has to be that of the
	// proof.
	URLs []string
	// AccessToken is the one that the request shows; empty if it shows none.
	AccessToken string
	Now         time.Time

	// Nonces are those of the server; nil if nonces are of no meaning to it.
	Nonces *Nonces
	// NonceOptional accepts, where there are nonces, a proof without one whose
	// time is within [Window]. One with a nonce that is not accepted is refused
	// all the same.
	NonceOptional bool
	// ClockError is how far iat may be from now when a nonce dates the proof: a
	// client with a wrong clock is an honest one. 0 means 10 minutes.
	ClockError time.Duration

	// Sender may be the one of an earlier proof. If this one is of the same key
	// in the same words, the key is not read again.
	Sender *Sender
}

// A Proof is what a proof says that was checked.
type Proof struct {
	Thumbprint string    // of the key that has signed (RFC 7638)
	ID         string    // jti
	Issued     time.Time // iat, by the clock of the client
	Nonce      string    // empty if there is none, or they are of no meaning
	// NonceIssued is when the nonce was issued, by the clock of a server; zero
	// if there is none. The proof was not made before.
	NonceIssued time.Time

	// Digest stands for this proof: it has to be remembered until Until. Then no
	// server accepts it any more, be its clock [ClockDifference] behind.
	Digest [sha256.Size]byte
	Until  time.Time

	// Sender is for the next proof; nil if its header is too long to be kept.
	Sender *Sender
}

// A Sender is the key of a proof, ready for the next one. It never changes, and
// takes little more memory than the header of the proof.
type Sender struct {
	header     jose.Header
	key        *jose.Key
	thumbprint string
}

// Check checks a proof, but for whether it was shown before. The error is one of
// this package. What is checked comes in this order: form, type, algorithm, key
// and signature, jti, htm, htu, ath, nonce, iat.
func Check(proof string, e Expect) (Proof, error) {
	sender, payload, err := open(proof, e.Sender)
	if err != nil {
		return Proof{}, err
	}
	var c claims
	if err := jose.Scan(payload, c.member); err != nil {
		if Describe(err) == "" {
			err = ErrMalformed
		}
		return Proof{}, err
	}
	// RFC 9449, section 4.3, checks 3 and 8 to 12.
	switch {
	case c.id == "":
		return Proof{}, ErrID
	case c.method == "" || c.method != e.Method:
		return Proof{}, ErrMethod
	case !slices.ContainsFunc(e.URLs, func(url string) bool { return sameURL(c.url, url) }):
		return Proof{}, ErrURL
	case e.AccessToken != "" && !c.isFor(e.AccessToken):
		return Proof{}, ErrToken
	case !c.hasIssued:
		return Proof{}, ErrTime
	}
	p := Proof{Thumbprint: sender.thumbprint, ID: c.id, Issued: time.Unix(c.issued, 0).UTC()}
	if sender.header.Len() <= maxKept {
		p.Sender = sender
	}
	if err := p.date(c.nonce, e); err != nil {
		return Proof{}, err
	}
	p.digest()
	return p, nil
}

// open returns who has signed a proof, and what.
func open(proof string, known *Sender) (*Sender, []byte, error) {
	if len(proof) > maxProof {
		return nil, nil, ErrMalformed
	}
	var header jose.Header
	if known != nil {
		header = known.header
	}
	m, err := jose.ParseLike(proof, header)
	switch {
	case errors.Is(err, jose.ErrUnsupported):
		return nil, nil, ErrAlgorithm
	case err != nil: // RFC 9449, section 4.3, check 2.
		return nil, nil, ErrMalformed
	}
	sender := known
	if known == nil || !m.Header().Same(header) {
		if sender, err = newSender(m.Header()); err != nil {
			return nil, nil, err
		}
	}
	payload, err := m.Verify(sender.key)
	switch {
	case errors.Is(err, jose.ErrUnsupported): // the key names another algorithm
		return nil, nil, ErrKey
	case err != nil:
		return nil, nil, ErrSignature
	}
	return sender, payload, nil
}

// newSender reads a header (RFC 9449, section 4.3, checks 4 to 7).
func newSender(h jose.Header) (*Sender, error) {
	switch {
	case h.Type != headerType:
		return nil, ErrType
	case h.Algorithm != jose.ES256 && h.Algorithm != jose.EdDSA && h.Algorithm != jose.Ed25519:
		return nil, ErrAlgorithm
	case h.JWK == nil:
		return nil, ErrKey
	}
	key, err := jose.ParseKey(h.JWK)
	if err != nil {
		return nil, ErrKey
	}
	return &Sender{h.Alone(), key, key.Thumbprint()}, nil
}

// claims are those of a proof that are read.
type claims struct {
	id, method, url, hash, nonce string
	issued                       int64
	hasIssued                    bool
}

func (c *claims) member(name, value []byte) error {
	var into *string
	wrong := ErrMalformed
	switch string(name) {
	case "jti":
		into, wrong = &c.id, ErrID
	case "htm":
		into, wrong = &c.method, ErrMethod
	case "htu":
		into, wrong = &c.url, ErrURL
	case "ath":
		into, wrong = &c.hash, ErrToken
	case "nonce":
		into = &c.nonce
	case "iat":
		var err error
		if c.issued, err = jose.Time(value); err != nil {
			return ErrTime
		}
		c.hasIssued = true
		return nil
	default:
		return nil
	}
	s, err := jose.Text(value)
	if err != nil || into == &c.id && len(s) > maxID {
		return wrong
	}
	*into = s
	return nil
}

// isFor reports whether ath is the hash of the token.
func (c *claims) isFor(token string) bool {
	sum := sha256.Sum256([]byte(token))
	var text [43]byte
	base64.RawURLEncoding.Encode(text[:], sum[:])
	return c.hash == string(text[:])
}

// date decides whether p is of now, and sets until when it will be.
func (p *Proof) date(nonce string, e Expect) error {
	limit := e.ClockError
	if limit <= 0 {
		limit = defaultClockError
	}
	off := e.Now.Sub(p.Issued).Abs()
	switch {
	case e.Nonces == nil || nonce == "" && e.NonceOptional:
		if off > Window {
			if e.Nonces != nil && off <= limit {
				return ErrNonce // with one, the time of the proof is good enough
			}
			return ErrTime
		}
		p.Until = p.Issued.Add(Window + ClockDifference)
		return nil
	}
	at, ok := e.Nonces.issued(nonce, e.Now)
	if !ok {
		return ErrNonce
	}
	if off > limit {
		return ErrTime
	}
	p.Nonce, p.NonceIssued, p.Until = nonce, at, at.Add(NonceLife+ClockDifference)
	return nil
}

// digest sets what p is remembered by: key and jti, whatever the proof is for.
func (p *Proof) digest() {
	var b [64 + maxID]byte
	in := append(append(append(b[:0], p.Thumbprint...), '.'), p.ID...)
	p.Digest = sha256.Sum256(in)
}
