package jose_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fastbind/fastbind/internal/jose"
)

func TestScan(t *testing.T) {
	t.Parallel()
	object := ` { "a" : 1 , "\u0062\n":[ 1, {"x":"\"}"} ],"c":{"d":null} ,"":"","é":-1.5e+3,"\ud83d\ude00":true}` + "\n"
	var got []string
	if err := jose.Scan([]byte(object), func(name, value []byte) error {
		got = append(got, string(name)+"="+string(value))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"a=1", "b\n=[ 1, {\"x\":\"\\\"}\"} ]", `c={"d":null}`, `=""`, "é=-1.5e+3", "😀=true"}
	if !slices.Equal(got, want) {
		t.Errorf("members %q, want %q", got, want)
	}
	stop := errors.New("stop")
	calls := 0
	if err := jose.Scan([]byte(object), func(_, _ []byte) error { calls++; return stop }); !errors.Is(err, stop) || calls != 1 {
		t.Errorf("error %v after %d calls", err, calls)
	}
}

func TestScanRefuses(t *testing.T) {
	t.Parallel()
	nest := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	nestObjects := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for _, good := range []string{
		`{}`, ` {} `, nest(31), nestObjects(32), `{"a":0}`, `{"a":-0}`, `{"a":1E5}`, `{"a":"` + "\u007f\u2028" + `"}`, `{"a":"\/"}`,
	} {
		if err := jose.Scan([]byte(good), nil); err != nil {
			t.Errorf("%.40s: %v", good, err)
		}
	}
	for _, bad := range []string{
		``, ` `, `{`, `}`, `[]`, `null`, `1`, `"a"`, `{}{}`, `{},`, `{}x`, "{}\x00", "\ufeff{}", "{}\v", "{\u00a0}",
		`{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`, `{"a":1;}`, `{a:1}`, `{'a':1}`, `{1:1}`, `{"a" 1}`, `{"a":1}}`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1}`, `{"a":{]}`, `{"a":[1 2]}`,
		`{"a":tru}`, `{"a":True}`, `{"a":nul}`, `{"a":undefined}`, `{"a":NaN}`, `{"a":Infinity}`, `{"a":truex}`,
		`{"a":01}`, `{"a":-}`, `{"a":+1}`, `{"a":.5}`, `{"a":1.}`, `{"a":1e}`, `{"a":1e+}`, `{"a":0x1}`, `{"a":1_0}`, `{"a":--1}`,
		"{\"a\":\"\n\"}", "{\"a\":\"\x00\"}", "{\"a\":\"\x1f\"}", `{"a":"}`, `{"a":"\"}`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12g4"}`, `{"a":"\U0041"}`,
		`{"a":"\ud83d"}`, `{"a":"\ude00"}`, `{"a":"\ud83dx"}`, `{"a":"\ud83d\u0041"}`, `{"a":"\ud83d\ud83d"}`, `{"\ude00":1}`,
		"{\"a\":\"\xff\"}", "{\"a\":\"\xc0\x80\"}", "{\"\xed\xa0\x80\":1}", "{\"a\":1}\xff",
		`{"a":1/**/}`, `{"a":1}//`, `{"a":1}#`,
		nest(32), nestObjects(33), nest(100_000), `{"a":"` + strings.Repeat("x", 512<<10) + `"}`,
	} {
		if err := jose.Scan([]byte(bad), nil); !errors.Is(err, jose.ErrMalformed) {
			t.Errorf("%.40q: error %v", bad, err)
		}
	}
}

// TestScanManyNames is about names at the border between the two ways in which
// they are compared.
func TestScanManyNames(t *testing.T) {
	t.Parallel()
	for n := range 130 {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"n%d":0,`, i)
		}
		if err := jose.Scan([]byte(`{`+b.String()+`"last":0}`), nil); err != nil {
			t.Errorf("%d names: %v", n, err)
		}
		if n == 0 {
			continue
		}
		for _, i := range []int{0, n / 2, n - 1} {
			if err := jose.Scan(fmt.Appendf(nil, `{%s"N%d":0}`, b.String(), i), nil); !errors.Is(err, jose.ErrMalformed) {
				t.Errorf("%d names and the one at %d again: %v", n, i, err)
			}
		}
	}
}

// TestN11Time is about the forms of a number that could be a time.
func TestN11Time(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]int64{
		`0`: 0, `1`: 1, `1795000000`: 1795000000, `1795000000.0`: 1795000000, `1795000000.999999`: 1795000000, `0.5`: 0,
		`1.795e9`: 1795000000, `1795000000E0`: 1795000000, `17950000000e-1`: 1795000000, `1e-400`: 0, `0e400`: 0,
		`9007199254740992`: 1 << 53, `9007199254740992.000`: 1 << 53, `9007199254740991.9`: 1<<53 - 1,
	} {
		if got, err := jose.Time([]byte(value)); err != nil || got != want {
			t.Errorf("%s: %d, error %v, want %d", value, got, err, want)
		}
	}
	for _, value := range []string{
		``, `"1795000000"`, `""`, `-1`, `-0`, `-0.5`, `-1e400`, `1e400`, `1e17`, `9007199254740993`, `9007199254740992.1`, `9223372036854775807`, `9223372036854775808`,
		`18446744073709551617`, `99999999999999999999999999999999999999`, strings.Repeat("9", 5000), `NaN`, `Infinity`, `null`, `true`, `[]`, `[1]`, `{}`, `1 `, ` 1`, `01`, `1.`, `.1`, `1e`, `+1`, `0x10`, `1_000`, `1,0`, `1795000000x`, "1\n", `٣`,
	} {
		if got, err := jose.Time([]byte(value)); !errors.Is(err, jose.ErrMalformed) {
			t.Errorf("%.40s: %d, error %v", value, got, err)
		}
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`""`: "", `"a"`: "a", `"\u0061\"\\\/\b\f\n\r\t"`: "a\"\\/\b\f\n\r\t", `"\ud83d\ude00😀"`: "😀😀", `"\u0000"`: "\x00", `"\uFFFD"`: "\ufffd",
	} {
		if got, err := jose.String([]byte(value)); err != nil || got != want {
			t.Errorf("%s: %q, error %v, want %q", value, got, err, want)
		}
		if got, err := jose.Strings([]byte(value)); err != nil || !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q, error %v, want %q", value, got, err, want)
		}
	}
	for _, value := range []string{``, `1`, `null`, `true`, `{}`, `a`, `"`, `"a`, `"a"b`, `"a""b"`, `"\ud83d"`, "\"\xff\"", `'a'`} {
		if got, err := jose.String([]byte(value)); !errors.Is(err, jose.ErrMalformed) {
			t.Errorf("%s as a string: %q, error %v", value, got, err)
		}
		if got, err := jose.Strings([]byte(value)); !errors.Is(err, jose.ErrMalformed) || got != nil {
			t.Errorf("%s as strings: %q, error %v", value, got, err)
		}
	}
	if got, err := jose.String([]byte(`["a"]`)); !errors.Is(err, jose.ErrMalformed) {
		t.Errorf("an array as a string: %q, error %v", got, err)
	}
	for value, want := range map[string][]string{`[]`: {}, `[ "a" , "b" ]`: {"a", "b"}, `["a","a"]`: {"a", "a"}} {
		if got, err := jose.Strings([]byte(value)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, error %v, want %q", value, got, err, want)
		}
	}
	for _, value := range []string{`["a",1]`, `[["a"]]`, `[null]`, `["a"`, `["a",]`, `["a"]x`} {
		if got, err := jose.Strings([]byte(value)); !errors.Is(err, jose.ErrMalformed) || got != nil {
			t.Errorf("%s as strings: %q, error %v", value, got, err)
		}
	}
	for value, want := range map[string]bool{`true`: true, `false`: false} {
		if got, err := jose.Bool([]byte(value)); err != nil || got != want {
			t.Errorf("%s: %v, error %v", value, got, err)
		}
	}
	for _, value := range []string{``, `"true"`, `1`, `0`, `null`, `True`, `true `, `TRUE`} {
		if got, err := jose.Bool([]byte(value)); !errors.Is(err, jose.ErrMalformed) || got {
			t.Errorf("%s as a boolean: %v, error %v", value, got, err)
		}
	}
}
