package token_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/internal/token"
)

// ring is what is published, or the fault that hides it.
type ring struct {
	keys []*jose.Key
	err  error
}

func (r *ring) Find(_ context.Context, kid string, alg jose.Algorithm) ([]*jose.Key, error) {
	return jose.NewKeySet(r.keys...).Find(kid, alg), r.err
}

const issuer = "https://issuer.test"

func access(t *testing.T, s *jose.Signer, exp time.Time) string {
	t.Helper()
	payload, err := json.Marshal(map[string]any{
		"iss": issuer, "sub": "1", "client_id": "c", "jti": "j", "aud": "api", "scope": "a b",
		"iat": exp.Add(-time.Minute).Unix(), "exp": exp.Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := s.Sign("at+jwt", payload)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// signed returns another token with the claims of tok, in which replacements were
// made.
func signed(t *testing.T, s *jose.Signer, typ, tok string, replace ...string) string {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(tok, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(replace); i += 2 {
		payload = bytes.ReplaceAll(payload, []byte(`"`+replace[i]+`"`), []byte(`"`+replace[i+1]+`"`))
	}
	other, err := s.Sign(typ, payload)
	if err != nil {
		t.Fatal(err)
	}
	return other
}

// TestReader: that a token was verified once saves the check of its signature
// and nothing else.
func TestReader(t *testing.T) {
	t.Parallel()
	for _, remember := range []uint64{0, 1 << 20} {
		t.Run(fmt.Sprint(remember), func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			ours, err := jose.Generate("k", jose.ES256)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := jose.Generate("k", jose.ES256)
			if err != nil {
				t.Fatal(err)
			}
			published := &ring{keys: []*jose.Key{ours.Key()}}
			r := &token.Reader{Issuer: issuer, Keys: published, Remember: remember}
			tok, forged := access(t, ours, now.Add(time.Minute)), access(t, theirs, now.Add(time.Minute))
			refused := func(name, tok string, at time.Time) {
				t.Helper()
				if c, err := r.Access(t.Context(), tok, at); !errors.Is(err, token.ErrInvalid) {
					t.Errorf("%s: %+v, %v", name, c, err)
				}
			}
			var first token.Claims
			for i := range 3 {
				c, err := r.Access(t.Context(), tok, now)
				if err != nil || c.Subject != "1" || c.KeyID != "k" {
					t.Fatalf("use %d: %+v, %v", i, c, err)
				}
				if i == 0 {
					first = c
				}
				if diff := cmp.Diff(first, c); diff != "" {
					t.Errorf("use %d: %s", i, diff)
				}
				refused("forged", forged, now)
				refused("another signature", tok[:len(tok)-8]+"AAAAAAAA", now)
				refused("an ID token", signed(t, ours, "JWT", tok), now)
				refused("a name with a zero byte", signed(t, ours, "at+jwt", tok, "j", `j\u0000`), now)
			}
			refused("expired", tok, now.Add(time.Minute))
			refused("issued in the future", tok, now.Add(-time.Minute))

			errLost := errors.New("no database")
			published.err = errLost
			if _, err := r.Access(t.Context(), tok, now); !errors.Is(err, errLost) || errors.Is(err, token.ErrInvalid) {
				t.Errorf("the keys cannot be loaded: %v", err)
			}
			published.err, published.keys = nil, []*jose.Key{theirs.Key()}
			refused("key replaced under its name", tok, now)
			published.keys = nil
			refused("key withdrawn", tok, now)

			// Whether the signature is looked at again shows when the key, of all
			// things, is another one all of a sudden.
			again := access(t, ours, now.Add(30*time.Second))
			key := *ours.Key()
			published.keys = []*jose.Key{&key}
			if _, err := r.Access(t.Context(), again, now); err != nil {
				t.Fatal(err)
			}
			key.Public = theirs.Key().Public
			if _, err := r.Access(t.Context(), again, now); (err == nil) != (remember > 0) {
				t.Errorf("the second time: %v", err)
			}
			published.keys = []*jose.Key{ours.Key()}
			if _, err := r.Access(t.Context(), tok, now); err != nil {
				t.Errorf("key published again: %v", err)
			}
		})
	}
}

// BenchmarkReader reads an access token that was seen before.
func BenchmarkReader(b *testing.B) {
	s, err := jose.Generate("k", jose.ES256)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	payload := fmt.Sprintf(`{"iss":%q,"sub":"1","client_id":"c","jti":"j","iat":%d,"exp":%d}`, issuer, now.Unix(), now.Unix()+60)
	tok, err := s.Sign("at+jwt", []byte(payload))
	if err != nil {
		b.Fatal(err)
	}
	for _, remember := range []uint64{0, 1 << 20} {
		b.Run(fmt.Sprint(remember), func(b *testing.B) {
			r := &token.Reader{Issuer: issuer, Keys: &ring{keys: []*jose.Key{s.Key()}}, Remember: remember}
			for b.Loop() {
				if _, err := r.Access(b.Context(), tok, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
