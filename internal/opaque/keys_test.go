package opaque_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fastbind/fastbind/internal/opaque"
)

func parse(t *testing.T, text string) opaque.Secrets {
	t.Helper()
	s, err := opaque.ParseSecrets(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParseSecrets(t *testing.T) {
	t.Parallel()
	a, b := opaque.NewSecrets(), opaque.NewSecrets()
	if a.IsZero() || a.Reveal() == b.Reveal() {
		t.Error("new secrets are not new")
	}
	text := "# newest first\n\n  " + a.Reveal() + "\r\n\t" + b.Reveal() + "# end"
	s := parse(t, text)
	if got, want := s.Reveal(), a.Reveal()+b.Reveal(); got != want {
		t.Error("the secrets are not those that were written")
	}
	if again := parse(t, s.Reveal()); again.Reveal() != s.Reveal() {
		t.Error("the secrets have changed when written and read")
	}
	var zero opaque.Secrets
	if !zero.IsZero() || zero.Reveal() != "" {
		t.Error("the zero value holds secrets")
	}
	line := strings.TrimSpace(a.Reveal())
	for _, text := range []string{
		"", "\n\n", "# nothing", line[1:], line + "A", line + "=", line + " " + line, strings.Repeat("*", 43), line[:42] + "_",
		base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 32)), strings.Repeat("x", 100_000),
	} {
		s, err := opaque.ParseSecrets(text)
		if err == nil || !s.IsZero() {
			t.Errorf("%.20q: error %v", text, err)
		}
		if err != nil && len(text) > 20 && strings.Contains(err.Error(), text[:10]) {
			t.Errorf("the error holds the secret: %v", err)
		}
	}
	if _, err := opaque.ParseSecrets(a.Reveal() + "\nwrong"); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("the error does not name the line: %v", err)
	}
}

func TestMAC(t *testing.T) {
	t.Parallel()
	old, newest := opaque.NewSecrets(), opaque.NewSecrets()
	k := old.Keys("a")
	msg := []byte("message")
	tag := k.MAC(msg)
	if !k.VerifyMAC(msg, tag[:]) || k.MAC(msg) != tag {
		t.Error("the authenticator does not verify")
	}
	for name, ok := range map[string]bool{
		"OtherMessage": k.VerifyMAC([]byte("messagE"), tag[:]),
		"Empty":        k.VerifyMAC(msg, nil),
		"Short":        k.VerifyMAC(msg, tag[:opaque.MACLen-1]),
		"Long":         k.VerifyMAC(msg, append(tag[:], 0)),
		"OtherPurpose": old.Keys("b").VerifyMAC(msg, tag[:]),
		"OtherSecret":  newest.Keys("a").VerifyMAC(msg, tag[:]),
		"NoPurpose":    old.Keys("").VerifyMAC(msg, tag[:]),
	} {
		if ok {
			t.Errorf("%s is accepted", name)
		}
	}
	for i := range tag {
		changed := tag
		changed[i] ^= 1
		if k.VerifyMAC(msg, changed[:]) {
			t.Errorf("bit in byte %d does not count", i)
		}
	}
	both := parse(t, newest.Reveal()+old.Reveal()).Keys("a")
	if !both.VerifyMAC(msg, tag[:]) {
		t.Error("after a change of the master secret the authenticator does not verify")
	}
	if tag := both.MAC(msg); !both.VerifyMAC(msg, tag[:]) {
		t.Error("what the newest secret has signed does not verify beside an older one")
	}
	if both.MAC(msg) != newest.Keys("a").MAC(msg) {
		t.Error("the newest secret does not sign")
	}
}

func TestSeal(t *testing.T) {
	t.Parallel()
	old, newest := opaque.NewSecrets(), opaque.NewSecrets()
	k, both := old.Keys("a"), parse(t, newest.Reveal()+old.Reveal()).Keys("a")
	for _, plain := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("secret"), 1000)} {
		context := []byte("context")
		sealed := k.Seal(plain, context)
		if len(plain) > 4 && bytes.Contains(sealed, plain[:6]) {
			t.Error("the plain text shows")
		}
		if bytes.Equal(sealed, k.Seal(plain, context)) {
			t.Error("sealed twice, it looks the same")
		}
		for _, keys := range []opaque.Keys{k, both} {
			if got, err := keys.Open(sealed, context); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes became %d, error %v", len(plain), len(got), err)
			}
		}
		if !k.Newest(sealed) || both.Newest(sealed) || !both.Newest(both.Seal(plain, context)) || k.Newest(nil) || k.Newest(sealed[:3]) {
			t.Error("Newest is wrong about who sealed")
		}
		if _, err := k.Open(both.Seal(plain, context), context); !errors.Is(err, opaque.ErrMalformed) {
			t.Errorf("sealed with a newer secret: error %v", err)
		}
		for _, other := range [][]byte{nil, []byte("contexT"), []byte("context ")} {
			if _, err := k.Open(sealed, other); !errors.Is(err, opaque.ErrMalformed) {
				t.Errorf("context %q: error %v", other, err)
			}
		}
		for _, keys := range []opaque.Keys{old.Keys("b"), newest.Keys("a")} {
			if _, err := keys.Open(sealed, context); !errors.Is(err, opaque.ErrMalformed) {
				t.Errorf("other keys: error %v", err)
			}
		}
		for i := 0; i < len(sealed); i += 1 + len(sealed)/50 {
			changed := bytes.Clone(sealed)
			changed[i] ^= 1
			if _, err := k.Open(changed, context); !errors.Is(err, opaque.ErrMalformed) {
				t.Errorf("byte %d changed: error %v", i, err)
			}
			if _, err := k.Open(sealed[:i], context); !errors.Is(err, opaque.ErrMalformed) {
				t.Errorf("cut to %d bytes: error %v", i, err)
			}
		}
	}
}

func TestKeysConcurrently(t *testing.T) {
	t.Parallel()
	k := opaque.NewSecrets().Keys("a")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				msg := fmt.Append(nil, i, j)
				if tag := k.MAC(msg); !k.VerifyMAC(msg, tag[:]) {
					t.Error("the authenticator does not verify")
				}
				if got, err := k.Open(k.Seal(msg, msg), msg); err != nil || !bytes.Equal(got, msg) {
					t.Errorf("%q became %q, error %v", msg, got, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	s := parse(t, opaque.NewSecrets().Reveal()+opaque.NewSecrets().Reveal())
	var hidden []string
	for line := range strings.Lines(s.Reveal()) {
		line = strings.TrimSpace(line)
		b, err := base64.RawURLEncoding.DecodeString(line)
		if err != nil {
			t.Fatal(err)
		}
		hidden = append(hidden, line, string(b), string(b[:8]))
	}
	wantHidden(t, s, hidden...)
	wantHidden(t, &s, hidden...)
	wantHidden(t, struct{ Secrets opaque.Secrets }{s}, hidden...)
	wantHidden(t, struct{ secrets opaque.Secrets }{s}, hidden...)
	if got := fmt.Sprintf("%v|%+v|%#v|%s", s, s, s, s); got != "2 master secrets|2 master secrets|2 master secrets|2 master secrets" {
		t.Errorf("prints as %s", got)
	}
	k := s.Keys("a")
	for _, v := range []any{k, &k, struct{ Keys opaque.Keys }{k}, struct{ keys opaque.Keys }{k}} {
		for _, text := range printed(t, v) {
			if len(text) > 500 {
				t.Errorf("%T prints %d characters: %.200s", v, len(text), text)
			}
		}
	}
	if got := fmt.Sprintf("%v|%+v|%#v|%s", k, k, k, k); got != "2 keys|2 keys|2 keys|2 keys" {
		t.Errorf("prints as %s", got)
	}
}

// TestMACs: there is one of each key, the newest first.
func TestMACs(t *testing.T) {
	t.Parallel()
	older, newer := opaque.NewSecrets(), opaque.NewSecrets()
	both, err := opaque.ParseSecrets(newer.Reveal() + older.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	msg := []byte("message")
	want := [][opaque.MACLen]byte{newer.Keys("a").MAC(msg), older.Keys("a").MAC(msg)}
	if got := both.Keys("a").MACs(msg); !slices.Equal(got, want) {
		t.Errorf("MACs = %x, want %x", got, want)
	}
}
