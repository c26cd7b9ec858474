package main

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// The house rules of the code, as tests: which package may import which (tiers,
// arrows point down), where third parties come in, what pure packages don't do,
// and that comments and host/README.md lead somewhere.

// tier is where a package stands; it imports its own tier only as allowed.
type tier int

const (
	words  tier = iota // what all share
	pure               // decides; no goroutine, no clock, no global
	files              // what is on the disk; knows nothing of messages
	seam               // what passes between two engines, frames of plugins too
	part               // acts for the one engine whose folder it is in
	engine             // acts; knows no other engine
	wiring             // knows them all
	peer               // stands across the wire, or holds a whole host for tests
	sdk                // what plugin authors import
	plugin             // examples, which import sdk only
)

// place is each package's tier. A new package is put here first.
var place = map[string]tier{
	"sdk/message":                       words,
	"host/internal/entry":               words,
	"host/internal/status":              words,
	"host/internal/xmpp":                pure,
	"host/internal/fcm":                 pure,
	"host/internal/flow":                pure,
	"host/internal/route":               pure,
	"host/internal/config":              pure,
	"host/internal/backoff":             pure,
	"host/internal/plain":               pure,
	"host/internal/turns":               pure,
	"host/internal/mend":                pure,
	"host/internal/backup":              pure,
	"host/internal/keyfile":             pure,
	"host/internal/secret":              pure,
	"host/internal/serviceaccount":      pure,
	"host/internal/credential":          pure,
	"host/internal/frame":               pure,
	"host/internal/hms":                 pure,
	"host/internal/latency":             pure,
	"host/internal/said":                pure,
	"host/internal/regular":             pure,
	"host/internal/told":                pure,
	"host/internal/tally":               pure,
	"host/internal/instance":            seam,
	"host/internal/feed":                seam,
	"host/internal/span":                seam,
	"host/internal/ccs":                 engine,
	"host/internal/fcmv1":               engine,
	"host/internal/gateway":             engine,
	"host/internal/outbox":              engine,
	"host/internal/ledger":              engine,
	"host/internal/journal":             files,
	"host/internal/certificate":         files,
	"host/internal/state":               files,
	"host/internal/dispatch":            engine,
	"host/internal/pluginhost":          engine,
	"host/internal/pluginhost/policy":   pure,
	"host/internal/pluginhost/artefact": files,
	"host/internal/pluginhost/process":  part,
	"host/internal/otlp":                engine,
	"host/internal/admin":               engine,
	"host/internal/admin/audit":         part,
	"host/internal/daemon":              wiring,
	"host/internal/hangup":              wiring,
	"host/internal/plugincheck":         wiring,
	"host/internal/devloop":             wiring,
	"host/internal/doctor":              wiring,
	"host/internal/page":                wiring,
	"host/internal/scaffold":            wiring,
	"host":                              wiring,
	"host/internal/ccssim":              peer,
	"host/internal/fcmsim":              peer,
	"host/internal/devicesim":           peer,
	"host/internal/simnet":              peer,
	"examples/devices/web":              peer, // its files, for balhost dev
	"host/internal/hosttest":            peer,
	"host/internal/scrape":              peer, // tests ask promtool by it
	"host/internal/clocktest":           peer,
	"host/internal/certtest":            peer,
	"host/internal/powercut":            peer,
	"sdk":                               sdk,
	"sdk/wire":                          sdk,
	"sdk/wire/gen":                      sdk,
	"sdk/logs":                          sdk,
	"sdk/outlet":                        sdk,
	"sdk/plugintest":                    sdk,
}

// below lists the tiers that a tier may import. Pure packages may build on
// each other; the compiler keeps that from going round.
var below = map[tier][]tier{
	words:  {words},
	pure:   {words, pure},
	files:  {words, pure},
	seam:   {words, pure, sdk},
	part:   {words, pure, files, sdk},
	engine: {words, pure, files, seam, part, sdk},
	wiring: {words, pure, seam, engine, wiring, peer, sdk},
	peer:   {words, pure, seam, engine, wiring, peer, sdk},
	sdk:    {words, sdk},
	plugin: {words, sdk},
}

// only says which packages may import a third party's.
var only = map[string][]string{
	"github.com/dgraph-io/badger":    {"host/internal/state"},
	"github.com/hashicorp/go-plugin": {"host/internal/pluginhost/process", "sdk", "sdk/wire"},
	"github.com/hashicorp/hcl":       {"host/internal/config"},
	"github.com/zclconf/go-cty":      {"host/internal/config"},
	"github.com/spf13/cobra":         {"host"},
	"go.opentelemetry.io/otel/sdk":   {"host/internal/otlp"},
}

func TestImportArrows(t *testing.T) {
	for _, f := range sources(t) {
		at, known := tierOf(f.pkg)
		if !known {
			t.Errorf("%s: package %s has no tier; put it into place in rules_test.go", f.name, f.pkg)
			continue
		}
		for _, spec := range f.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if local, ok := strings.CutPrefix(imported, "balhost/"); ok {
				to, _ := tierOf(local)
				fromHost := strings.HasPrefix(local, "host")
				switch {
				case (at == sdk || at == plugin) && fromHost:
					t.Errorf("%s imports %s: sdk and plugins never import the host", f.name, local)
				case !f.test && !slices.Contains(below[at], to):
					t.Errorf("%s imports %s: that arrow doesn't point down", f.name, local)
				case partOf(local) != local && partOf(local) != partOf(f.pkg):
					t.Errorf("%s imports %s, a part of %s, which alone uses it", f.name, local, partOf(local))
				}
				continue
			}
			for library, allowed := range only {
				if (imported == library || strings.HasPrefix(imported, library+"/")) && !f.test && !slices.Contains(allowed, f.pkg) {
					t.Errorf("%s imports %s, which only %v may", f.name, imported, allowed)
				}
			}
			if f.pkg == "sdk/message" && strings.Contains(strings.Split(imported, "/")[0], ".") {
				t.Errorf("%s imports %s: the shared words need the standard library only", f.name, imported)
			}
		}
	}
}

// partOf is the package that one in its folder is a part of; others are wholes.
func partOf(pkg string) string {
	if names := strings.Split(pkg, "/"); len(names) > 3 && strings.HasPrefix(pkg, "host/internal/") {
		return strings.Join(names[:3], "/")
	}
	return pkg
}

func tierOf(pkg string) (tier, bool) {
	at, ok := place[pkg]
	if !ok && (strings.HasPrefix(pkg, "examples/") || strings.HasPrefix(pkg, "host/testdata/")) {
		return plugin, true
	}
	return at, ok
}

// clock is what of package time reads the clock or waits.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// Pure packages start nothing and read no clock, so that tests of them need
// neither. Elsewhere whoever starts a goroutine waits for it: a group's Go has its
// Wait in the same package. A go statement, and an AfterFunc that does more than
// one call, have no Wait, so they say why none is needed.
func TestGoroutinesAndClocks(t *testing.T) {
	waits := map[string]bool{} // package and name of a group
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && strings.EqualFold(sel.Sel.Name, "wait") {
				waits[f.pkg+" "+lastName(sel.X)] = true
			}
			return true
		})
	}
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		at, _ := tierOf(f.pkg)
		isPure := at == pure || at == words
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				if isPure {
					t.Errorf("%s starts a goroutine in a pure package", f.at(n))
				} else if !f.hasReason(n, "go") {
					t.Errorf("%s: a bare go statement needs //house:go and a reason at its line or above", f.at(n))
				}
			case *ast.CallExpr:
				switch starts(n) {
				case "Go":
					if group := lastName(n.Fun.(*ast.SelectorExpr).X); isPure {
						t.Errorf("%s starts a goroutine in a pure package (%s.Go)", f.at(n), group)
					} else if !waits[f.pkg+" "+group] {
						t.Errorf("%s: nothing in this package waits for %s", f.at(n), group)
					}
				case "AfterFunc":
					if isPure {
						t.Errorf("%s starts a goroutine in a pure package (AfterFunc)", f.at(n))
					} else if !oneCall(n.Args[1]) && !f.hasReason(n, "go") {
						t.Errorf("%s: an AfterFunc that does more than one call needs //house:go and a reason at its line or above", f.at(n))
					}
				}
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && isPure && x.Name == "time" && x.Obj == nil && slices.Contains(clock, n.Sel.Name) {
					t.Errorf("%s reads the clock in a pure package (time.%s); take now as an argument", f.at(n), n.Sel.Name)
				}
			}
			return true
		})
	}
}

// starts says how a call starts a goroutine: "Go" for a WaitGroup's or an
// errgroup's, "AfterFunc" for that of time or context, "" for none.
func starts(call *ast.CallExpr) string {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	switch {
	case !ok:
	case sel.Sel.Name == "Go" && len(call.Args) == 1:
		return "Go"
	case sel.Sel.Name == "AfterFunc" && len(call.Args) == 2 && slices.Contains([]string{"time", "context"}, lastName(sel.X)):
		return "AfterFunc"
	}
	return ""
}

// lastName is the name at the end of an expression: core of h.core.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// oneCall reports whether a function is named, or does nothing but one call.
func oneCall(f ast.Expr) bool {
	literal, ok := f.(*ast.FuncLit)
	if !ok {
		return true
	}
	if len(literal.Body.List) != 1 {
		return false
	}
	_, ok = literal.Body.List[0].(*ast.ExprStmt)
	return ok
}

// maxMethods is how wide an interface may be without a reason.
const maxMethods = 4

// An interface is what one user needs of a part, so it is small. One that is wider
// says why it can't be two.
func TestInterfacesStaySmall(t *testing.T) {
	methods := map[string]int{} // package and name of an interface
	type wide struct {
		at, name string
		fields   []*ast.Field
	}
	var all []wide
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if i, ok := spec.Type.(*ast.InterfaceType); ok {
				methods[f.pkg+" "+spec.Name.Name] = i.Methods.NumFields()
				if !f.hasReason(spec, "wide") {
					all = append(all, wide{f.at(spec), f.pkg + " " + spec.Name.Name, i.Methods.List})
				}
			}
			return true
		})
	}
	for _, w := range all {
		pkg, _, _ := strings.Cut(w.name, " ")
		n := 0
		for _, field := range w.fields {
			n += max(1, methods[pkg+" "+lastName(field.Type)], len(field.Names))
		}
		if n > maxMethods {
			t.Errorf("%s: interface %s has %d methods: split it, or say at its line or above why not (//house:wide and a reason)", w.at, w.name, n)
		}
	}
}

// wallClock is where a time may become a number, which has no monotonic reading
// any more: a clock that is set would look like a silence or a future.
var wallClock = map[string]string{
	"host/internal/dispatch/timers.go":            "a timer's time on the wire",
	"host/internal/ledger/codec.go":               "the way to the disk and back",
	"host/internal/ledger/records.go":             "the same",
	"host/internal/ledger/accept.go":              "the time in an event's id",
	"host/internal/ledger/clock.go":               "the clock of the store",
	"host/internal/ledger/commit.go":              "a time of that clock; badger's expiry",
	"host/internal/ledger/batch.go":               "a time of that clock",
	"host/internal/ledger/ledger.go":              "the same",
	"host/internal/ledger/ring.go":                "the same",
	"host/internal/ledger/keys.go":                "keys of summaries",
	"host/internal/ledger/tidy.go":                "the same",
	"host/internal/ledger/search.go":              "the same",
	"host/internal/ledger/lookup.go":              "the same",
	"host/internal/ledger/summary.go":             "the same",
	"host/internal/pluginhost/artefact/folder.go": "a file's time, which is only compared for equality",
	"host/internal/pluginhost/artefact/tree.go":   "the same",
	"host/internal/credential/hmac.go":            "the time in a signature",
	"host/internal/fcm/decode.go":                 "CCS's time of a receipt",
	"host/internal/gateway/envelope.go":           "a device's time of a receipt",
	"host/internal/gateway/device_serve.go":       "the host's clock, which a device is told",
	"host/internal/ccssim/downstream.go":          "and the simulator's",
	"host/internal/devicesim/device.go":           "the same",
	"host/internal/fcmsim/token.go":               "the times in a JWT",
	"host/internal/hms/hms.go":                    "the time in a signature of Huawei",
	"host/internal/devloop/source.go":             "a file's time, which is only compared for equality",
	"examples/tcpbridge/main.go":                  "the time in a receipt, as GIMMM wrote it",
	"host/testdata/keeper/main.go":                "a name",
	"host/testdata/laps/main.go":                  "a book of the tests",
	"host/testdata/scribe/main.go":                "a name",
	"sdk/message/check.go":                        "whole milliseconds of NotBefore",
	"sdk/plugintest/timers.go":                    "a timer's time on the wire",
	"sdk/timer.go":                                "the same",
	"sdk/wire/convert.go":                         "times on the wire, which are only shown",
}

// Liveness, timeouts and order don't hang on the wall clock.
func TestTimesStayMonotonic(t *testing.T) {
	for _, f := range sources(t) {
		if f.test || wallClock[f.name] != "" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, isIdent := sel.X.(*ast.Ident)
			makes := isIdent && x.Name == "time" && x.Obj == nil && slices.Contains([]string{"Unix", "UnixMilli", "UnixMicro"}, sel.Sel.Name)
			if makes && strings.HasSuffix(f.name, "process/tls.go") {
				return true // a certificate's date
			}
			if makes || slices.Contains([]string{"UnixNano", "UnixMilli", "UnixMicro"}, sel.Sel.Name) {
				t.Errorf("%s makes a number of a time, or a time of a number (%s): keep the time.Time, or say in wallClock why not", f.at(n), sel.Sel.Name)
			}
			return true
		})
	}
}

func TestEveryPackageHasAComment(t *testing.T) {
	has := map[string]bool{}
	for _, f := range sources(t) {
		if !f.test {
			has[f.pkg] = has[f.pkg] || f.ast.Doc.Text() != ""
		}
	}
	for pkg, ok := range has {
		if !ok {
			t.Errorf("package %s has no comment: what it is, which promises it keeps, who runs its goroutines, where to start", pkg)
		}
	}
}

// maxLines is where a file has become two. Few should come near it.
const maxLines = 500

func TestFilesStaySmall(t *testing.T) {
	for _, f := range sources(t) {
		if lines := f.set.File(f.ast.Pos()).LineCount(); lines > maxLines && !f.test {
			t.Errorf("%s has %d lines: split it (aim at 150; %d is too many)", f.name, lines, maxLines)
		}
	}
}

// stop is a place in the code that host/README.md leads to: `ccs#Session.Run`.
var stop = regexp.MustCompile("`([a-z][a-z/]*)#([A-Za-z][A-Za-z0-9]*)(?:\\.([A-Za-z][A-Za-z0-9]*))?`")

// tourLines is how many lines the six stops may have together, comments included.
const tourLines = 640

func TestReadmeStopsResolve(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	symbols := symbols(t)
	stops, rest, ok := strings.Cut(string(readme), "**An upstream.**")
	if !ok {
		t.Fatal("host/README.md has no six stops before **An upstream.**")
	}
	lines, seen := 0, map[string]bool{}
	for _, text := range []string{stops, rest} {
		for _, m := range stop.FindAllStringSubmatch(text, -1) {
			name := strings.Trim(m[2]+"."+m[3], ".")
			n := cmp.Or(symbols[m[1]+"#"+name], symbols["host/internal/"+m[1]+"#"+name])
			if n == 0 {
				t.Errorf("host/README.md leads to %s, which isn't there", m[0])
			}
			if text == stops && !seen[m[0]] {
				lines, seen[m[0]] = lines+n, true
			}
		}
	}
	t.Logf("%d functions, %d lines", len(seen), lines)
	if len(seen) < 15 || lines > tourLines {
		t.Errorf("the tour in host/README.md leads to %d functions with %d lines: want 15 or more, with %d lines at most", len(seen), lines, tourLines)
	}
}

// The threat model in the gateway's README names a test for each thing that somebody could
// want. The test is there.
func TestThreatModelResolves(t *testing.T) {
	const name = "internal/gateway/README.md"
	readme, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	symbols, rows := symbols(t), 0
	for _, line := range strings.Split(string(readme), "\n") {
		stops := stop.FindAllStringSubmatch(line, -1)
		if cells := strings.Split(line, "|"); strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| What ") {
			if rows++; len(cells) != 5 || len(stop.FindAllString(cells[3], -1)) == 0 {
				t.Errorf("%s: no test in the third column: %s", name, line)
			}
		}
		for _, m := range stops {
			if symbols["host/internal/"+m[1]+"#"+m[2]] == 0 {
				t.Errorf("%s leads to %s, which isn't there", name, m[0])
			}
		}
	}
	if rows < 15 {
		t.Errorf("%s has %d rows: is its table still one?", name, rows)
	}
}

// symbols are the names of all declarations, such as "host/internal/ccs#Session.Run", with
// how many lines each has, comments included.
func symbols(t *testing.T) map[string]int {
	lines := map[string]int{}
	for _, f := range sources(t) {
		for _, d := range f.ast.Decls {
			for _, name := range declared(d) {
				from, to := d.Pos(), d.End()
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Doc != nil {
					from = fn.Doc.Pos()
				}
				lines[f.pkg+"#"+name] = f.set.Position(to).Line - f.set.Position(from).Line + 1
			}
		}
	}
	return lines
}

// declared are the names of one declaration, methods as Type.Method.
func declared(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return []string{d.Name.Name}
		}
		of := d.Recv.List[0].Type
		if star, ok := of.(*ast.StarExpr); ok {
			of = star.X
		}
		if generic, ok := of.(*ast.IndexExpr); ok {
			of = generic.X
		}
		if ident, ok := of.(*ast.Ident); ok {
			return []string{ident.Name + "." + d.Name.Name}
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			if s, ok := spec.(*ast.TypeSpec); ok {
				names = append(names, s.Name.Name)
			}
		}
	}
	return names
}

// source is one Go file of the repository.
type source struct {
	name string // from the top, with slashes
	pkg  string // its folder
	test bool
	ast  *ast.File
	set  *token.FileSet
}

// at is a node's place, for an error.
func (f source) at(n ast.Node) string {
	return f.name + ":" + strconv.Itoa(f.set.Position(n.Pos()).Line)
}

// hasReason finds //house:go, or another rule's word, with a reason on a node's line or the one above.
func (f source) hasReason(n ast.Node, rule string) bool {
	line := f.set.Position(n.Pos()).Line
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			reason, ok := strings.CutPrefix(c.Text, "//house:"+rule+" ")
			if at := f.set.Position(c.Pos()).Line; ok && strings.TrimSpace(reason) != "" && (at == line || at == line-1) {
				return true
			}
		}
	}
	return false
}

// sources are the Go files of the repository, but generated ones.
func sources(t *testing.T) []source {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("found %d files only: is the walk broken?", len(all))
	}
	return all
}

var parsed = sync.OnceValues(func() (out []source, err error) {
	const top = ".."
	set := token.NewFileSet()
	err = filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != top && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "data" || d.Name() == "plugins" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, name)
		if err != nil || ast.IsGenerated(file) {
			return err
		}
		rel = filepath.ToSlash(rel)
		out = append(out, source{rel, path.Dir(rel), strings.HasSuffix(name, "_test.go"), file, set})
		return nil
	})
	return out, err
})
