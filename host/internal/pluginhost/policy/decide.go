package policy

import (
	"slices"
	"time"

	"balhost/host/internal/status"
)

// State says where a plugin is in its life.
type State = status.State

// The states of a plugin.
const (
	Discovered State = "discovered" // seen in the folder; its file was not staged yet
	Starting   State = "starting"   // from the start of its process until it is ready
	Running    State = "running"    // takes events
	Draining   State = "draining"   // finishes what it holds, if anything, then is stopped
	Backoff    State = "backoff"    // crashed, hung or was not able to start; tried again at Retry
	Refused    State = "refused"    // this content is not tried again until the file changes
	Stopped    State = "stopped"    // its file is gone, or the host is stopping
)

// Decision is what is to be done, in this order, and what a person should know.
type Decision struct {
	News    []News     // what became of versions, for the log
	Resumed string     // the proven content that is started since the file can't be staged; "": none
	Save    bool       // the Record has changed
	Stage   bool       // stage the file
	Stop    []Stop     // processes to end in order
	Start   []*Process // new ones
	Restart bool       // one of these follows a failure
	Permit  []*Process // they may serve
	Run     *Process   // its Plugin.Run may begin, since no other process of the plugin runs; nil: none
	Leave   bool       // the plugin's file is gone and so are its processes: tidy up
	Next    time.Time  // decide again then, or earlier when something happens

	State     State
	Reason    string    // why it is in this state, or why its last process ended
	Shown     *Process  // the one that the state tells of; nil: none
	Retry     time.Time // Backoff: when it is started again
	Restarts  int
	Candidate string          // sha256 of a content that is being started to take over
	Probation time.Time       // when that of what serves ends; zero: there is none
	Previous  []string        // sha256 of the contents that were proven before, the newest first: RollBack goes to one of them
	Pinned    bool            // a person went back from the content of the file
	Refusal   *status.Refusal // the last one; nil when a later content was taken
	Crash     *status.Crash   // the last one
}

// Stop is a process to end in order, and why.
type Stop struct {
	*Process
	Cause error
}

// Verdict is what became of a version.
type Verdict int

// The verdicts.
const (
	Proven       Verdict = iota // it has passed its probation
	Retried                     // it failed, and is started again after a delay
	Declined                    // its file is not staged
	KeptOld                     // refused: what served before goes on
	RolledBack                  // refused: what was proven last comes back
	GivenUp                     // refused: there is nothing to go back to
	StillRefused                // refused in an earlier host's life, or with this content before
)

// News is a verdict with its reason.
type News struct {
	Verdict
	Err      error
	Failures int       // in a row
	Tries    int       // starts of a refused version that failed for what may lie outside of it; 0: it is refused for good
	Again    time.Time // it is tried once more then; zero: when a person asks for it
}

// Decide says what is to be done now. The policy counts on it that it is done.
func (p *Policy) Decide(f Facts) (d Decision) {
	p.judge(f)
	if !p.restage.IsZero() && !f.Now.Before(p.restage) {
		p.stage()
	}
	p.replaceCopy(f)
	state, reason := p.act(f)
	state, reason = p.shown(f, state, reason)
	if s := p.The(Serving); s != nil && s.Ready() && !s.ran && p.leaving() == 0 {
		s.ran, p.do.Run = true, s
	}

	d, p.do = p.do, Decision{}
	d.State, d.Reason, d.Retry, d.Restarts, d.Refusal, d.Crash = state, reason, p.retry, p.restarts, p.refusal, p.crash
	if state == Backoff && p.content == "" && !p.restage.IsZero() {
		d.Retry = p.restage
	}
	d.Pinned = p.Record.pinned(p.content) != ""
	again, _ := p.Record.refusal(p.current(p.content))
	d.Next = earliest(f.Now, p.retry, p.restage, again.Again)
	if p.probation != nil {
		d.Probation, d.Next = p.probation.until, earliest(f.Now, d.Next, p.probation.next)
	}
	p.show(&d)
	return d
}

// want says what should run now; false for nothing.
func (p *Policy) want(f Facts) (Version, bool) {
	v := p.current(p.content)
	if p.removed || p.content == "" {
		return v, false
	}
	if to := p.Record.pinned(p.content); f.Whole[to] {
		v.SHA256 = to
	}
	if !p.refused(f, v) {
		return v, true
	}
	return p.fallback(f, v)
}

// act brings about what should run: it starts what is missing and stops what is
// in the way. It names the state that the plugin is in until something serves.
func (p *Policy) act(f Facts) (State, string) {
	want, wanted := p.want(f)
	serving, candidate := p.The(Serving), p.The(Candidate)
	switch {
	case f.Stopping:
		return Stopped, ErrStopping.Error()
	case p.removed:
		p.stopAll(ErrRemoved)
		if len(p.processes) == 0 && !f.File && !p.left {
			p.leave()
		}
		return Stopped, ErrRemoved.Error()
	case p.content == "":
		return p.unstaged()
	case !wanted:
		return Refused, p.why
	case candidate != nil: // one change at a time
		if candidate.Version != want {
			p.stop(candidate, ErrReplaced) // a newer version supersedes it, at its end
		}
	case serving != nil && serving.Version == want:
	case f.Now.Before(p.retry):
		return Backoff, p.why
	case p.alone(want): // recreate: all others end first
		if p.stopAll(ErrReplaced); len(p.processes) == 0 {
			p.startCandidate(want)
		}
	case serving != nil && !p.refused(f, serving.Version) && p.leaving() > 0: // handover: one at a time; a way back doesn't wait
	default:
		p.startCandidate(want)
	}
	return Starting, p.why
}

// unstaged is the state of a plugin of which nothing was staged.
func (p *Policy) unstaged() (State, string) {
	switch {
	case p.declined != "":
		return Refused, p.declined
	case p.why != "" && !p.restage.IsZero(), !p.retry.IsZero():
		return Backoff, p.why
	}
	return Discovered, p.why
}

// shown is the state with the processes that there are: what serves, serves on
// whatever the policy waits for.
func (p *Policy) shown(f Facts, waiting State, reason string) (State, string) {
	serving := p.The(Serving)
	switch {
	case waiting == Stopped && len(p.processes) > 0:
		return Draining, reason
	case waiting == Stopped:
	case serving != nil && (serving.Ready() || p.leaving() > 0): // the old process serves until the new one does
		return Running, p.why
	case serving != nil || p.The(Candidate) != nil:
		return Starting, p.why
	case p.leaving() > 0:
		return Draining, ErrReplaced.Error()
	}
	return waiting, reason
}

// show says which process a person should see, and what else there is.
func (p *Policy) show(d *Decision) {
	candidate := p.The(Candidate)
	for _, role := range []Role{Leaving, Candidate, Serving} {
		if r := p.The(role); r != nil {
			d.Shown = r
		}
	}
	if candidate != nil && candidate != d.Shown {
		d.Candidate = candidate.Version.SHA256
	}
	d.Previous = p.Record.Proven
	if d.Shown != nil {
		d.Previous = p.Record.before(d.Shown.Version.SHA256)
	}
	d.Previous = slices.Clone(d.Previous)
	slices.Reverse(d.Previous)
}

// replaceCopy has the file staged anew when the copy of what is to be started is
// missing or damaged.
func (p *Policy) replaceCopy(f Facts) {
	serving := p.The(Serving)
	if p.content == "" || p.removed || f.Whole[p.content] || serving != nil && serving.Version.SHA256 == p.content {
		return
	}
	p.content = ""
	if p.stage(); !f.File {
		p.resume(f)
	}
}

// alone reports whether v can't start beside what runs.
func (p *Policy) alone(v Version) bool {
	return v.Options.Recreate || slices.ContainsFunc(p.processes, func(r *Process) bool { return r.Version.Options.Recreate })
}

// leaving counts the processes that only have to end.
func (p *Policy) leaving() (n int) {
	for _, r := range p.processes {
		if r.Role == Leaving {
			n++
		}
	}
	return n
}

func (p *Policy) startCandidate(v Version) {
	if !p.retry.IsZero() {
		p.retry = time.Time{}
		p.restarts++
		p.do.Restart = true
	}
	p.start(v, Candidate)
}

// leave forgets a plugin whose file is gone.
func (p *Policy) leave() {
	p.left, p.do.Leave = true, true
	p.forget()
	p.calm()
	p.declined, p.why = "", ""
}

// forget forgets all contents.
func (p *Policy) forget() { p.content, p.proven, p.Record = "", Version{}, Record{} }
