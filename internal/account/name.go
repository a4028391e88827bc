package account

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/secure/precis"
)

// ErrName says that a text cannot be a username.
var ErrName = errors.New("not usable as a username")

// MaxName is the longest that a canonical username can be, in bytes.
const MaxName = 128

// Canonical returns the one form of a username, by which accounts are stored and
// found: the profile UsernameCaseMapped of RFC 8265, section 3.3, without the
// spaces around that a keyboard adds. Beyond the profile all letters i, with and
// without a dot, are one, and so are both small sigmas, because their capitals
// do not tell them apart; and it refuses what could pass for another name:
// letters of several scripts (UTS 39, level Highly Restrictive, without Latin
// beside others), digits of several systems, invisible joiners, dots at the
// ends. It is [ErrName] for what it refuses.
func Canonical(name string) (string, error) {
	if len(name) > 4*MaxName {
		return "", refuseName("too long")
	}
	name = strings.Trim(name, " ")
	if name == "" {
		return "", refuseName("empty")
	}
	if c, ok := canonicalASCII(name); ok {
		return checkedName(c)
	}
	if strings.ContainsAny(name, "\u200c\u200d") {
		return "", refuseName("invisible characters")
	}
	c, err := mapName(name)
	if err != nil {
		return "", refuseName("characters that names do not have")
	}
	if again, err := mapName(c); err != nil || again != c {
		return "", refuseName("no stable form")
	}
	if !oneScript(c) {
		return "", refuseName("letters of several scripts")
	}
	if !oneDigitSystem(c) {
		return "", refuseName("digits of several systems")
	}
	return checkedName(c)
}

func refuseName(why string) error { return fmt.Errorf("%w: %s", ErrName, why) }

// checkedName returns the mapped name c if its length and ends will do.
func checkedName(c string) (string, error) {
	if len(c) > MaxName {
		return "", refuseName("too long")
	}
	if strings.HasPrefix(c, ".") || strings.HasSuffix(c, ".") {
		return "", refuseName("a dot at an end")
	}
	return c, nil
}

// canonicalASCII maps a name of visible ASCII characters, which is what the
// profile does with it.
func canonicalASCII(name string) (string, bool) {
	for i := range len(name) {
		if name[i] <= ' ' || name[i] >= 0x7f {
			return "", false
		}
	}
	return strings.ToLower(name), true
}

// mapName is the profile, with one small i and one small sigma.
func mapName(name string) (string, error) {
	c, err := precis.UsernameCaseMapped.String(name)
	if err != nil {
		return "", err
	}
	return strings.NewReplacer("i\u0307", "i", "ı", "i", "ς", "σ").Replace(c), nil
}

// oneScript reports whether the letters of s belong to one script, or to those
// that Japanese, Chinese or Korean are written in together.
func oneScript(s string) bool {
	seen := map[string]bool{}
	for _, c := range s {
		if !unicode.IsLetter(c) && !unicode.IsMark(c) {
			continue
		}
		if name := script(c); name != "Common" && name != "Inherited" {
			seen[name] = true
		}
	}
	return len(seen) <= 1 ||
		within(seen, "Han", "Hiragana", "Katakana") ||
		within(seen, "Han", "Bopomofo") ||
		within(seen, "Han", "Hangul")
}

func within(seen map[string]bool, scripts ...string) bool {
	n := 0
	for _, s := range scripts {
		if seen[s] {
			n++
		}
	}
	return n == len(seen)
}

func script(c rune) string {
	for name, table := range unicode.Scripts {
		if unicode.Is(table, c) {
			return name
		}
	}
	return ""
}

// oneDigitSystem reports whether the decimal digits of s have the same zero.
func oneDigitSystem(s string) bool {
	zero := rune(-1)
	for _, c := range s {
		if !unicode.Is(unicode.Nd, c) {
			continue
		}
		z := zeroOf(c)
		if zero >= 0 && z != zero {
			return false
		}
		zero = z
	}
	return true
}

// zeroOf returns the zero of the system that the decimal digit c belongs to:
// each system has ten code points in a row, and so has each range of the table.
func zeroOf(c rune) rune {
	for _, r := range unicode.Nd.R16 {
		if rune(r.Lo) <= c && c <= rune(r.Hi) {
			return rune(r.Lo) + (c-rune(r.Lo))/10*10
		}
	}
	for _, r := range unicode.Nd.R32 {
		if rune(r.Lo) <= c && c <= rune(r.Hi) {
			return rune(r.Lo) + (c-rune(r.Lo))/10*10
		}
	}
	return c
}
