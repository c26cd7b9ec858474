package dispatch

import (
	"container/heap"
	"time"
)

// queue makes a lane whose head is idle eligible: now, when it is due, or as a
// suspect.
func (p *plugin) queue(l *lane) {
	head := l.head()
	l.since = time.Now()
	switch {
	case p.holds(l):
		p.parked[l] = true
	case p.suspectAfter > 0 && p.crashes[head.Seq] >= p.suspectAfter:
		p.trials.push(l)
	case !head.Due.IsZero() && head.Due.After(l.since):
		heap.Push(&p.due, l)
	default:
		p.eligible(l)
	}
}

// eligible lets pick hand out a lane's head.
func (p *plugin) eligible(l *lane) {
	if l.loss != nil {
		p.losers.push(l)
	} else {
		p.ready[l.head().Kind].push(l)
	}
}

// wake makes lanes eligible whose time has come.
func (p *plugin) wake(now time.Time) {
	for {
		l, ok := p.due.popDue(now)
		if !ok {
			return
		}
		l.since = now
		p.eligible(l)
	}
}

// nextDue is when wake has something to do next.
func (p *plugin) nextDue() (time.Time, bool) {
	if len(p.due) == 0 {
		return time.Time{}, false
	}
	return p.due[0].head().Due, true
}
