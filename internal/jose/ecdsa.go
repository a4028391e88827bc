package jose

// rawLen is the length of an ES256 signature: r and s with 32 bytes each (RFC
// 7518, section 3.4).
const rawLen = 64

// maxDER is the length of the longest ES256 signature in DER.
const maxDER = 2 + 2*(2+33)

// appendDER appends the ES256 signature raw in DER, and nothing if it is not of
// the right length.
func appendDER(b, raw []byte) []byte {
	if len(raw) != rawLen {
		return b
	}
	start := len(b)
	b = append(b, 0x30, 0)
	for _, v := range [2][]byte{raw[:rawLen/2], raw[rawLen/2:]} {
		for len(v) > 1 && v[0] == 0 {
			v = v[1:]
		}
		if v[0] >= 0x80 {
			b = append(b, 0x02, byte(len(v)+1), 0)
		} else {
			b = append(b, 0x02, byte(len(v)))
		}
		b = append(b, v...)
	}
	b[start+1] = byte(len(b) - start - 2)
	return b
}

// fromDER puts the ES256 signature der into raw and reports whether it is one.
func fromDER(raw *[rawLen]byte, der []byte) bool {
	if len(der) < 2 || len(der) > maxDER || der[0] != 0x30 || int(der[1]) != len(der)-2 {
		return false
	}
	der = der[2:]
	*raw = [rawLen]byte{}
	for end := rawLen / 2; end <= rawLen; end += rawLen / 2 {
		if len(der) < 3 || der[0] != 0x02 || int(der[1]) > len(der)-2 || der[1] == 0 {
			return false
		}
		v := der[2 : 2+der[1]]
		der = der[2+len(v):]
		if v[0] == 0 {
			v = v[1:]
		}
		if len(v) > rawLen/2 {
			return false
		}
		copy(raw[end-len(v):end], v)
	}
	return len(der) == 0
}
