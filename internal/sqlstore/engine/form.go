package engine

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/fastbind/fastbind/internal/opaque"
)

// Unix returns t as it is stored: unix seconds, 0 for the zero time.
func Unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// Milli is [Unix] in milliseconds.
func Milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// A form scans a value of type S and hands it to set.
type form[S any] struct {
	set func(S) error
}

// Scan is for package sql.
func (f form[S]) Scan(v any) error {
	s, ok := v.(S)
	if !ok {
		return fmt.Errorf("a %T is stored where there should be a %T", v, s)
	}
	return f.set(s)
}

// Seconds scans what [Unix] returned.
func Seconds(t *time.Time) sql.Scanner {
	return form[int64]{func(n int64) error {
		*t = time.Time{}
		if n != 0 {
			*t = time.Unix(n, 0).UTC()
		}
		return nil
	}}
}

// Millis scans what [Milli] returned.
func Millis(t *time.Time) sql.Scanner {
	return form[int64]{func(n int64) error {
		*t = time.Time{}
		if n != 0 {
			*t = time.UnixMilli(n).UTC()
		}
		return nil
	}}
}

// JSON returns a list or a map as it is stored; an empty one as nothing.
func JSON(v any) (string, error) {
	b, err := json.Marshal(v)
	switch text := string(b); text {
	case "null", "[]", "{}":
		return "", err
	default:
		return text, err
	}
}

// Texts is [JSON] for a list of strings.
func Texts(list []string) string {
	text, err := JSON(list)
	if err != nil {
		panic(err) // strings always have a JSON form
	}
	return text
}

// JSONInto scans what [JSON] returned into what v points to.
func JSONInto(v any) sql.Scanner {
	return form[string]{func(text string) error {
		if text == "" {
			return nil
		}
		return json.Unmarshal([]byte(text), v)
	}}
}

// TextsInto scans what [Texts] returned.
func TextsInto(list *[]string) sql.Scanner {
	return form[string]{func(text string) error {
		if text == "" {
			return nil
		}
		if inner, ok := strings.CutPrefix(text, `["`); ok && !strings.Contains(text, `\`) {
			if inner, ok = strings.CutSuffix(inner, `"]`); ok { // nothing is escaped, so every quote is one of JSON
				*list = strings.Split(inner, `","`)
				return nil
			}
		}
		return json.Unmarshal([]byte(text), list)
	}}
}

// DigestBytes returns a digest as it is stored: all zero as null.
func DigestBytes(d opaque.Digest) []byte {
	if d == (opaque.Digest{}) {
		return nil
	}
	return d[:]
}

// DigestInto scans what [DigestBytes] returned.
func DigestInto(d *opaque.Digest) sql.Scanner { return digestInto{d} }

type digestInto struct{ d *opaque.Digest }

// Scan is for package sql.
func (s digestInto) Scan(v any) error {
	*s.d = opaque.Digest{}
	if v == nil {
		return nil
	}
	return BytesInto(s.d[:]).Scan(v)
}

// BytesInto scans exactly as many bytes as b holds into b.
func BytesInto(b []byte) sql.Scanner {
	return form[[]byte]{func(stored []byte) error {
		if len(stored) != len(b) {
			return fmt.Errorf("%d bytes are stored where there should be %d", len(stored), len(b))
		}
		copy(b, stored)
		return nil
	}}
}
