// Package part owns the parts that pages are put together from: the frame,
// headings, fields, buttons, lists. It knows nothing of what a page is for.
//
// The invariant: all text is escaped, and what somebody else chose as a name
// stands in an element of its own writing direction.
package part

import (
	"net/url"
	"strings"
	"unicode"

	"github.com/a-h/templ"
)

// Words are a text and the name that stands for {name} in it. A name is what a
// client or a person is called: nothing about it is trusted.
type Words struct{ Text, Name string }

// split returns what stands before and after the name; ok says that there is one.
func (w Words) split() (before, after string, ok bool) {
	return strings.Cut(w.Text, "{name}")
}

// Document is what the frame of a page says.
type Document struct {
	Lang, Dir string // of the html element
	Title     string // holds no name that somebody else chose
	Style     string // the style sheet
	Icon      string // address of the icon
}

// Input is a field with its label.
type Input struct {
	Name, Type, Label, Value, Autocomplete string
	First                                  bool // where the person goes on
	Problem                                bool // an [Alert] says what is wrong
	Invalid                                bool // and it is about this field
}

func (i Input) attributes() templ.Attributes {
	a := templ.Attributes{
		"id": i.Name, "name": i.Name, "type": i.Type, "value": i.Value,
		"autocomplete": i.Autocomplete, "autofocus": i.First,
	}
	if i.Problem {
		a["aria-describedby"] = "problem"
	}
	if i.Invalid {
		a["aria-invalid"] = "true"
	}
	return a
}

// box returns the attributes of a box to tick.
func box(name string, checked bool) templ.Attributes {
	return templ.Attributes{
		"id": name, "name": name, "type": "checkbox", "value": "yes",
		"aria-describedby": name + "-hint", "checked": checked,
	}
}

// Choice is one of a list of links.
type Choice struct {
	Address string
	Words   Words
	Mark    string // one character, for decoration; empty: the first of the name
}

func (c Choice) mark() string {
	if c.Mark != "" {
		return c.Mark
	}
	return initial(c.Words.Name)
}

// Permission is one thing that is allowed.
type Permission struct {
	Text string
	Hint string // empty: none
	Code string // name in the protocol; empty: not shown
}

// initial returns the first letter of a name.
func initial(name string) string {
	for _, c := range name {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			return string(unicode.ToUpper(c))
		}
	}
	return "•"
}

// link returns u for an attribute that takes an address, unless following it
// could run a script or show a document of somebody's making as ours.
func link(u string) templ.SafeURL {
	p, err := url.Parse(u)
	if err != nil {
		return "#"
	}
	switch strings.ToLower(p.Scheme) {
	case "javascript", "data", "vbscript", "blob", "file", "filesystem", "about", "view-source":
		return "#"
	}
	return templ.SafeURL(u)
}
