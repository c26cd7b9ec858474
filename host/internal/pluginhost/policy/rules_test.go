package policy

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/entry"
)

var update = flag.Bool("update", false, "write what comes out into testdata/rules.txt")

// TestRules plays testdata/rules.txt: what happens, and what the policy makes of
// it. The file's head explains its words. // P9
func TestRules(t *testing.T) {
	const path = "testdata/rules.txt"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	var r *rule
	title := ""
	for n, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		event, want, isEvent := strings.Cut(line, "->")
		switch {
		case strings.HasPrefix(line, "## "):
			r, title = newRule(t), line
		case isEvent && r != nil:
			got := r.play(strings.TrimSpace(event))
			if want = strings.TrimSpace(want); got != want && !*update {
				t.Errorf("%s:%d: %s\n%s\n\t got %s\n\twant %s", path, n+1, title, strings.TrimSpace(event), got, want)
			}
			line = strings.TrimRight(fmt.Sprintf("%-31s -> %s", strings.TrimRight(event, " "), got), " ")
		}
		out = append(out, line)
	}
	if *update {
		if err := os.WriteFile(path, []byte(strings.Join(out, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// rule is one of them under way.
type rule struct {
	t         *testing.T
	policy    *Policy
	facts     Facts
	processes map[string][]*Process // that have not ended, by name
	names     map[*Process]string
}

func newRule(t *testing.T) *rule {
	o := Options{Print: "first", RestartMin: time.Second, RestartMax: time.Minute, Probation: 30 * time.Second}
	return &rule{
		t: t, processes: map[string][]*Process{}, names: map[*Process]string{},
		policy: New("echo", o, Record{}, Times{Healthy: 5 * time.Minute, Verdict: time.Second, Again: time.Minute, AgainMax: time.Hour}, rand.New(rand.NewPCG(1, 2))),
		facts:  Facts{Now: time.Unix(1e9, 0), Whole: map[string]bool{}, Results: &entry.Results{}},
	}
}

// play has an event happen and says what is decided upon it.
func (r *rule) play(line string) string {
	words := strings.Fields(line)
	event, arg := words[0], strings.Join(words[1:], " ")
	name, reason, _ := strings.Cut(arg, ": ")
	p := r.policy
	var said []string
	switch event {
	case "remembered": // of an earlier host's life
		p.Record.Proven = words[1:]
		for _, sum := range words[1:] {
			r.facts.Whole[sum] = true
		}
	case "with":
		p.Configure(r.facts, r.options(p.Options, words[1:]))
	case "file":
		r.facts.File, r.facts.Whole[arg] = true, true
		p.Staged(arg)
	case "removed":
		r.facts.File = false
		if p.Remove() {
			said = append(said, "it is kept")
		}
	case "declined":
		r.facts.File = true
		p.Decline(r.facts, "", arg)
	case "delayed":
		r.facts.File = true
		p.Delay(r.facts, arg)
		p.Restage(r.facts.Now.Add(5 * time.Second))
	case "busy":
		p.Busy(r.facts)
	case "damaged":
		delete(r.facts.Whole, arg)
	case "configured":
		p.Configured(r.facts, r.process(name))
	case "ready":
		p.Started(r.facts, r.process(name))
	case "up": // both
		p.Configured(r.facts, r.process(name))
		said = append(said, r.decided(p.Decide(r.facts), false)...)
		p.Started(r.facts, r.process(name))
	case "ended", "crash", "fault", "unable":
		x := Failure{Err: errors.New(reason), Fault: event == "fault", Started: event != "unable"}
		gone := r.process(name)
		r.processes[name] = r.processes[name][1:]
		p.Exited(gone)
		p.Ended(r.facts, gone, x)
	case "try":
		p.Try(r.facts, r.process(name))
	case "retire":
		p.Retire(r.process(name))
	case "rollback":
		if _, err := p.RollBack(r.facts); err != nil {
			said = append(said, "error: "+err.Error())
		}
	case "reload":
		p.Reload()
	case "again":
		p.Again()
	case "results":
		r.facts.Results = r.results(words[1:])
	case "run":
		r.facts.RunFails = arg == "fails"
	case "stopping":
		r.facts.Stopping = true
	case "after":
		d, err := time.ParseDuration(arg)
		if err != nil {
			r.t.Fatal(err)
		}
		r.facts.Now = r.facts.Now.Add(d)
	default:
		r.t.Fatalf("what is %q?", line)
	}
	d := p.Decide(r.facts)
	if !d.Next.After(r.facts.Now) {
		r.t.Errorf("%s: decide again at %v, which is over", line, d.Next)
	}
	said = append(r.decided(d, true), said...)
	if again := p.Decide(r.facts); len(r.decided(again, false)) > 0 {
		r.t.Errorf("%s: nothing has happened since, and yet there is to do %q", line, r.decided(again, false))
	}
	return strings.Join(said, ", ")
}

// process is the oldest of a name that has not ended.
func (r *rule) process(name string) *Process {
	if len(r.processes[name]) == 0 {
		r.t.Fatalf("there is no process %q", name)
	}
	return r.processes[name][0]
}

// decided says what a decision is, and has its processes started.
func (r *rule) decided(d Decision, state bool) (said []string) {
	say := func(yes bool, format string, args ...any) {
		if yes {
			said = append(said, fmt.Sprintf(format, args...))
		}
	}
	if state {
		text := string(d.State)
		if d.Shown != nil {
			text += " " + r.name(d.Shown)
		}
		say(true, "%s", text)
		say(d.Reason != "", "%q", d.Reason)
		say(!d.Probation.IsZero(), "probation")
		say(d.Pinned, "pinned")
		say(d.Candidate != "", "candidate")
	}
	for _, n := range d.News {
		text := []string{"proven", "retried", "declined", "kept old", "rolled back", "given up", "still refused"}[n.Verdict]
		if n.Err != nil {
			text += ": " + n.Err.Error()
		}
		if !n.Again.IsZero() {
			text += ", again after " + n.Again.Sub(r.facts.Now).String()
		}
		say(true, "%s", text)
	}
	say(d.Resumed != "", "resume %s", d.Resumed)
	say(d.Stage, "stage")
	for _, p := range d.Start {
		name := r.name(p)
		r.processes[name] = append(r.processes[name], p)
		again := ""
		if d.Restart {
			again = " again"
		}
		say(true, "start %s%s", name, again)
	}
	for _, s := range d.Stop {
		say(true, "stop %s", r.name(s.Process))
	}
	for _, p := range d.Permit {
		say(true, "%s may serve", r.name(p))
	}
	if d.Run != nil {
		say(true, "%s may Run", r.name(d.Run))
	}
	say(d.Leave, "leave")
	return said
}

// name is a process's: its content's, with the options after a slash unless they
// are the first ones.
func (r *rule) name(p *Process) string {
	if r.names[p] == "" {
		r.names[p] = p.Version.SHA256
		if p.Version.Options.Print != "first" {
			r.names[p] += "/" + p.Version.Options.Print
		}
		if p.Role == Trier {
			r.names[p] = "trier"
		}
	}
	return r.names[p]
}

func (r *rule) options(o Options, words []string) Options {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "recreate":
			o.Recreate = true
		case "keep", "stop":
			o.Keep = key == "keep"
		case "only":
			o.SHA256 = value
		case "probation":
			o.Probation, _ = time.ParseDuration(value)
		}
		o.Print = key
	}
	return o
}

func (r *rule) results(words []string) *entry.Results {
	if words[0] == "unknown" {
		return nil
	}
	var x entry.Results
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		n, _ := strconv.Atoi(value)
		switch key {
		case "handled":
			x.Handled = uint64(n)
		case "failed":
			x.Failed = uint64(n)
		case "old":
			x.Old = uint64(n)
		case "holds":
			x.Holds, x.Oldest = n, r.facts.Now
		case "stuck":
			x.Stuck = n
		case "ended":
			x.Ended = n
		default:
			r.t.Fatalf("what is %q?", w)
		}
	}
	return &x
}
