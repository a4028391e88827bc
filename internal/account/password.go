package account

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

// Bounds of passwords.
const (
	// MinPassword is how many characters (code points) a new password has at
	// least (NIST SP 800-63B-4, section 3.1.1.2: a password alone).
	MinPassword = 15
	// MaxPassword is how many bytes a password has at most, before anything is
	// done with it.
	MaxPassword = 1024
)

// A Weakness is why a password is not taken, as a person may be told it.
type Weakness string

// The weaknesses.
const (
	TooShort      Weakness = "the password needs at least 15 characters"
	TooLong       Weakness = "the password has more than 1024 bytes"
	BadCharacters Weakness = "the password has characters that cannot be typed"
	HasUsername   Weakness = "the password has the username in it"
	Repetitive    Weakness = "the password repeats itself"
	WellKnown     Weakness = "the password is one of those that are guessed first"
)

// Error returns the text.
func (w Weakness) Error() string { return string(w) }

// preparePassword returns the one form of a password, which is what is hashed:
// the profile OpaqueString of RFC 8265, section 4.2. It maps spaces and composes
// characters, and refuses control characters, NUL among them.
func preparePassword(password string) (string, error) {
	if len(password) > MaxPassword {
		return "", TooLong
	}
	if !utf8.ValidString(password) {
		return "", BadCharacters
	}
	p, err := precis.OpaqueString.String(password)
	if err != nil {
		return "", BadCharacters
	}
	return p, nil
}

// judgePassword returns the weakness of a prepared password for the account with
// the canonical username, or nil. No mix of kinds of characters is asked for.
func judgePassword(prepared, username string) error {
	if utf8.RuneCountInString(prepared) < MinPassword {
		return TooShort
	}
	low := strings.ToLower(prepared)
	if repetitive(low) {
		return Repetitive
	}
	local, _, _ := strings.Cut(username, "@")
	rest := low
	for _, word := range []string{username, local} {
		if utf8.RuneCountInString(word) >= 3 {
			rest = strings.ReplaceAll(rest, word, "")
		}
	}
	if rest != low && utf8.RuneCountInString(rest) < MinPassword {
		return HasUsername
	}
	if unguessed(low) < 8 {
		return WellKnown
	}
	return nil
}

// repetitive reports whether s has fewer than five different characters, or
// begins again and again after at most a third of it.
func repetitive(s string) bool {
	r := []rune(s)
	seen := map[rune]bool{}
	for _, c := range r {
		seen[c] = true
	}
	if len(seen) < 5 {
		return true
	}
	for period := 1; period <= len(r)/3; period++ {
		same := true
		for i := period; i < len(r) && same; i++ {
			same = r[i] == r[i-period]
		}
		if same {
			return true
		}
	}
	return false
}

// unguessed returns how many characters of s are left without digits, signs,
// well-known words and runs along the alphabet or the keyboard.
func unguessed(s string) int {
	s = strings.NewReplacer("@", "a", "$", "s", "0", "o", "3", "e").Replace(s)
	s = strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) {
			return c
		}
		return -1
	}, s)
	for _, word := range wellKnown() {
		s = strings.ReplaceAll(s, word, "")
	}
	n := utf8.RuneCountInString(s)
	if n >= 8 {
		n -= running(s)
	}
	return n
}

// running returns how many characters of s continue a run of at least four
// along one of the rows.
func running(s string) int {
	rows := []string{"abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "zxcvbnm", "yxcvbnm"}
	total := 0
	for i := 0; i < len(s); {
		best := 0
		for _, row := range rows {
			n := 0
			if at := strings.IndexByte(row, s[i]); at >= 0 {
				for i+n < len(s) && at+n < len(row) && s[i+n] == row[at+n] {
					n++
				}
			}
			best = max(best, n)
		}
		if best >= 4 {
			total += best
			i += best
			continue
		}
		i++
	}
	return total
}

// wellKnown returns the words that lists of stolen passwords are made of, longer
// ones before those that they hold.
func wellKnown() []string {
	return []string{
		"passwords", "password", "passwort", "passord", "motdepasse", "contrasena", "kennwort", "geheim", "secret",
		"administrator", "admin", "letmein", "welcome", "willkommen", "bienvenue", "iloveyou", "iloveu", "monkey", "dragon",
		"sunshine", "princess", "football", "baseball", "superman", "batman", "trustno", "shadow", "master", "michael",
		"jordan", "hunter", "charlie", "computer", "internet", "login", "signin", "changeme", "default", "example",
		"temporary", "testing", "test", "guest", "root", "user", "hello", "hallo", "summer", "winter", "spring", "autumn",
		"sommer", "january", "february", "october", "november", "december", "monday", "friday", "correcthorsebatterystaple",
		"fastbind", "qwerty", "qwertz", "azerty", "asdf", "zxcv",
	}
}
