package policy

import (
	"fmt"
	"time"

	"balhost/host/internal/entry"
)

// probation watches a new version that serves. While it lasts, a crash, a hang or
// too many errors bring the old version back; so does a handler that hangs, unless
// the old version's did. It lasts for its time, and then until an event was handled
// (if any was handed out), all that was handed out in its time has come back, and
// Plugin.Run goes on. A version without a fallback has no probation: there is
// nothing to go back to.
type probation struct {
	process *Process
	until   time.Time
	next    time.Time // look again
}

// score is how well a version does.
type score struct {
	entry.Results
	crashes int // in a row, that the next version may have too before it is rolled back
}

// A new version does worse than the old one when all of these hold:
//   - it was handed at least enoughEvents events, or its time is over;
//   - at least enoughFailures of them failed (an error, a panic or a timeout; a
//     rejection is no failure);
//   - the share of failures is over the old version's by more than tolerance.
//
// An event that had failed before it came to the new version doesn't count when it
// fails again. Nor does a handler that hangs over an event for which the old process
// had to be ended: it may have hung there too, but not for long enough to count. The
// old version's share is that of its whole life, or none. The new version may crash
// as often as the old one did in a row of late.
const (
	enoughEvents   = 20
	enoughFailures = 5
	tolerance      = 0.05
)

func (s score) share() float64 {
	if s.events() == 0 {
		return 0
	}
	return float64(s.failed()) / float64(s.events())
}

func (s score) failed() uint64 { return s.Failed - s.Old }

func (s score) events() uint64 { return s.Handled + s.failed() }

// worse says why a version does worse than the old one, of enough events at least;
// "": it doesn't, or can't be told yet.
func (s score) worse(old score, enough uint64) string {
	if own := s.Stuck - s.Ended; own > old.Stuck {
		return fmt.Sprintf("hung: %d of its handlers went on after their time was up, of the one's before it %d", own, old.Stuck)
	}
	if s.events() < enough || s.failed() < enoughFailures || s.share() <= old.share()+tolerance {
		return ""
	}
	return fmt.Sprintf("%d of its first %d attempts failed (%.0f %%), of the one's before it %.1f %%",
		s.failed(), s.events(), 100*s.share(), 100*old.share())
}

// idle reports whether it has handled nothing, although there was something.
func (s score) idle() bool { return s.Handled == 0 && (s.Failed > 0 || s.Holds > 0) }

// owes reports whether an event that was handed out in time has not come back: its
// handler may hang.
func (s score) owes(until time.Time) bool {
	return s.Stuck > 0 || !s.Oldest.IsZero() && s.Oldest.Before(until)
}

// score is that of the process that serves, of which Results are known.
func (p *Policy) score(f Facts, r *Process) score {
	if p.healthy(f, r) {
		return score{Results: *f.Results}
	}
	return score{*f.Results, p.before.crashes}
}

// JudgesNow reports whether the next Decide looks at the Results of what serves.
func (p *Policy) JudgesNow(now time.Time) bool {
	return p.probation != nil && !now.Before(p.probation.next)
}

// watch begins the probation of what serves now, or proves it at once.
func (p *Policy) watch(f Facts, r *Process) {
	v := r.Version
	if _, back := p.fallback(f, v); p.isProven(v) || !back || v.Options.Probation == 0 {
		p.prove(v)
		return
	}
	p.probation = &probation{process: r, until: f.Now.Add(v.Options.Probation), next: f.Now}
}

// judge ends a probation: by a verdict, or when its time is over and all is well.
func (p *Policy) judge(f Facts) {
	w := p.probation
	if f.Stopping || !p.JudgesNow(f.Now) {
		return
	}
	late, enough := !f.Now.Before(w.until), uint64(enoughEvents)
	if w.next = f.Now.Add(p.times.Verdict); late {
		enough = 0
	} else if w.next.After(w.until) {
		w.next = w.until
	}
	if f.Results == nil { // neither good nor bad
		return
	}
	score := p.score(f, w.process)
	if reason := score.worse(p.before, enough); reason != "" {
		p.probation = nil
		p.refuse(f, w.process.Version, reason)
	} else if late && !score.idle() && !score.owes(w.until) && !f.RunFails {
		p.probation, p.before.crashes = nil, 0
		p.tell(Proven, nil)
		p.prove(w.process.Version)
	}
}
