package main

import (
	"fmt"
	"strconv"
	"strings"
)

// A report is all figures of a run.
type report struct {
	Date       string   `json:"date"`
	Machine    string   `json:"machine"`
	Processors int      `json:"processors"`
	Go         string   `json:"go"`
	PostgreSQL string   `json:"postgresql"`
	Rows       []figure `json:"rows"`
}

// A figure is a row as it was measured. Members without a value are null: not
// measured, or none to compare with.
type figure struct {
	Name      string   `json:"name"`
	Value     *float64 `json:"value"`
	Unit      string   `json:"unit"`
	Floor     *float64 `json:"floor"`
	FloorName string   `json:"floor_name,omitempty"`
	Ratio     *float64 `json:"ratio"`
	Bar       string   `json:"bar,omitempty"`
	Met       *bool    `json:"met"`
	Above     string   `json:"above,omitempty"` // what is spent above the floor
}

func newReport(m measurement) report {
	r := report{
		Date: m.about["date"], Machine: m.about["cpu"], Processors: m.procs, Go: m.about["go"], PostgreSQL: m.about["postgresql"],
	}
	for _, w := range rows() {
		r.Rows = append(r.Rows, w.figure(m))
	}
	return r
}

// figure returns the row with what was measured.
func (w row) figure(m measurement) figure {
	f := figure{Name: w.name, Unit: w.as, Bar: w.bar.text(w.as), Above: w.above}
	value, ok := m.median(w.of)
	if !ok {
		return f
	}
	f.Value = &value
	switch {
	case w.peer != 0:
		ratio := value / w.peer
		f.Floor, f.FloorName, f.Ratio = &w.peer, w.peerName, &ratio
	case w.floor != source{}:
		floor, ok := m.median(w.floor)
		ratio, ok2 := m.median(w.paired)
		if !ok2 {
			ratio, ok2 = m.ratio(w.of, w.floor)
		}
		if ok && ok2 {
			f.Floor, f.FloorName, f.Ratio = &floor, w.floorName, &ratio
		}
	}
	f.Met = w.bar.met(f)
	return f
}

// met says whether the bar was reached; nil: there is none, or nothing to
// compare with it.
func (b bar) met(f figure) *bool {
	v := f.Value
	if b.ratio {
		v = f.Ratio
	}
	if b.rule == "" || v == nil {
		return nil
	}
	met := map[rule]bool{atMost: *v <= b.limit, atLeast: *v >= b.limit, exactly: *v == b.limit}[b.rule]
	return &met
}

func (b bar) text(unit string) string {
	switch {
	case b.rule == "":
		return ""
	case b.ratio:
		return string(b.rule) + " " + number(b.limit) + " ×"
	}
	return string(b.rule) + " " + number(b.limit) + spaced(unit)
}

func (r report) missing() (names []string) {
	for _, f := range r.Rows {
		if f.Value == nil {
			names = append(names, f.Name)
		}
	}
	return names
}

// table returns the report as the README shows it.
func (r report) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d processors, shared with the load driver; %s; PostgreSQL %s; %s; every commit durable. Medians.\n"+
		"Where two things were measured in turn the ratio is the median of those of the turns, not the quotient of its row.\n\n",
		r.Machine, r.Processors, r.Go, r.PostgreSQL, r.Date)
	b.WriteString("| what | measured | beside it | ratio | bar | |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, f := range r.Rows {
		beside, ratio, verdict := "", "", ""
		if f.Floor != nil {
			beside = f.FloorName + ": " + number(*f.Floor) + spaced(f.Unit)
			ratio = number(*f.Ratio) + " ×"
			if *f.Ratio < 10 { // more digits than the bars have
				ratio = strconv.FormatFloat(*f.Ratio, 'f', 3, 64) + " ×"
			}
		}
		value := "not measured"
		if f.Value != nil {
			value = number(*f.Value) + spaced(f.Unit)
		}
		if f.Met != nil {
			verdict = map[bool]string{true: "met", false: "**not met**"}[*f.Met]
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", f.Name, value, beside, ratio, f.Bar, verdict)
	}
	b.WriteString("\nWhat is spent above the floor:\n\n")
	for _, f := range r.Rows {
		if f.Above != "" {
			fmt.Fprintf(&b, "- %s: %s\n", f.Name, f.Above)
		}
	}
	return b.String()
}

// spaced returns a unit as it stands after a number.
func spaced(unit string) string {
	if unit == "" || strings.HasPrefix(unit, "/") {
		return unit
	}
	return " " + unit
}

// number returns three digits of v that count, or all before the point.
func number(v float64) string {
	decimals := 0
	switch {
	case v == float64(int64(v)):
	case v < 1:
		decimals = 3
	case v < 10:
		decimals = 2
	case v < 100:
		decimals = 1
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	whole, rest, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		whole += "." + rest
	}
	return whole
}
