package config

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"balhost/host/internal/secret"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxProblems is how many problems an Error lists.
const maxProblems = 100

// Error lists everything that is wrong with a config file, in the file's order.
type Error struct {
	Problems []Problem
}

// Problem is one thing that is wrong.
type Problem struct {
	Place string `json:"place"` // "config.hcl:12,3-15"
	Text  string `json:"text"`  // what, and what to do
	Line  string `json:"line"`  // the line at Place, with secrets hidden; "" when there is none
	// Write is what to write there instead, in lines; "" when Text says it all.
	Write string `json:"write,omitempty"`

	line, column int
}

// Error writes each problem as its place and text. Below it is the line, or what to write
// instead.
func (e *Error) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s: %s", p.Place, p.Text)
		for line := range strings.Lines(cmp.Or(p.Write, p.Line)) {
			b.WriteString("\n" + strings.TrimRight("    "+line, " \n"))
		}
	}
	return b.String()
}

// err is the problems found so far as one error, or nil.
func (c *checker) err() error {
	if len(c.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(c.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column), strings.Compare(a.Text, b.Text))
	})
	problems := slices.Compact(c.problems)
	if more := len(problems) - maxProblems; more > 0 {
		problems = append(problems[:maxProblems:maxProblems], Problem{Place: c.name, Text: fmt.Sprintf("%d more problems follow these", more)})
	}
	for i := range problems {
		problems[i].Line = c.line(problems[i].line)
	}
	return &Error{Problems: problems}
}

// line is one line of the file, with secrets hidden; "" when there is no such line.
func (c *checker) line(number int) string {
	if c.lines == nil {
		c.lines = bytes.Split(c.src, []byte("\n"))
	}
	if number < 1 || number > len(c.lines) {
		return ""
	}
	if c.amongSecrets(number) {
		name, _, _ := bytes.Cut(bytes.TrimSpace(c.lines[number-1]), []byte("="))
		return showable(append(bytes.TrimSpace(name), " = "+secret.Hidden...))
	}
	return showable(c.lines[number-1])
}

// objectOfSecrets matches the line that begins an object whose values are secrets.
var objectOfSecrets = regexp.MustCompile(`^\s*(secrets|env)\s*=\s*\{[^}]*$`)

// amongSecrets reports whether a line is within such an object.
func (c *checker) amongSecrets(number int) bool {
	for i := number - 2; i >= 0; i-- {
		switch line := c.lines[i]; {
		case objectOfSecrets.Match(line):
			return true
		case bytes.HasPrefix(bytes.TrimSpace(line), []byte("}")):
			return false
		}
	}
	return false
}

// problem reports what is wrong at a place.
func (c *checker) problem(at hcl.Range, format string, args ...any) {
	c.problems = append(c.problems, Problem{
		Place: at.String(), Text: fmt.Sprintf(format, args...), line: at.Start.Line, column: at.Start.Column,
	})
}

// bad reports what is wrong with the value of a key.
func (c *checker) bad(a *hcl.Attribute, format string, args ...any) {
	c.problem(a.Range, a.Name+": "+format, args...)
}

// add reports what the parser or an expression found.
func (c *checker) add(diags hcl.Diagnostics) {
	for _, d := range diags {
		at := hcl.Range{}
		if d.Subject != nil {
			at = *d.Subject
		}
		if call, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d); ok && call.FunctionCallError() != nil {
			c.problem(at, "%s(): %v", call.CalledFunctionName(), call.FunctionCallError())
			continue
		}
		c.problem(at, "%s: %s", d.Summary, d.Detail)
	}
}

// required reports a missing key that the block needs.
func (c *checker) required(block hcl.Range, a *hcl.Attribute, kind, name, key string) {
	if a == nil {
		c.problem(block, "%s %q has no %s", kind, name, key)
	}
}

// unique reports a name that appears twice; format gets the name and its first place.
func (c *checker) unique(seen map[string]hcl.Range, name string, at hcl.Range, format string) bool {
	first, again := seen[name]
	if again {
		c.problem(at, format, name, first)
		return false
	}
	seen[name] = at
	return true
}

// later reports a key that this version would ignore.
func (c *checker) later(a *hcl.Attribute) {
	if a != nil {
		c.bad(a, "not supported by this version of balhost; remove the line")
	}
}

// secretKey matches a key that may hold a secret (ours or a plugin's) and its value.
var secretKey = regexp.MustCompile(`(?i)((?:^|[\s{,])(?:"[\w-]*(?:key|token|secret|passw|credential|master)[\w-]*"|[\w-]*(?:key|token|secret|passw|credential|master)[\w-]*|env)\s*[=:]\s*).*`)

// pathOfKey matches a line that has the path of a key and no key.
var pathOfKey = regexp.MustCompile(`^key_file\s*=\s*"[^"]*"$`)

// userInfo matches a name and a password in a URL.
var userInfo = regexp.MustCompile(`://[^/@\s"]+@`)

// showable is a line of the file that an error may print. It hides a secret that a
// person wrote into the file instead of using env() or file().
func showable(line []byte) string {
	const most = 200
	line = bytes.TrimSpace(line)
	rest := ""
	if len(line) > most { // cut first: the line may be as long as the file
		line, rest = line[:most], " …"
	}
	shown := string(line)
	if !pathOfKey.MatchString(shown) {
		shown = secretKey.ReplaceAllString(shown, "${1}"+secret.Hidden)
	}
	return strings.ToValidUTF8(userInfo.ReplaceAllString(shown, "://"+secret.Hidden+"@"), "") + rest
}
