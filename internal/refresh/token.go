package refresh

import (
	"encoding/binary"

	"github.com/fastbind/fastbind/internal/opaque"
)

// KeyPurpose is the purpose for which the keys of a [Minter] are derived.
const KeyPurpose = "refresh token"

// A Minter writes and reads refresh tokens. It keeps nothing: a token is its
// family and generation with an authenticator under a secret that is not in the
// database. So a forged token never reaches the database, a stolen database
// cannot mint one, and any token can be derived again.
type Minter struct{ Keys opaque.Keys }

const (
	idLen   = 16
	bodyLen = idLen + 8
)

// Token returns the refresh token of a generation of a family.
func (m Minter) Token(id FamilyID, generation int64) opaque.Handle {
	raw, err := opaque.DecodeID(string(id))
	if err != nil {
		panic("refresh: family id was not made by NewFamilyID")
	}
	b := make([]byte, bodyLen, bodyLen+opaque.MACLen)
	copy(b, raw[:])
	binary.BigEndian.PutUint64(b[idLen:], uint64(generation))
	tag := m.Keys.MAC(b)
	return opaque.Encode(opaque.Refresh, append(b, tag[:]...))
}

// Read returns the family and generation that a token names, and
// [opaque.ErrMalformed] for anything that no Minter with these keys wrote. It
// asks nobody.
func (m Minter) Read(token string) (FamilyID, int64, error) {
	b, err := opaque.Decode(opaque.Refresh, token)
	if err != nil {
		return "", 0, err
	}
	if len(b) != bodyLen+opaque.MACLen || !m.Keys.VerifyMAC(b[:bodyLen], b[bodyLen:]) {
		return "", 0, opaque.ErrMalformed
	}
	generation := int64(binary.BigEndian.Uint64(b[idLen:bodyLen]))
	return FamilyID(opaque.EncodeID([idLen]byte(b[:idLen]))), generation, nil
}
