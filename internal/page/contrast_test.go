package page_test

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestContrast: WCAG 2.2, success criteria 1.4.3 and 1.4.11, in both schemes.
func TestContrast(t *testing.T) {
	t.Parallel()
	css, err := os.ReadFile("style.css")
	if err != nil {
		t.Fatal(err)
	}
	light, rest, ok := strings.Cut(string(css), "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("no dark scheme")
	}
	for name, block := range map[string]string{"light": light, "dark": rest[:strings.Index(rest, "\n}")]} {
		colour := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]+);`).FindAllStringSubmatch(block, -1) {
			colour[m[1]] = luminance(t, m[2])
		}
		for _, c := range []struct {
			front, back string
			least       float64
		}{
			{"ink", "card", 7},
			{"ink", "field", 7},
			{"ink", "tint", 7},
			{"soft", "card", 4.5},
			{"accent", "card", 4.5},
			{"accent", "tint", 4.5},
			{"on", "accent", 4.5},
			{"on", "press", 4.5},
			{"press", "card", 4.5},
			{"bad", "bad-tint", 4.5},
			{"edge", "card", 3},
			{"edge", "field", 3},
			{"bad", "card", 3},
			{"accent", "field", 3},
			{"accent", "ground", 3},
		} {
			a, okA := colour[c.front]
			b, okB := colour[c.back]
			if !okA || !okB {
				t.Fatalf("%s: no colour %s or %s", name, c.front, c.back)
			}
			if r := (math.Max(a, b) + 0.05) / (math.Min(a, b) + 0.05); r < c.least {
				t.Errorf("%s: %s on %s has contrast %.2f, want %.1f", name, c.front, c.back, r, c.least)
			}
		}
	}
}

// luminance is the relative luminance of a colour, of three or six digits.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	if len(hex) == 4 {
		hex = "#" + strings.Repeat(hex[1:2], 2) + strings.Repeat(hex[2:3], 2) + strings.Repeat(hex[3:4], 2)
	}
	var r, g, b int
	if _, err := fmt.Sscanf(hex, "#%02x%02x%02x", &r, &g, &b); err != nil {
		t.Fatalf("colour %s: %v", hex, err)
	}
	linear := func(c int) float64 {
		v := float64(c) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(r) + 0.7152*linear(g) + 0.0722*linear(b)
}
