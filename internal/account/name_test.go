package account_test

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"github.com/fastbind/fastbind/internal/account"
)

// TestN102OneForm: the ways to type a name are one name.
func TestN102OneForm(t *testing.T) {
	t.Parallel()
	for want, forms := range map[string][]string{
		"ada":             {"ada", "ADA", "Ada", "aDa", " ada", "ada ", "  ada  ", "ａｄａ", "ＡＤＡ"},
		"ada@example.com": {"Ada@Example.COM", "ａda@example.com"},
		"josé":            {"José", "JOSE\u0301", "jose\u0301", "josé"},
		"åke":             {"Åke", "A\u030ake", "\u212bke"},
		"didem":           {"didem", "DİDEM", "dıdem", "DIDEM", "DI\u0307DEM", "dİdem"},
		"straße":          {"straße", "STRAẞE"},
		"οδυσσευσ":        {"Οδυσσευς", "ΟΔΥΣΣΕΥΣ", "οδυσσευσ"},
		"иван":            {"Иван", "ИВАН"},
		"日本ひらカナ":          {"日本ひらカナ", "日本ひらｶﾅ"},
		"한국":              {"한국", norm.NFD.String("한국")},
		"a.b":             {"a.b", "A.B"},
		"x-1_2+3":         {"X-1_2+3"},
	} {
		for _, form := range forms {
			got, err := account.Canonical(form)
			if err != nil || got != want {
				t.Errorf("Canonical(%+q) = %+q, %v, want %+q", form, got, err, want)
			}
		}
	}
}

// TestN102Refused: what could pass for another name is no name.
func TestN102Refused(t *testing.T) {
	t.Parallel()
	for what, name := range map[string]string{
		"Empty": "", "Spaces": "   ", "SpaceInside": "a da", "TrailingDot": "ada.", "LeadingDot": ".ada", "WideDot": "ada．",
		"IdeographicDot": "ada。", "NoBreakSpace": "ada\u00a0", "ZeroWidthSpace": "ad\u200ba", "Joiner": "ad\u200da",
		"NonJoiner": "ad\u200ca", "WordJoiner": "ad\u2060a", "ByteOrderMark": "\ufeffada", "SoftHyphen": "ad\u00ada",
		"LeftToRight": "ada\u200e", "RightToLeft": "ada\u200f", "Override": "a\u202eda", "Isolate": "a\u2066da",
		"NUL": "ada\x00", "Newline": "ada\n", "Tab": "\tada", "Delete": "ada\x7f", "Control": "ada\u0085",
		"CyrillicA": "аda", "CyrillicInside": "adа", "GreekInside": "adα", "CyrillicAndGreek": "яω", "LatinAndHan": "ada本",
		"Ligature": "ﬁle", "Superscript": "x²", "Circled": "①", "Roman": "Ⅷ", "LongS": "ſ", "ModifierLetter": "ᵃda",
		"MixedDigits": "ह1२", "BidiMix": "1א", "Private": "a\ue000", "Unassigned": "a\u0378", "NotUTF8": "a\xff",
		"TooLong": strings.Repeat("a", account.MaxName+1), "MuchTooLong": strings.Repeat("a", 1<<20),
		"CombiningFirst": "\u0301a", "Emoji": "a😀", "Tag": "a\U000e0061",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			if got, err := account.Canonical(name); !errors.Is(err, account.ErrName) {
				t.Errorf("Canonical(%+.40q) = %+q, %v, want ErrName", name, got, err)
			}
		})
	}
	if got, err := account.Canonical(strings.Repeat("a", account.MaxName)); err != nil {
		t.Errorf("the longest name: %q, %v", got, err)
	}
}

// FuzzCanonical: the form of a form is itself, and no way to write a name in
// Unicode gives it another one.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"ada", "José", "ΑΣ", "İ", "ｶﾞ", "a\u0323\u0307", "क्ष", "\u1e9b\u0323"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := account.Canonical(s)
		if err != nil {
			if !errors.Is(err, account.ErrName) || c != "" {
				t.Fatalf("Canonical(%+q) = %+q, %v", s, c, err)
			}
			return
		}
		for what, form := range map[string]string{"form": c, "NFC": norm.NFC.String(s), "NFD": norm.NFD.String(s), "spaced": " " + s} {
			if len(form) > 4*account.MaxName {
				continue
			}
			if again, err := account.Canonical(form); err != nil || again != c {
				t.Errorf("Canonical(%+q) = %+q, but of its %s %+q it is %+q, %v", s, c, what, form, again, err)
			}
		}
		if c == "" || len(c) > account.MaxName || !norm.NFC.IsNormalString(c) {
			t.Errorf("Canonical(%+q) = %+q", s, c)
		}
	})
}
