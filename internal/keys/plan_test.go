package keys_test

import (
	"testing"

	"github.com/fastbind/fastbind/internal/keys"
)

// TestCheck gives sets to the last look before the store that no plan makes.
func TestCheck(t *testing.T) {
	t.Parallel()
	key := func(id, alg string, state keys.State) keys.Record {
		return keys.Record{ID: id, Algorithm: alg, State: state}
	}
	set := func(records ...keys.Record) keys.Set { return keys.Set{Keys: records} }
	var (
		es      = key("es", "ES256", keys.Signing)
		ed      = key("ed", "EdDSA", keys.Signing)
		next    = key("next", "ES256", keys.Published)
		old     = key("old", "ES256", keys.Retired)
		retired = key("es", "ES256", keys.Retired)
		signing = key("next", "ES256", keys.Signing)
	)
	for name, test := range map[string]struct {
		from, to keys.Set
		revoked  string
		ok       bool
	}{
		"First":             {set(), set(es, ed), "", true},
		"Publish":           {set(es), set(es, next), "", true},
		"Succeed":           {set(es, next), set(retired, signing), "", true},
		"Remove":            {set(es, old), set(es), "", true},
		"RevokeSigning":     {set(es, next), set(signing), "es", true},
		"RevokePublished":   {set(es, next), set(es), "next", true},
		"Empty":             {set(es), set(), "", false},
		"EmptyFromEmpty":    {set(), set(), "", false},
		"EmptyByRevocation": {set(es), set(), "es", false},
		"OnlyPublished":     {set(), set(next), "", false},
		"OnlyRetired":       {set(es), set(retired), "", false},
		"OtherAlgorithmOff": {set(es, ed), set(es), "ed", false},
		"TwoSign":           {set(es, next), set(es, signing), "", false},
		"Twice":             {set(es), set(es, retired), "", false},
		"SigningLost":       {set(es), set(signing), "", false},
		"PublishedLost":     {set(es, next), set(es), "", false},
		"OtherRevoked":      {set(es, next), set(es), "es", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := keys.Check(test.from, test.to, test.revoked); (err == nil) != test.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}
