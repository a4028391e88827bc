// Command report turns what the benchmarks printed into figures with a verdict:
// as JSON, and as the table of the README.
//
// The invariant: a figure stands beside its floor and its bar, both of the same
// run, and a row that was not measured says so instead of being left out.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run reads what the benchmarks printed and writes the JSON and the section of
// the README. It returns 1 if a row was not measured: the run is not whole.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	flags.SetOutput(stderr)
	in := flags.String("in", "bench/result.txt", "what the benchmarks printed")
	out := flags.String("json", "bench/result.json", "where to write the figures")
	readme := flags.String("readme", "README.md", "whose section of numbers to write")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	r, err := write(*in, *out, *readme)
	if err != nil {
		fmt.Fprintln(stderr, "report:", err)
		return 2
	}
	io.WriteString(stdout, r.table()) //nolint:errcheck // nobody reads it
	if missing := r.missing(); len(missing) > 0 {
		fmt.Fprintln(stderr, "report: not measured:", strings.Join(missing, "; "))
		return 1
	}
	return 0
}

func write(in, out, readme string) (report, error) {
	text, err := os.ReadFile(in)
	if err != nil {
		return report{}, err
	}
	r := newReport(parse(text))
	figures, err := r.encode()
	if err != nil {
		return r, err
	}
	page, err := os.ReadFile(readme)
	if err != nil {
		return r, err
	}
	page, err = replaceSection(page, r.table())
	if err != nil {
		return r, fmt.Errorf("%s: %w", readme, err)
	}
	return r, errors.Join(os.WriteFile(out, figures, 0o644), os.WriteFile(readme, page, 0o644)) //nolint:gosec // both are for everybody
}

// encode returns the report as it is stored.
func (r report) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	err := e.Encode(r)
	return b.Bytes(), err
}

// The generated section of a page stands between these lines.
const (
	sectionBegin = "<!-- numbers: written by make bench -->\n"
	sectionEnd   = "<!-- numbers: end -->\n"
)

// section returns what stands between the marks of a page.
func section(page []byte) (string, error) {
	_, rest, ok := bytes.Cut(page, []byte(sectionBegin))
	inside, _, ok2 := bytes.Cut(rest, []byte(sectionEnd))
	if !ok || !ok2 {
		return "", errors.New("there is no section of numbers")
	}
	return string(inside), nil
}

func replaceSection(page []byte, table string) ([]byte, error) {
	old, err := section(page)
	if err != nil {
		return nil, err
	}
	return bytes.Replace(page, []byte(sectionBegin+old+sectionEnd), []byte(sectionBegin+table+sectionEnd), 1), nil
}
