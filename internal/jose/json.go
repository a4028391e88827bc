package jose

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

const (
	maxJSON  = 512 << 10
	maxDepth = 32
	fewNames = 64 // so many are compared with each other; more go into a map
)

// Scan calls f for each member of a JSON object, in their order, with its
// unescaped name and its raw value, and returns the first error of f. It
// refuses with [ErrMalformed] whatever is not strict JSON in UTF-8 (RFC 8259),
// more than 512 KiB, nesting deeper than 32, unpaired surrogates, and, at every
// depth, names that occur twice or differ only in case.
//
// f sees the members before what follows them was read: what it collected
// counts only if Scan returns nil. Name and value are parts of object where
// they can be. f may be nil.
func Scan(object []byte, f func(name, value []byte) error) error {
	s, err := newScanner(object)
	if err != nil {
		return err
	}
	s.space()
	if err := s.object(0, f); err != nil {
		return err
	}
	return s.end()
}

// String returns what a JSON string stands for.
func String(value []byte) (string, error) {
	s, err := newScanner(value)
	if err != nil {
		return "", err
	}
	b, err := s.text()
	if err != nil {
		return "", err
	}
	return string(b), s.end()
}

// Text is [String] for a value that [Scan] has seen, and without a copy where
// nothing in it is escaped: then the result shares memory with value, which
// must never change.
func Text(value []byte) (string, error) {
	if len(value) < 2 || value[0] != '"' || bytes.IndexByte(value, '\\') >= 0 {
		return String(value)
	}
	value = value[1 : len(value)-1]
	return unsafe.String(unsafe.SliceData(value), len(value)), nil
}

// Strings returns the elements of a JSON array of strings, or a JSON string as
// the only element.
func Strings(value []byte) ([]string, error) {
	if len(value) > 0 && value[0] == '"' {
		s, err := String(value)
		if err != nil {
			return nil, err
		}
		return []string{s}, nil
	}
	list := []string{}
	err := scanArray(value, func(value []byte) error {
		s, err := String(value)
		list = append(list, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Bool returns the value of true or false.
func Bool(value []byte) (bool, error) {
	switch string(value) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%w: not a boolean", ErrMalformed)
}

// Time returns a NumericDate (RFC 7519, section 2) in whole seconds; a fraction
// is cut off. It refuses everything that is not a number from 0 to 2^53.
func Time(value []byte) (int64, error) {
	const maxTime = 1 << 53
	s := scanner{b: value}
	if err := s.number(); err != nil || s.i != len(value) || value[0] == '-' {
		return 0, fmt.Errorf("%w: not a time", ErrMalformed)
	}
	if bytes.ContainsAny(value, "eE") {
		v, err := strconv.ParseFloat(string(value), 64)
		if err != nil || v > maxTime {
			return 0, fmt.Errorf("%w: time out of range", ErrMalformed)
		}
		return int64(v), nil
	}
	whole, fraction, _ := bytes.Cut(value, []byte("."))
	var v int64
	for _, c := range whole {
		v = v*10 + int64(c-'0')
		if v > maxTime {
			return 0, fmt.Errorf("%w: time out of range", ErrMalformed)
		}
	}
	if v == maxTime && len(bytes.Trim(fraction, "0")) > 0 {
		return 0, fmt.Errorf("%w: time out of range", ErrMalformed)
	}
	return v, nil
}

// scanArray calls f with the raw elements of a JSON array, in their order.
func scanArray(array []byte, f func(value []byte) error) error {
	s, err := newScanner(array)
	if err != nil {
		return err
	}
	if err := s.array(0, f); err != nil {
		return err
	}
	return s.end()
}

// A scanner walks over b, which is UTF-8, and stands at i.
type scanner struct {
	b []byte
	i int
}

func newScanner(b []byte) (scanner, error) {
	if len(b) > maxJSON {
		return scanner{}, fmt.Errorf("%w: JSON is too long", ErrMalformed)
	}
	if !utf8.Valid(b) { // RFC 8259, section 8.1.
		return scanner{}, fmt.Errorf("%w: not UTF-8", ErrMalformed)
	}
	return scanner{b: b}, nil
}

func (s *scanner) syntax() error { return fmt.Errorf("%w: JSON syntax", ErrMalformed) }

// peek returns the byte at which s stands, and 0, which no token begins with,
// at the end.
func (s *scanner) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// accept steps over c and reports whether it stood there.
func (s *scanner) accept(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// end checks that nothing but space follows.
func (s *scanner) end() error {
	s.space()
	if s.i != len(s.b) {
		return s.syntax()
	}
	return nil
}

func (s *scanner) object(depth int, f func(name, value []byte) error) error {
	if depth >= maxDepth || !s.accept('{') {
		return s.syntax()
	}
	var seen names
	s.space()
	if s.accept('}') {
		return nil
	}
	for {
		name, err := s.text()
		if err != nil {
			return err
		}
		if !seen.add(name) {
			return fmt.Errorf("%w: name occurs twice", ErrMalformed)
		}
		s.space()
		if !s.accept(':') {
			return s.syntax()
		}
		s.space()
		start := s.i
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if f != nil {
			if err := f(name, s.b[start:s.i:s.i]); err != nil {
				return err
			}
		}
		s.space()
		if s.accept('}') {
			return nil
		}
		if !s.accept(',') {
			return s.syntax()
		}
		s.space()
	}
}

func (s *scanner) array(depth int, f func(value []byte) error) error {
	if depth >= maxDepth || !s.accept('[') {
		return s.syntax()
	}
	s.space()
	if s.accept(']') {
		return nil
	}
	for {
		start := s.i
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if f != nil {
			if err := f(s.b[start:s.i:s.i]); err != nil {
				return err
			}
		}
		s.space()
		if s.accept(']') {
			return nil
		}
		if !s.accept(',') {
			return s.syntax()
		}
		s.space()
	}
}

// value steps over any JSON value.
func (s *scanner) value(depth int) error {
	switch s.peek() {
	case '{':
		return s.object(depth, nil)
	case '[':
		return s.array(depth, nil)
	case '"':
		_, _, err := s.quoted()
		return err
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	}
	return s.number()
}

func (s *scanner) literal(want string) error {
	if len(s.b)-s.i < len(want) || string(s.b[s.i:s.i+len(want)]) != want {
		return s.syntax()
	}
	s.i += len(want)
	return nil
}

// RFC 8259, section 6.
func (s *scanner) number() error {
	s.accept('-')
	if !s.accept('0') && !s.digits() {
		return s.syntax()
	}
	if s.accept('.') && !s.digits() {
		return s.syntax()
	}
	if s.accept('e') || s.accept('E') {
		if !s.accept('+') {
			s.accept('-')
		}
		if !s.digits() {
			return s.syntax()
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > start
}

// quoted steps over a string and returns what stands between its quotes, and
// whether there are escapes in it, which it has checked.
func (s *scanner) quoted() (raw []byte, escapes bool, err error) {
	if !s.accept('"') {
		return nil, false, s.syntax()
	}
	b, start := s.b, s.i
	for i := start; i < len(b); {
		switch c := b[i]; {
		case c == '"':
			s.i = i + 1
			return b[start:i:i], escapes, nil
		case c < ' ':
			return nil, false, s.syntax()
		case c == '\\':
			escapes = true
			_, n := unescape(b[i:])
			if n == 0 {
				return nil, false, s.syntax()
			}
			i += n
		default:
			i++
		}
	}
	return nil, false, s.syntax()
}

// text steps over a string and returns what it stands for: a part of s.b if
// nothing in it is escaped.
func (s *scanner) text() ([]byte, error) {
	raw, escapes, err := s.quoted()
	if err != nil || !escapes {
		return raw, err
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			i++
			continue
		}
		r, n := unescape(raw[i:])
		out = utf8.AppendRune(out, r)
		i += n
	}
	return out, nil
}

// unescape returns the character for which the escape at the beginning of b
// stands, and its length: 0 if it is none, or half of a surrogate pair.
func unescape(b []byte) (r rune, n int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	}
	r, ok := unit(b)
	switch {
	case !ok:
		return 0, 0
	case !utf16.IsSurrogate(r):
		return r, 6
	}
	low, ok := unit(b[6:])
	if r = utf16.DecodeRune(r, low); !ok || r == unicode.ReplacementChar {
		return 0, 0
	}
	return r, 12
}

// unit reads a \uXXXX at the beginning of b.
func unit(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// names are the names of one object.
type names struct {
	n    int
	list [fewNames][]byte
	more map[string]struct{} // all of them, folded, once there are too many for list
}

// add reports whether name differs, by more than case, from those before it.
func (s *names) add(name []byte) bool {
	if s.more == nil {
		for _, other := range s.list[:s.n] {
			if !apart(name, other) && bytes.EqualFold(name, other) {
				return false
			}
		}
		if s.n < fewNames {
			s.list[s.n] = name
			s.n++
			return true
		}
		s.more = make(map[string]struct{}, 2*fewNames)
		for _, other := range s.list {
			s.more[fold(other)] = struct{}{}
		}
	}
	folded := fold(name)
	if _, ok := s.more[folded]; ok {
		return false
	}
	s.more[folded] = struct{}{}
	return true
}

// apart reports whether a and b surely differ by more than case, since they
// begin with different ASCII characters. It saves most of the comparisons.
func apart(a, b []byte) bool {
	return len(a) > 0 && len(b) > 0 && a[0]|b[0] < utf8.RuneSelf && (a[0]^b[0])&^0x20 != 0
}

// fold maps strings that are equal under [bytes.EqualFold] to one.
func fold(b []byte) string {
	return string(bytes.Map(func(r rune) rune {
		least := r
		for c := unicode.SimpleFold(r); c != r; c = unicode.SimpleFold(c) {
			least = min(least, c)
		}
		return least
	}, b))
}
