package pluginhost

import (
	"context"
	"fmt"
	"time"
)

// probation watches a new version that serves: while it lasts, a crash, a hang
// or too many errors take the old one back. A version without a fallback has
// none: there is nothing to take back.
type probation struct {
	life  *life
	until time.Time
	next  time.Time // look again
	start score     // of the old version
}

// score is what came of a process's events.
type score struct{ handled, failed uint64 }

// A new version does worse than the old one when, of at least enoughEvents
// events, at least enoughFailures failed (error, panic or timeout; a rejection
// is no failure), and the share of failures is over the old one's by more than
// tolerance. The old one's share is that of its whole life, none without one.
const (
	enoughEvents   = 20
	enoughFailures = 5
	tolerance      = 0.05
)

func (s score) share() float64 {
	if s.handled+s.failed == 0 {
		return 0
	}
	return float64(s.failed) / float64(s.handled+s.failed)
}

// worse says why a new version does worse than the old one; "": it doesn't.
func (s score) worse(old score) string {
	if s.handled+s.failed < enoughEvents || s.failed < enoughFailures || s.share() <= old.share()+tolerance {
		return ""
	}
	return fmt.Sprintf("%d of its first %d events failed (%.0f %%), of the one's before it %.1f %%",
		s.failed, s.handled+s.failed, 100*s.share(), 100*old.share())
}

// score asks for a process's; what is not known is as before.
func (s *supervisor) score(l *life) score {
	if l == nil || l.inst == nil || !l.known {
		return s.before
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.host.limits.moment)
	defer cancel()
	handled, failed, err := s.host.o.Dispatcher.Results(ctx, l.inst)
	if err != nil {
		return s.before
	}
	return score{handled, failed}
}

// watch begins the probation of what serves now, or proves it at once.
func (s *supervisor) watch(l *life) {
	_, back := s.fallback(l.version)
	if s.isProven(l.version) || !back || l.version.options.Probation == 0 {
		s.prove(l.version)
		return
	}
	now := time.Now()
	s.probation = &probation{life: l, until: now.Add(l.version.options.Probation), next: now, start: s.before}
}

// judge ends a probation: by its time, or by a verdict.
func (s *supervisor) judge(ctx context.Context) {
	p, now := s.probation, time.Now()
	if p == nil || now.Before(p.next) || ctx.Err() != nil {
		return
	}
	if reason := s.score(p.life).worse(p.start); reason != "" {
		s.probation = nil
		s.refuse(p.life.version, reason)
		return
	}
	if p.next = now.Add(s.host.limits.verdict); p.next.After(p.until) {
		p.next = p.until
	}
	if now.Before(p.until) {
		return
	}
	s.probation = nil
	s.log.Info("plugin's new content is proven", "state", string(Running))
	s.prove(p.life.version)
}
