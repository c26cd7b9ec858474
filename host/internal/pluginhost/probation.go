package pluginhost

import (
	"context"
	"fmt"
	"time"

	"balhost/host/internal/instance"
)

// probation watches a new version that serves: while it lasts, a crash, a hang
// or too many errors take the old one back; a handler that hangs does, unless the
// old one's did. It lasts its time, and then until one event was handled, if any
// was handed out, all that was handed out in its time has come back, and Run
// goes on. A version without a fallback has
// none: there is nothing to take back.
type probation struct {
	life  *life
	until time.Time
	next  time.Time // look again
}

// score is how well a version does.
type score struct {
	instance.Results
	crashes int // that the next version may have too, before it is taken back
}

// A new version does worse than the old one when, of at least enoughEvents
// events (at the end of its time: of however many there were), at least
// enoughFailures failed (error, panic or timeout; a rejection is no failure),
// and the share of failures is over the old one's by more than tolerance. An
// event that had failed before it came to the new one counts for nothing when it fails
// again. So does a handler that hangs over an event which the old process had to be
// ended over: it may have hung there, and not for long enough to count. The old one's
// share is that of its whole life, none without one. It may crash as often as the old
// one did in a row of late.
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

// worse says why a new version does worse than the old one; "": it doesn't, as
// far as enough events can tell.
func (s score) worse(old score, enough uint64) string {
	if s.events() < enough || s.failed() < enoughFailures || s.share() <= old.share()+tolerance {
		return ""
	}
	return fmt.Sprintf("%d of its first %d attempts failed (%.0f %%), of the one's before it %.1f %%",
		s.failed(), s.events(), 100*s.share(), 100*old.share())
}

// idle reports whether it has handled nothing, although there was something.
func (s score) idle() bool { return s.Handled == 0 && (s.Failed > 0 || s.Holds > 0) }

// owes reports whether something that was handed out in time has not come back:
// its handler may hang.
func (s score) owes(until time.Time) bool {
	return s.Stuck > 0 || !s.Oldest.IsZero() && s.Oldest.Before(until)
}

// score asks for a process's; known is false when it is not to be had now.
func (s *supervisor) score(l *life) (of score, known bool) {
	if l == nil || !l.known {
		return of, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.host.limits.moment)
	defer cancel()
	results, err := l.dispatch.Results(ctx)
	if err != nil {
		return of, false
	}
	if s.healthy(l) {
		return score{Results: results}, true
	}
	return score{results, s.before.crashes}, true
}

// watch begins the probation of what serves now, or proves it at once.
func (s *supervisor) watch(l *life) {
	_, back := s.fallback(l.version)
	if s.isProven(l.version) || !back || l.version.options.Probation == 0 {
		s.prove(l.version)
		return
	}
	now := time.Now()
	s.probation = &probation{life: l, until: now.Add(l.version.options.Probation), next: now}
}

// judge ends a probation: by its time, or by a verdict.
func (s *supervisor) judge(ctx context.Context) {
	p, now := s.probation, time.Now()
	if p == nil || now.Before(p.next) || ctx.Err() != nil {
		return
	}
	late, enough := !now.Before(p.until), uint64(enoughEvents)
	if late {
		enough = 0
	}
	score, known := s.score(p.life)
	if !known { // neither good nor bad: the old one's score says nothing of it
		p.next = now.Add(s.host.limits.verdict)
		return
	}
	reason := score.worse(s.before, enough)
	if own := score.Stuck - score.Ended; own > s.before.Stuck {
		reason = fmt.Sprintf("hung: %d of its handlers went on after their time was up, of the one's before it %d", own, s.before.Stuck)
	}
	if reason != "" {
		s.probation = nil
		s.refuse(p.life.version, reason)
		return
	}
	if !late || score.idle() || score.owes(p.until) || p.life.failure.Load().failing(now) {
		p.next = now.Add(s.host.limits.verdict)
		if !late && p.next.After(p.until) {
			p.next = p.until
		}
		return
	}
	s.probation, s.before.crashes = nil, 0
	s.log.Info("plugin's new content is proven", "state", string(Running))
	s.prove(p.life.version)
}
