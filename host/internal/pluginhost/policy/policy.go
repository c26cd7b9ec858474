// Package policy decides what should run of one plugin: which version, in which
// process, and when. It keeps P9: a new version serves only when it has started
// well, it is watched for a while, and the last version that was proven comes
// back when the new one is no good.
//
// A [Policy] is told what happens (to the file, to a process, by a person) and
// answers [Policy.Decide] with what is to be done now and with the plugin's
// [State]. It starts no goroutine, reads no clock and touches no file: what it
// must know of these comes as [Facts]. testdata/rules.txt shows each rule as the
// events that lead to it and what the policy does about them.
//
// One goroutine at a time may use a Policy. Start at [Policy.Decide].
package policy

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/status"
)

// Options are what the policy must know of a plugin's options.
type Options struct {
	Print      string // a fingerprint of all of them: options that differ have another
	Recreate   bool   // the old process ends before the new one starts
	Probation  time.Duration
	RestartMin time.Duration
	RestartMax time.Duration
	Keep       bool   // a plugin whose file was removed runs on
	SHA256     string // the only content that is allowed, in hex; "": any is
}

// allow reports whether a content may run with these options.
func (o Options) allow(sha256 string) bool {
	return o.SHA256 == "" || strings.EqualFold(o.SHA256, sha256)
}

// Version is what can run: a content with its options. Processes of equal versions
// don't differ.
type Version struct {
	SHA256  string // of the content
	Options Options
	Forced  int // how often a person has asked for a new start
}

// Times are the policy's own.
type Times struct {
	Healthy time.Duration // a process that has served for so long begins the backoff anew
	Verdict time.Duration // between two looks at a version on probation
	// Again is the wait until a version that did not start is tried once more beside
	// what serves. It doubles with each try, up to AgainMax.
	Again, AgainMax time.Duration
}

// Facts are what the policy can't know by itself.
type Facts struct {
	Now      time.Time
	Stopping bool            // the host is stopping; all processes are ended
	File     bool            // the folder holds a file of the plugin
	Whole    map[string]bool // the contents whose copies can be run, by sha256; see Contents
	Results  *entry.Results  // of the process that serves, if JudgesNow; nil: they are not known
	RunFails bool            // Plugin.Run of that process has failed lately
}

// Role is what a process is for.
type Role int

// The roles of a process.
const (
	Candidate Role = iota // it is being started, to serve
	Serving               // it gets the events, or does so as soon as it is ready
	Trier                 // a second process of what serves, for suspects
	Leaving               // it only has to end
)

// Process is one process of a plugin, from the decision to start it until it has
// Ended.
type Process struct {
	Version Version
	Role    Role
	ready   time.Time // zero: it never was
	asked   bool      // to end
	ran     bool      // it was allowed its Plugin.Run
}

// Ready reports whether it has been ready.
func (p *Process) Ready() bool { return !p.ready.IsZero() }

// Why a process is asked to end, and what a person reads of it.
var (
	ErrStopping = errors.New("the host is stopping")
	ErrRemoved  = errors.New("its file was removed")
	ErrReplaced = errors.New("another version takes over")
	ErrRetired  = errors.New("there is nothing more to try in it")
)

// Policy is the state of one plugin, as far as decisions hang on it.
type Policy struct {
	name    string
	times   Times
	rnd     *rand.Rand
	forced  int // starts that a person has asked for
	Options Options
	Record  Record // see Decision.Save

	content  string    // what should run, unless it is refused or a person went back; "": nothing was staged
	declined string    // why the file that is there is not staged; "": it was
	reload   bool      // the next staging is at a person's order
	restage  time.Time // stage the file again; zero: no need
	removed  bool      // the file was removed: stop everything
	left     bool      // and that is done

	processes []*Process
	proven    Version // in this host's life, the last one; zero: none
	failures  int     // in a row
	restarts  int     // after failures, since the host's start
	retry     time.Time
	why       string // the last failure, or what the plugin waits for
	refusal   *status.Refusal
	crash     *status.Crash // the last one
	probation *probation
	before    score // of what served before

	do Decision // what events have asked for since the last Decide
}

// New makes the policy of a plugin of which no file has been staged yet. record
// is what is remembered of an earlier host's life.
func New(name string, o Options, record Record, times Times, rnd *rand.Rand) *Policy {
	return &Policy{name: name, Options: o, Record: record, times: times, rnd: rnd}
}

// Contents are those that may be needed, by sha256: their copies must stay.
func (p *Policy) Contents() []string {
	needed := append([]string{p.content, p.proven.SHA256}, p.Record.Proven...)
	if p.Record.Pin != nil {
		needed = append(needed, p.Record.Pin.To)
	}
	for _, r := range p.processes {
		needed = append(needed, r.Version.SHA256)
	}
	needed = slices.DeleteFunc(needed, func(sum string) bool { return sum == "" })
	slices.Sort(needed)
	return slices.Compact(needed)
}

// Uses reports whether a version that may be needed has the options of a fingerprint.
func (p *Policy) Uses(print string) bool {
	return print == p.Options.Print || print == p.proven.Options.Print ||
		slices.ContainsFunc(p.processes, func(r *Process) bool { return r.Version.Options.Print == print })
}

// The is the process of a role, any of Leaving; nil: there is none.
func (p *Policy) The(role Role) *Process {
	if i := slices.IndexFunc(p.processes, func(r *Process) bool { return r.Role == role }); i >= 0 {
		return p.processes[i]
	}
	return nil
}

// current is a content with the options and the count that are in force now.
func (p *Policy) current(sha256 string) Version {
	return Version{SHA256: sha256, Options: p.Options, Forced: p.forced}
}

// start has a process started.
func (p *Policy) start(v Version, role Role) {
	r := &Process{Version: v, Role: role}
	p.processes = append(p.processes, r)
	p.do.Start = append(p.do.Start, r)
}

// stop has a process ended in order; the first cause counts.
func (p *Policy) stop(r *Process, cause error) {
	if !r.asked {
		r.asked = true
		p.do.Stop = append(p.do.Stop, Stop{r, cause})
	}
}

// stopAll has all processes ended in order.
func (p *Policy) stopAll(cause error) {
	for _, r := range p.processes {
		p.stop(r, cause)
		r.Role = Leaving
	}
	p.probation = nil
}

// calm ends the backoff.
func (p *Policy) calm() { p.failures, p.retry = 0, time.Time{} }

// fallback finds what to go back to from v: what serves, if that is another
// version, or what was proven last, with the options that it was proven with, if
// they are known.
func (p *Policy) fallback(f Facts, v Version) (Version, bool) {
	var older []Version
	if s := p.The(Serving); s != nil {
		older = append(older, s.Version)
	}
	older = append(older, p.proven)
	for _, sum := range slices.Backward(p.Record.Proven) {
		older = append(older, p.current(sum))
	}
	for _, w := range older {
		other := w.SHA256 != v.SHA256 || w.Options.Print != v.Options.Print
		if other && f.Whole[w.SHA256] && !p.refused(f, w) && p.Options.allow(w.SHA256) {
			return w, true
		}
	}
	return v, false
}

// refused reports whether v must not be started now.
func (p *Policy) refused(f Facts, v Version) bool {
	was, refused := p.Record.refusal(v)
	return refused && (was.Again.IsZero() || f.Now.Before(was.Again))
}

// isProven reports whether a failure of v is not the version's fault: the content
// has worked, and with these options as far as we know.
func (p *Policy) isProven(v Version) bool {
	return p.Record.HasProven(v.SHA256) &&
		(p.proven.SHA256 != v.SHA256 || p.proven.Options.Print == v.Options.Print)
}

// prove notes that v has done well: it is what to go back to. A version that a
// person went back to keeps its place among the others.
func (p *Policy) prove(v Version) {
	p.proven = v
	if p.Record.Pin == nil || p.Record.Pin.To != v.SHA256 {
		p.Record.prove(v.SHA256)
	}
	p.Record.pardon(func(c RefusedContent) bool { return c.SHA256 == v.SHA256 && c.Options == v.Options.Print })
	p.do.Save = true
}

// refuse gives a version up until its file or the config changes. What takes its
// place follows from the next Decide.
func (p *Policy) refuse(f Facts, v Version, reason string) {
	p.refuseAs(f, v, RefusedContent{Reason: reason})
}

func (p *Policy) refuseAs(f Facts, v Version, c RefusedContent) {
	c.SHA256, c.Options, c.At = v.SHA256, v.Options.Print, f.Now
	p.Record.refuse(c)
	p.calm()
	p.why, p.do.Save = c.Reason, true
	p.refusal = &status.Refusal{SHA256: v.SHA256, Reason: c.Reason, At: f.Now, Tried: true, Again: c.Again}
	verdict := GivenUp
	if s := p.The(Serving); s != nil && s.Version != v {
		verdict = KeptOld
	} else if _, back := p.fallback(f, v); back {
		verdict = RolledBack
	}
	p.do.News = append(p.do.News, News{verdict, errors.New(c.Reason), p.failures, c.Tries, c.Again})
}

func (p *Policy) tell(of Verdict, err error) {
	p.do.News = append(p.do.News, News{Verdict: of, Err: err, Failures: p.failures})
}

// earliest is the first of the times after now, an hour from now at the latest.
func earliest(now time.Time, times ...time.Time) time.Time {
	times = slices.DeleteFunc(times, func(t time.Time) bool { return !t.After(now) })
	return slices.MinFunc(append(times, now.Add(time.Hour)), time.Time.Compare)
}
