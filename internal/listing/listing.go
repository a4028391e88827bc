// Package listing owns the shapes in which operators see things: JSON, which
// others rely on, and tables for people.
//
// It holds no secret but one that was made a moment ago. The invariant: text
// from outside reaches a terminal as one line without control characters.
package listing

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// A Table is what people see of a list.
type Table struct {
	Head []string
	Rows [][]string
}

// Add adds a row. What is empty is shown as a dash.
func (t *Table) Add(row ...string) {
	for i, cell := range row {
		if row[i] = Clean(cell); cell == "" {
			row[i] = "-"
		}
	}
	t.Rows = append(t.Rows, row)
}

// Write writes the table with aligned columns.
func (t *Table) Write(w io.Writer) error {
	to := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		if _, err := fmt.Fprintln(to, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return to.Flush()
}

// Clean makes text from outside fit for a terminal: one line, no control
// characters, nothing that changes the direction of writing.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ', r >= 0x7f && r < 0xa0, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f:
			return '·'
		}
		return r
	}, s)
}

// When writes a time for people; nothing if there is none.
func When(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateTime) + "Z"
}

// stamp is a time in JSON: RFC 3339 in UTC; nothing if there is none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
