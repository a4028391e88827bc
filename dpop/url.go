package dpop

import "strings"

// sameURL reports whether htu names the address url, which is trusted. Query and
// fragment of htu do not count (RFC 9449, section 4.3, check 9).
//
// Of the normalizations that RFC 3986, sections 6.2.2 and 6.2.3, describe those
// are made that no server is known to see through: case of scheme and host, the
// default port, an empty path, case of percent-encodings, and percent-encodings
// of characters that never need one. Dot segments stay, and %2F is no slash.
func sameURL(htu, url string) bool {
	if i := strings.IndexAny(htu, "?#"); i >= 0 {
		htu = htu[:i]
	}
	if htu == url {
		return true
	}
	a, ok := split(htu)
	if !ok {
		return false
	}
	b, ok := split(url)
	return ok && a.secure == b.secure && strings.EqualFold(a.host, b.host) && samePath(a.path, b.path)
}

// An address is an address without query and fragment, in its parts.
type address struct {
	secure     bool
	host, path string // host with port, unless it is the default one
}

func split(u string) (a address, ok bool) {
	scheme, rest, ok := strings.Cut(u, "://")
	port := ":80"
	switch {
	case !ok:
		return a, false
	case strings.EqualFold(scheme, "https"):
		a.secure, port = true, ":443"
	case !strings.EqualFold(scheme, "http"):
		return a, false
	}
	a.host, a.path = rest, "/"
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		a.host, a.path = rest[:i], rest[i:]
	}
	a.host = strings.TrimSuffix(strings.TrimSuffix(a.host, port), ":")
	for i := range len(a.host) {
		// Neither a user, nor what a browser might take for the end of the host.
		if c := a.host[i]; c <= ' ' || c > '~' || c == '@' || c == '\\' || c == '%' {
			return a, false
		}
	}
	return a, a.host != ""
}

func samePath(a, b string) bool {
	for a != "" && b != "" {
		x, n, encodedX := character(a)
		y, m, encodedY := character(b)
		if x != y || encodedX != encodedY {
			return false
		}
		a, b = a[n:], b[m:]
	}
	return a == b
}

// character returns the first character of a path, how long it is, and whether
// it is one whose encoding is of meaning.
func character(s string) (c byte, length int, encoded bool) {
	if s[0] != '%' || len(s) < 3 {
		return s[0], 1, false
	}
	high, ok := digit(s[1])
	low, ok2 := digit(s[2])
	if !ok || !ok2 {
		return s[0], 1, false
	}
	c = high<<4 | low
	return c, 3, !unreserved(c)
}

// unreserved reports whether c never needs a percent-encoding (RFC 3986,
// section 2.3).
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

func digit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
