package engine_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

// TestTexts: a list comes back as it was stored, whatever is in it.
func TestTexts(t *testing.T) {
	t.Parallel()
	for _, want := range [][]string{
		nil, {""}, {"a"}, {"openid", "orders:read"}, {"", ""}, {`","`}, {`"`, `\`}, {"<&>", "é\n"}, {`["`, `"]`},
	} {
		var got []string
		if err := engine.TextsInto(&got).Scan(engine.Texts(want)); err != nil {
			t.Errorf("%q: %v", want, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", want, diff)
		}
	}
	var got []string
	for _, text := range []string{`["a"`, `["a",1]`, `{}`} {
		if err := engine.TextsInto(&got).Scan(text); err == nil {
			t.Errorf("%s was read as %q", text, got)
		}
	}
}
