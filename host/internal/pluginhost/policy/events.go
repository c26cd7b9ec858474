package policy

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/mend"
	"balhost/host/internal/status"
)

// What happens to the file.

// Staged tells that the file's content was staged. It is what should run now. It
// reports whether that is another than before.
func (p *Policy) Staged(sha256 string) (other bool) {
	p.reloaded()
	if other = sha256 != p.content; !other && !p.removed {
		p.Again() // a person has touched the file
	}
	p.calm()
	p.declined, p.removed, p.left, p.content, p.refusal = "", false, false, sha256, nil
	if other {
		p.why = "" // it was about what the file held before
	}
	if p.Record.Pin != nil && p.Record.Pin.Instead != sha256 {
		p.Record.Pin = nil
	}
	p.do.Save = true
	if was, refused := p.Record.refusal(p.current(sha256)); refused {
		p.why = was.Reason
		p.refusal = &status.Refusal{SHA256: was.SHA256, Reason: was.Reason, At: was.At, Tried: true, Again: was.Again}
		p.do.News = append(p.do.News, News{StillRefused, errors.New(was.Reason), p.failures, was.Tries, was.Again})
	}
	return other
}

// Decline tells that the file can't be taken as it is, and why. What was taken
// before goes on.
func (p *Policy) Decline(f Facts, sha256, reason string) {
	p.reloaded()
	p.resume(f)
	if p.declined == reason {
		return // told before
	}
	p.declined, p.do.Save = reason, true
	p.refusal = &status.Refusal{SHA256: sha256, Reason: reason, At: f.Now}
	p.tell(Declined, errors.New(reason))
}

// Delay tells that the file can't be staged yet, and why: for its circumstances,
// or since it is still being written. What was staged before goes on.
func (p *Policy) Delay(f Facts, reason string) {
	p.reloaded()
	p.resume(f)
	p.why = reason
}

// Busy tells that the file is still being written.
func (p *Policy) Busy(f Facts) {
	if !p.removed {
		p.resume(f)
	}
	if p.content == "" {
		p.why = "its file is still being written"
	}
}

// Restage has the file staged again at a time.
func (p *Policy) Restage(at time.Time) {
	p.reloaded()
	p.restage = at
}

// Remove tells that the file is gone. It reports whether the plugin runs on.
func (p *Policy) Remove() (kept bool) {
	p.restage = time.Time{}
	if p.Options.Keep && p.content != "" {
		return true
	}
	p.removed = true
	return false
}

// stage has the file staged.
func (p *Policy) stage() { p.restage, p.do.Stage = time.Time{}, true }

// resume is for a file that can't be staged: what served before does so again,
// also after a start of the host.
func (p *Policy) resume(f Facts) {
	if p.removed {
		p.removed, p.left = false, false
		p.forget()
	}
	if p.content != "" {
		return
	}
	if v, ok := p.fallback(f, p.current("")); ok {
		p.content, p.do.Resumed = v.SHA256, v.SHA256
	}
}

// What a person asks for.

// Reload has the file staged and what it holds started anew, whatever became of it.
func (p *Policy) Reload() {
	p.reload, p.declined = true, ""
	p.stage()
}

// reloaded is the end of a staging. At a person's order refusals and the pin are
// forgotten.
func (p *Policy) reloaded() {
	if p.reload {
		p.reload = false
		p.Record.Refused, p.Record.Pin, p.do.Save = nil, nil, true
		p.forced++
		p.calm()
	}
}

// RollBack goes back to what was proven before what serves now, until the file
// changes. Once more, it goes back to what was proven before that.
func (p *Policy) RollBack(f Facts) (to string, err error) {
	if p.content == "" || p.removed {
		return "", fmt.Errorf("plugin %q has nothing to roll back from: nothing of it runs or is about to", p.name)
	}
	if p.Options.SHA256 != "" {
		return "", fmt.Errorf("plugin %q: config.hcl's sha256 allows one content only: change it there", p.name)
	}
	current := p.content
	if s := p.The(Serving); s != nil {
		current = s.Version.SHA256
	}
	for _, sum := range slices.Backward(p.Record.before(current)) {
		if !f.Whole[sum] || p.refused(f, p.current(sum)) {
			continue
		}
		if p.Record.Pin = nil; sum != p.content {
			p.Record.Pin = &Pin{To: sum, Instead: p.content}
		}
		p.calm()
		p.do.Save = true
		return sum, nil
	}
	if p.Record.pinned(p.content) != "" {
		return "", fmt.Errorf("plugin %q is rolled back already, and has no older proven content; balhost reload %s --force starts what its file holds", p.name, p.name)
	}
	return "", fmt.Errorf("plugin %q has no other proven content to go back to", p.name)
}

// Configure puts other options in force. A version that was refused with the old
// ones may work with these.
func (p *Policy) Configure(f Facts, o Options) {
	p.Options, p.declined = o, ""
	p.calm()
	if f.File {
		p.stage()
	} else if p.content != "" && !o.Keep {
		p.removed = true
	}
}

// What happens to a process.

// Configured tells that a process is configured: it may serve, if it is wanted still.
func (p *Policy) Configured(f Facts, r *Process) {
	switch {
	case r.asked || r.Role == Leaving:
		return
	case r.Role == Candidate:
		if old := p.The(Serving); old != nil {
			if p.probation == nil && f.Results != nil { // else the score stays that of the one before it
				p.before = p.score(f, old)
			}
			old.Role = Leaving
		}
		r.Role, p.probation = Serving, nil
	}
	p.do.Permit = append(p.do.Permit, r)
}

// Started tells that a process is ready. What served before finishes what it holds.
func (p *Policy) Started(f Facts, r *Process) {
	r.ready = f.Now
	if r.Role != Serving {
		return
	}
	for _, other := range p.processes {
		if other.Role == Trier || other.Role == Leaving {
			p.stop(other, ErrReplaced)
			other.Role = Leaving
		}
	}
	if p.why = ""; p.refusal != nil && p.refusal.SHA256 == r.Version.SHA256 { // it has started after all
		p.refusal = nil
	}
	p.watch(f, r)
}

// Try asks for a second process of the one that serves, for suspects. There may be
// none now; then it is asked for again.
func (p *Policy) Try(f Facts, r *Process) {
	switch {
	case r.Role != Serving || p.The(Trier) != nil || f.Stopping || p.alone(r.Version):
	case !f.Whole[r.Version.SHA256]:
		p.stage()
	default:
		p.start(r.Version, Trier)
	}
}

// Retire tells that there is nothing more to try in a process.
func (p *Policy) Retire(r *Process) {
	if r.Role == Trier {
		p.stop(r, ErrRetired)
	}
}

// Exited tells that a process has exited and the dispatcher hears of it next, so
// that it may ask for another trier at once. Ended follows.
func (p *Policy) Exited(r *Process) {
	if r.Role == Trier {
		r.Role = Leaving
	}
}

// Failure is how a process ended unasked.
type Failure struct {
	Err     error
	Fault   bool // of the content: it would fail again
	Started bool // there was a process of the system
}

// Ended tells that nothing is left of a process. x says how it ended, unless it
// was asked to.
func (p *Policy) Ended(f Facts, r *Process, x Failure) {
	p.processes = slices.DeleteFunc(p.processes, func(o *Process) bool { return o == r })
	if r.Role == Serving && !r.Ready() { // so what served before still does
		for _, old := range p.processes {
			if old.Role == Leaving && !old.asked {
				old.Role = Serving
			}
		}
	}
	if (r.Role == Candidate || r.Role == Serving) && !r.asked && !f.Stopping {
		p.failed(f, r, x)
	}
	if r.Role == Serving {
		p.probation = nil
	}
}

// failed decides whether a version is refused for its failure or tried again.
func (p *Policy) failed(f Facts, r *Process, x Failure) {
	_, back := p.fallback(f, r.Version)
	back = back || p.The(Serving) != nil
	watched := p.probation != nil && p.probation.process == r
	spared := watched && p.before.crashes > 0 // the version before it was no better
	trial := !r.Ready() || watched && !spared
	if !p.isProven(r.Version) && trial && (x.Fault || back && x.Started) {
		if reason := x.Err.Error(); x.Fault || r.Ready() {
			p.refuse(f, r.Version, reason)
		} else {
			p.setAside(f, r.Version, reason)
		}
		return
	}
	if p.healthy(f, r) {
		p.failures = 0
	}
	p.failures++
	if spared {
		p.before.crashes--
	} else {
		p.before.crashes = p.failures
	}
	err := mend.With(x.Err)
	delay := backoff.Policy{Min: p.Options.RestartMin, Max: p.Options.RestartMax}.DelayAtLeast(p.failures, p.rnd)
	p.why, p.retry = err.Error(), f.Now.Add(delay)
	p.crash = &status.Crash{Reason: p.why, At: f.Now}
	p.tell(Retried, err)
}

// healthy reports whether a process has served for so long that the failures
// before it are forgotten.
func (p *Policy) healthy(f Facts, r *Process) bool {
	return r.Ready() && f.Now.Sub(r.ready) >= p.times.Healthy
}
