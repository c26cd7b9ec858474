package plugincheck

import (
	"fmt"
	"time"
)

// Verdict is what a row comes to.
type Verdict string

// The verdicts.
const (
	OK       Verdict = "ok"
	Warns    Verdict = "warns" // it works, and could be better
	Fails    Verdict = "fails"
	None     Verdict = "does not apply" // the plugin has nothing that it could be tried with
	Unknown  Verdict = "not checked"    // something before it failed
	specFile         = "sdk/wire/PROTOCOL.md"
)

// Row is one row of the table.
type Row struct {
	Name    string  `json:"row"`
	Verdict Verdict `json:"verdict"`
	Found   string  `json:"found"`
	Mend    string  `json:"mend,omitempty"` // what to do, with the section of PROTOCOL.md
	Took    float64 `json:"took_s"`

	slow bool // the verdict is about a time, which is longer on a busy machine
}

// Report is the result of a check. Its JSON is a contract with scripts.
type Report struct {
	Plugin  string  `json:"plugin"`
	Version string  `json:"version"`
	SHA256  string  `json:"sha256"`
	Rows    []Row   `json:"rows"`
	Took    float64 `json:"took_s"`
}

// Names are the names of the rows with a verdict.
func (r Report) Names(verdict Verdict) (names []string) {
	for _, row := range r.Rows {
		if row.Verdict == verdict {
			names = append(names, row.Name)
		}
	}
	return names
}

// finding is what a row's function comes back with.
type finding struct {
	verdict Verdict
	found   string
	mend    string
	slow    bool // see Row
}

func ok(format string, args ...any) finding {
	return finding{verdict: OK, found: fmt.Sprintf(format, args...)}
}

func none(format string, args ...any) finding {
	return finding{verdict: None, found: fmt.Sprintf(format, args...)}
}

func unknown(format string, args ...any) finding {
	return finding{verdict: Unknown, found: fmt.Sprintf(format, args...)}
}

// fails is a finding with its mend, which names a section: "§4: …".
func fails(mend, format string, args ...any) finding {
	return finding{verdict: Fails, found: fmt.Sprintf(format, args...), mend: mend}
}

func warns(mend, format string, args ...any) finding {
	return finding{verdict: Warns, found: fmt.Sprintf(format, args...), mend: mend}
}

// slowly is a warning about a time. A right plugin on a busy machine can get it too, so
// nothing fails for it.
func slowly(mend, format string, args ...any) finding {
	f := warns(mend, format, args...)
	f.slow = true
	return f
}

// row makes a finding a row. A mend that begins with a section gets the name of the page.
func (f finding) row(name string, took time.Duration) Row {
	r := Row{Name: name, Verdict: f.verdict, Found: f.found, Mend: f.mend, Took: round(took), slow: f.slow}
	if r.Mend != "" {
		r.Mend = specFile + " " + r.Mend
	}
	return r
}

// round is a time in seconds, to the millisecond.
func round(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// plural is a number with what it counts.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
