package main

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"balhost/host/internal/scrape"
)

// What examples/monitoring names is there, and what is there is named: metrics in the code,
// the table of metrics, alerts, their entries in the runbook, and the dashboard.

const monitoring = "../examples/monitoring/"

var metricName = regexp.MustCompile(`balhost_[a-z0-9_]+`)

// metricsOfCode are the names of all metrics that the host's code has.
func metricsOfCode(t *testing.T) map[string]bool {
	t.Helper()
	literal := regexp.MustCompile(`"(balhost_[a-z0-9_]+)"`)
	names := map[string]bool{}
	for _, f := range sources(t) {
		if f.test || !strings.HasPrefix(f.pkg, "host/internal/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join("..", f.name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "client_golang/prometheus") {
			continue
		}
		for _, m := range literal.FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
	}
	return names
}

// named are the names of metrics in a text, without what a histogram adds to its own.
func named(text string, known map[string]bool) []string {
	found := map[string]bool{}
	for _, name := range metricName.FindAllString(text, -1) {
		for _, end := range []string{"_bucket", "_sum", "_count"} {
			if base, is := strings.CutSuffix(name, end); is && known[base] {
				name = base
			}
		}
		found[name] = true
	}
	return slices.Sorted(maps.Keys(found))
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestMetricsAreListed(t *testing.T) {
	known := metricsOfCode(t)
	if len(known) < 80 {
		t.Fatalf("found %d metrics in the code only", len(known))
	}
	page := readFile(t, monitoring+"README.md")
	_, rest, _ := strings.Cut(page, "## What is measured")
	table, _, _ := strings.Cut(rest, "Beside these")
	listed := named(table, known)
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if n := strings.Count(table, "`"+name+"`"); n != 1 {
			t.Errorf("%s stands %d times in the table of examples/monitoring/README.md", name, n)
		}
	}
	for _, file := range []string{monitoring + "rules.yml", monitoring + "dashboard.json", "../README.md", monitoring + "README.md"} {
		for _, name := range named(readFile(t, file), known) {
			if !known[name] && !strings.HasSuffix(name, "_") {
				t.Errorf("%s names %s, which is no metric of balhost", file, name)
			}
		}
	}
	if len(listed) != len(known) {
		t.Errorf("the table names %d metrics, the code has %d", len(listed), len(known))
	}
}

// alertsOf are the alerts in rules.yml, and the text of each.
func alertsOf(t *testing.T) map[string]string {
	t.Helper()
	alerts := map[string]string{}
	for _, text := range strings.Split(readFile(t, monitoring+"rules.yml"), "- alert: ")[1:] {
		name, rest, _ := strings.Cut(text, "\n")
		alerts[name] = rest
	}
	return alerts
}

func TestEveryAlertHasARunbook(t *testing.T) {
	page, alerts := readFile(t, monitoring+"README.md"), alertsOf(t)
	table, book, _ := strings.Cut(page, "## What to do")
	entries := map[string]string{}
	for _, text := range strings.Split(book, "\n### ")[1:] {
		name, rest, _ := strings.Cut(text, "\n")
		entries[name] = rest
	}
	for name, rule := range alerts {
		anchor := "#" + strings.ToLower(name)
		if !strings.Contains(rule, "runbook: examples/monitoring/README.md"+anchor+"\n") {
			t.Errorf("%s has no annotation with its runbook's entry", name)
		}
		if !strings.Contains(table, "["+name+"]("+anchor+")") {
			t.Errorf("%s is not in the table", name)
		}
		for _, key := range []string{"severity: ", "summary: ", "for: "} {
			if !strings.Contains(rule, key) {
				t.Errorf("%s has no %s", name, key)
			}
		}
		if !strings.Contains(entries[name], "\n    ") {
			t.Errorf("%s has no entry with a command", name)
		}
	}
	for name := range entries {
		if _, is := alerts[name]; !is {
			t.Errorf("the runbook has an entry %s, which is no alert", name)
		}
	}
	for _, link := range regexp.MustCompile(`\]\(#([a-z]+)\)`).FindAllStringSubmatch(page, -1) {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(alerts)), func(name string) bool { return strings.ToLower(name) == link[1] }) {
			t.Errorf("a link leads to #%s, where nothing is", link[1])
		}
	}
}

// Each command of the runbook is one.
func TestRunbookCommands(t *testing.T) {
	root := rootCommand()
	for _, m := range regexp.MustCompile("(?m)(?:^    |`)balhost ([^`\n|>]+)").FindAllStringSubmatch(readFile(t, monitoring+"README.md"), -1) {
		args := strings.Fields(m[1])
		cmd, rest, err := root.Find(args)
		if err != nil || cmd == root {
			t.Errorf("balhost %s: %v", m[1], err)
			continue
		}
		for _, arg := range rest {
			if name, is := strings.CutPrefix(arg, "--"); is && cmd.Flags().Lookup(name) == nil {
				t.Errorf("balhost %s: there is no flag %s", m[1], arg)
			}
		}
	}
}

// promtool is its path. Without it the test is skipped, or fails where it is required.
func promtool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil && os.Getenv("BALHOST_PROMTOOL") == "required" {
		t.Fatal(scrape.ErrNoPromtool)
	} else if err != nil {
		t.Skip(scrape.ErrNoPromtool)
	}
	return path
}

// promtool takes prometheus.yml, the rules, and each query of the dashboard.
func TestPromtoolTakesMonitoring(t *testing.T) {
	tool := promtool(t)
	if out, err := exec.Command(tool, "check", "config", monitoring+"prometheus.yml").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	var board struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readFile(t, monitoring+"dashboard.json")), &board); err != nil {
		t.Fatal(err)
	}
	rules, queries := "groups: [{name: dashboard, rules: [\n", 0
	for _, p := range board.Panels {
		if p.Title == "" || len(p.Targets) == 0 && p.Type != "row" {
			t.Errorf("a panel %q has no query", p.Title)
		}
		for _, target := range p.Targets {
			expr, err := json.Marshal(strings.ReplaceAll(target.Expr, "$__rate_interval", "1m"))
			if err != nil {
				t.Fatal(err)
			}
			queries++
			rules += "{record: q, labels: {n: \"" + strings.Repeat("i", queries) + "\"}, expr: " + string(expr) + "},\n"
		}
	}
	if queries < 30 {
		t.Errorf("the dashboard has %d queries only", queries)
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte(rules+"]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("the dashboard's queries: %v\n%s", err, out)
	}
}
