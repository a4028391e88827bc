package opaque_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/fastbind/fastbind/internal/opaque"
)

var kinds = []opaque.Kind{opaque.Code, opaque.Session, opaque.Refresh, opaque.ClientSecret, opaque.Request, opaque.Device}

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func TestHandleRoundTrip(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		h := opaque.New(kind)
		if h.IsZero() || h.Kind() != kind || !strings.HasPrefix(h.Reveal(), string(kind)) {
			t.Errorf("new handle of kind %s: %v", kind, h)
		}
		again, err := opaque.Parse(kind, h.Reveal())
		if err != nil || again != h || again.Digest() != h.Digest() {
			t.Errorf("%s: read as %v, error %v", kind, again, err)
		}
		if h.Digest() != opaque.Digest(sha256.Sum256([]byte(h.Reveal()))) {
			t.Errorf("%s: the digest is not that of the text", kind)
		}
		for _, other := range kinds {
			if _, err := opaque.Parse(other, h.Reveal()); (err == nil) != (other == kind) {
				t.Errorf("a handle of kind %s read as %s: error %v", kind, other, err)
			}
			// The kind takes part in the checksum.
			if other != kind {
				if _, err := opaque.Parse(other, string(other)+strings.TrimPrefix(h.Reveal(), string(kind))); err == nil {
					t.Errorf("a handle of kind %s renamed to %s is accepted", kind, other)
				}
			}
		}
	}
	if opaque.New(opaque.Code) == opaque.New(opaque.Code) {
		t.Error("two new handles are equal")
	}
	var zero opaque.Handle
	if !zero.IsZero() || zero.Kind() != "" {
		t.Error("the zero handle is one")
	}
}

func TestEncodeDecode(t *testing.T) {
	t.Parallel()
	for _, n := range []int{8, 16, 24, 32, 48, 64} {
		random := make([]byte, n)
		sum := sha256.Sum256([]byte{byte(n)})
		for i := range random {
			random[i] = sum[i%len(sum)]
		}
		for _, body := range [][]byte{make([]byte, n), bytes.Repeat([]byte{0xff}, n), random} {
			s := opaque.Encode(opaque.Refresh, body).Reveal()
			if want := len("fbr_") + n/8*11 + 6; len(s) != want {
				t.Errorf("%d bytes became %d characters, want %d", n, len(s), want)
			}
			got, err := opaque.Decode(opaque.Refresh, s)
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("%x became %x, error %v", body, got, err)
			}
		}
	}
}

// TestHandleKnown holds the format: handles outlive releases.
func TestHandleKnown(t *testing.T) {
	t.Parallel()
	body := []byte("\x00\x01\x02\x03\x04\x05\x06\x07\xf8\xf9\xfa\xfb\xfc\xfd\xfe\xff")
	const want = "fbr_001IYT0XLWRLNILnJccyER0P0Gs4"
	if got := opaque.Encode(opaque.Refresh, body).Reveal(); got != want {
		t.Errorf("%x became %s, want %s", body, got, want)
	}
	if got, err := opaque.Decode(opaque.Refresh, want); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%s became %x, error %v", want, got, err)
	}
}

func TestEveryChangeIsRefused(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		s := opaque.New(kind).Reveal()
		for i := range s {
			for _, c := range []byte(alphabet + "_-.+/= \n\x00\xff") {
				if s[i] == c {
					continue
				}
				changed := s[:i] + string([]byte{c}) + s[i+1:]
				if _, err := opaque.Parse(kind, changed); !errors.Is(err, opaque.ErrMalformed) {
					t.Errorf("%s: character %d changed to %q: error %v", kind, i, c, err)
				}
				longer := s[:i] + string([]byte{c}) + s[i:]
				if _, err := opaque.Parse(kind, longer); !errors.Is(err, opaque.ErrMalformed) {
					t.Errorf("%s: %q put in at %d: error %v", kind, c, i, err)
				}
			}
			if _, err := opaque.Parse(kind, s[:i]+s[i+1:]); !errors.Is(err, opaque.ErrMalformed) {
				t.Errorf("%s: without character %d: error %v", kind, i, err)
			}
			if i > 0 && s[i] != s[i-1] {
				swapped := []byte(s)
				swapped[i-1], swapped[i] = s[i], s[i-1]
				if _, err := opaque.Parse(kind, string(swapped)); !errors.Is(err, opaque.ErrMalformed) {
					t.Errorf("%s: characters %d and %d exchanged: error %v", kind, i-1, i, err)
				}
			}
		}
		for _, other := range []string{"", string(kind), s + "\n", " " + s, s + s, strings.ToUpper(s), strings.ToLower(s), "Bearer " + s, s[:len(s)-6], strings.Repeat("0", 300)} {
			if _, err := opaque.Parse(kind, other); !errors.Is(err, opaque.ErrMalformed) {
				t.Errorf("%s: %.20q: error %v", kind, other, err)
			}
		}
	}
}

func TestID(t *testing.T) {
	t.Parallel()
	for _, b := range [][16]byte{{}, {15: 1}, [16]byte(bytes.Repeat([]byte{0xff}, 16)), [16]byte([]byte("0123456789abcdef"))} {
		s := opaque.EncodeID(b)
		got, err := opaque.DecodeID(s)
		if err != nil || got != b || len(s) != 22 {
			t.Errorf("%x became %q and %x, error %v", b, s, got, err)
		}
	}
	id := opaque.NewID()
	if _, err := opaque.DecodeID(id); err != nil || id == opaque.NewID() {
		t.Errorf("new id %q: error %v", id, err)
	}
	// 62^11 is more than 2^64: the rest has no meaning and is refused.
	for _, s := range []string{"", id[1:], id + "0", id[:21] + "-", strings.Repeat("z", 22), "LygHa16AHYG" + strings.Repeat("0", 11), "00000000000LygHa16AHYG"} {
		if b, err := opaque.DecodeID(s); !errors.Is(err, opaque.ErrMalformed) {
			t.Errorf("%q: %x, error %v", s, b, err)
		}
	}
	if b, err := opaque.DecodeID("LygHa16AHYFLygHa16AHYF"); err != nil || b != [16]byte(bytes.Repeat([]byte{0xff}, 16)) {
		t.Errorf("the largest id: %x, error %v", b, err)
	}
}

// printed returns v in every way in which a value gets into a log by accident.
func printed(t *testing.T, v any) []string {
	t.Helper()
	var out []string
	nested := struct {
		Value any
		List  []any
		Map   map[string]any
	}{v, []any{v}, map[string]any{"k": v}}
	for _, what := range []any{v, nested, &nested, []any{v}, map[string]any{"k": v}} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			out = append(out, fmt.Sprintf(format, what))
		}
		b, err := json.Marshal(what)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b), fmt.Errorf("wrapped: %v", what).Error())
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("text", "value", what)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "value", what)
		out = append(out, log.String())
	}
	return out
}

func wantHidden(t *testing.T, v any, secrets ...string) {
	t.Helper()
	for _, text := range printed(t, v) {
		for _, secret := range secrets {
			for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprint([]byte(secret)), fmt.Sprintf("%#v", []byte(secret))} {
				if strings.Contains(text, form) {
					t.Errorf("%T prints its secret: %s", v, text)
				}
			}
		}
	}
}

func TestHandlesDoNotPrint(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		h := opaque.New(kind)
		body := strings.TrimPrefix(h.Reveal(), string(kind))
		wantHidden(t, h, body, body[:12])
		wantHidden(t, &h, body, body[:12])
		wantHidden(t, struct{ Handle opaque.Handle }{h}, body, body[:12])
		if got := fmt.Sprintf("%v|%+v|%#v|%s", h, h, h, h); got != strings.TrimSuffix(strings.Repeat(string(kind)+"…|", 4), "|") {
			t.Errorf("prints as %s", got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, kind := range kinds {
		f.Add(string(kind), opaque.New(kind).Reveal())
	}
	f.Add("fbr_", "fbr_")
	f.Add("", strings.Repeat("z", 17))
	f.Fuzz(func(t *testing.T, kind, s string) {
		body, err := opaque.Decode(opaque.Kind(kind), s)
		if err != nil {
			if !errors.Is(err, opaque.ErrMalformed) || body != nil {
				t.Fatalf("body %x, error %v", body, err)
			}
			return
		}
		if again := opaque.Encode(opaque.Kind(kind), body).Reveal(); again != s {
			t.Fatalf("%q and %q stand for the same", s, again)
		}
	})
}

func FuzzDecodeID(f *testing.F) {
	f.Add(opaque.NewID())
	f.Add(strings.Repeat("z", 22))
	f.Fuzz(func(t *testing.T, s string) {
		if b, err := opaque.DecodeID(s); err == nil && opaque.EncodeID(b) != s {
			t.Fatalf("%q and %q stand for the same", s, opaque.EncodeID(b))
		}
	})
}
