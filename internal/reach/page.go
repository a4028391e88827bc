package reach

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"
)

// ServeHTTP shows an operator who is connected: as JSON to those who ask for it,
// else as text. It asks nobody who they are.
func (r *Readers) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	v := r.View()
	if strings.Contains(req.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v) //nolint:errcheck // nobody reads on
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "%d verifiers read the revocation feed of this node, whose newest entry is %d; %d were too slow since the start.\n",
		len(v.Readers), v.Newest, v.Dropped)
	if len(v.Readers) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\nCLIENT\tADDRESS\tSINCE\tHAS GOT\tLACKS\tBEHIND\n")
	for _, c := range v.Readers {
		behind := time.Duration(c.Behind * float64(time.Second)).Round(time.Millisecond)
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\n",
			plain(c.Client), plain(c.Network), c.Since.UTC().Format(time.RFC3339), c.Number, c.Lacks, behind)
	}
	t.Flush() //nolint:errcheck // nobody reads on
}

// plain leaves no character in s that would break a line of the table.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return '?'
		}
		return c
	}, s)
}
