package refresh_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/refresh"
)

func minter(s opaque.Secrets) refresh.Minter { return refresh.Minter{Keys: s.Keys(refresh.KeyPurpose)} }

func TestTokenRoundTrip(t *testing.T) {
	t.Parallel()
	m := minter(opaque.NewSecrets())
	for _, g := range []int64{0, 1, 2, 61, 62, 1 << 31, 1 << 32, math.MaxInt64} {
		id := refresh.NewFamilyID()
		token := m.Token(id, g)
		if !strings.HasPrefix(token.Reveal(), string(opaque.Refresh)) {
			t.Errorf("generation %d: token of kind %q, want %q", g, token.Kind(), opaque.Refresh)
		}
		gotID, gotGeneration, err := m.Read(token.Reveal())
		if err != nil || gotID != id || gotGeneration != g {
			t.Errorf("Read = %s, %d, %v; want %s, %d", gotID, gotGeneration, err, id, g)
		}
		if again := m.Token(id, g); again != token {
			t.Errorf("generation %d: two derivations differ", g)
		}
	}
}

func TestTokensDiffer(t *testing.T) {
	t.Parallel()
	m := minter(opaque.NewSecrets())
	seen := make(map[string]string)
	for range 20 {
		id := refresh.NewFamilyID()
		for g := range int64(50) {
			token, what := m.Token(id, g).Reveal(), fmt.Sprint(id, g)
			if other, ok := seen[token]; ok {
				t.Fatalf("%s and %s have the same token", what, other)
			}
			seen[token] = what
		}
	}
}

// TestTokenEveryChangeIsRefused changes each character of a token to each other
// one. Read has no store to ask, so nothing of this reaches one.
func TestTokenEveryChangeIsRefused(t *testing.T) {
	t.Parallel()
	m := minter(opaque.NewSecrets())
	token := m.Token(refresh.NewFamilyID(), 7).Reveal()
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-+/= \x00\xff"
	for i := range token {
		for _, c := range []byte(alphabet) {
			if c != token[i] {
				refuse(t, m, token[:i]+string([]byte{c})+token[i+1:])
			}
		}
		refuse(t, m, token[:i])
		refuse(t, m, token[i+1:])
		refuse(t, m, token[:i]+token[i+1:])
		refuse(t, m, token[:i]+"0"+token[i:])
	}
	for _, s := range []string{
		"", "fbr_", token + "0", token + "\n", " " + token, token + token, strings.ToUpper(token), strings.ToLower(token),
		strings.Replace(token, "fbr_", "fbs_", 1), strings.Repeat("0", 10_000), token + strings.Repeat("0", 10_000),
	} {
		refuse(t, m, s)
	}
}

// TestTokenForged writes tokens with a good checksum and without the secret.
func TestTokenForged(t *testing.T) {
	t.Parallel()
	m := minter(opaque.NewSecrets())
	body, err := opaque.Decode(opaque.Refresh, m.Token(refresh.NewFamilyID(), 7).Reveal())
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(body) * 8 {
		forged := bytes.Clone(body)
		forged[bit/8] ^= 1 << (bit % 8)
		refuse(t, m, opaque.Encode(opaque.Refresh, forged).Reveal())
	}
	for n := 0; n <= 80; n += 8 {
		if n != len(body) {
			refuse(t, m, opaque.Encode(opaque.Refresh, make([]byte, n)).Reveal())
			refuse(t, m, opaque.Encode(opaque.Refresh, append(bytes.Clone(body), make([]byte, n+8)...)).Reveal())
			refuse(t, m, opaque.Encode(opaque.Refresh, body[:min(n, len(body)-8)]).Reveal())
		}
	}
	refuse(t, m, opaque.Encode(opaque.Session, body).Reveal())
	refuse(t, m, opaque.Encode(opaque.Code, body).Reveal())
}

func TestTokenSecrets(t *testing.T) {
	t.Parallel()
	older, newer := opaque.NewSecrets(), opaque.NewSecrets()
	both, err := opaque.ParseSecrets(newer.Reveal() + "\n" + older.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	id := refresh.NewFamilyID()
	old := minter(older).Token(id, 3).Reveal()
	refuse(t, minter(newer), old)
	if gotID, g, err := minter(both).Read(old); err != nil || gotID != id || g != 3 {
		t.Errorf("token of the older secret: %s, %d, %v", gotID, g, err)
	}
	// What is handed out after the change is of the newer secret, and so is the
	// successor that is derived again for a token of the older one.
	if got, want := minter(both).Token(id, 4), minter(newer).Token(id, 4); got != want {
		t.Error("the first secret of the list does not sign")
	}
	other := refresh.Minter{Keys: older.Keys("another purpose")}
	refuse(t, other, old)
}

func refuse(t *testing.T, m refresh.Minter, token string) {
	t.Helper()
	id, g, err := m.Read(token)
	if !errors.Is(err, opaque.ErrMalformed) || id != "" || g != 0 {
		t.Errorf("Read(%q) = %q, %d, %v; want ErrMalformed and nothing else", token, id, g, err)
	}
	if err != nil && len(token) > 40 && strings.Contains(err.Error(), token[4:]) {
		t.Errorf("the error holds the token: %v", err)
	}
}

func TestTokenNeverPrints(t *testing.T) {
	t.Parallel()
	m := minter(opaque.NewSecrets())
	token := m.Token(refresh.NewFamilyID(), 7)
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&out, verb+"\n", token)
		fmt.Fprintf(&out, verb+"\n", m)
		fmt.Fprintf(&out, verb+"\n", struct{ T *opaque.Handle }{&token})
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("token", "token", token, "minter", m)
	slog.New(slog.NewTextHandler(&out, nil)).Info("token", "token", token, "minter", m)
	if err := json.NewEncoder(&out).Encode(map[string]any{"token": token}); err != nil {
		t.Fatal(err)
	}
	if secret := token.Reveal()[4:]; strings.Contains(out.String(), secret) || strings.Contains(out.String(), secret[44:]) {
		t.Errorf("the token was printed:\n%s", out.String())
	}
	if !strings.Contains(out.String(), "fbr_") {
		t.Errorf("nothing was printed at all:\n%s", out.String())
	}
}

func TestTokenOfAStrangeFamilyPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic for an id that was not made by NewFamilyID")
		}
	}()
	minter(opaque.NewSecrets()).Token("family", 1)
}

func FuzzTokenRead(f *testing.F) {
	m := minter(opaque.NewSecrets())
	f.Add(m.Token(refresh.NewFamilyID(), 1).Reveal())
	f.Add(opaque.New(opaque.Refresh).Reveal())
	f.Add("fbr_")
	f.Fuzz(func(t *testing.T, s string) {
		id, g, err := m.Read(s)
		if err != nil {
			if !errors.Is(err, opaque.ErrMalformed) || id != "" || g != 0 {
				t.Errorf("Read = %q, %d, %v", id, g, err)
			}
			return
		}
		if got := m.Token(id, g).Reveal(); got != s {
			t.Errorf("two texts are one token: %q and %q", s, got)
		}
	})
}
