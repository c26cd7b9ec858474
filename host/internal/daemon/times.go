package daemon

import (
	"time"

	"balhost/host/internal/admin"
)

// today is t by the wall clock as it is set now. A time that was read before the clock
// was set still has the right distance from now.
func today(now, t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return now.Add(t.Sub(now))
}

// tellTimes converts all times of st to the wall clock as it is set now, and sets st.Now.
func tellTimes(st *admin.Status, now time.Time) {
	st.Now = now
	times := []*time.Time{&st.Started}
	if st.Log != nil {
		times = append(times, &st.Log.Stalled)
	}
	for i := range st.Sessions {
		s := &st.Sessions[i]
		times = append(times, &s.LastErrorAt, &s.HaltedUntil, &s.NextTry, &s.PushedAt, &s.PushedUntil, &s.RestingUntil, &s.Oldest)
		if s.FCMv1 != nil {
			times = append(times, &s.FCMv1.TokenUntil)
		}
		if g := s.Gateway; g != nil {
			times = append(times, &g.LastDeniedAt, &g.LastLimitedAt, &g.LastForeignAt, &g.LastNoCategoryAt, &g.CertUntil)
		}
		for j := range s.Troubles {
			times = append(times, &s.Troubles[j].First, &s.Troubles[j].Last)
		}
		for j := range s.Connections {
			times = append(times, &s.Connections[j].Since, &s.Connections[j].NextTry)
		}
	}
	for i := range st.Plugins {
		p := &st.Plugins[i]
		times = append(times, &p.Started, &p.NextStart, &p.Probation, &p.LastFailureAt, &p.NextTry, &p.LastTry, &p.RerunAt, &p.Oldest, &p.PausedSince)
		for j := range p.PausedDevices {
			times = append(times, &p.PausedDevices[j].Since)
		}
		for j := range p.PausedLanes {
			times = append(times, &p.PausedLanes[j].Since)
		}
		for j := range p.Troubles {
			times = append(times, &p.Troubles[j].First, &p.Troubles[j].Last)
		}
		for j := range p.StuckHandlers {
			times = append(times, &p.StuckHandlers[j].Started, &p.StuckHandlers[j].GivenUp)
		}
		if p.RunFailure != nil {
			times = append(times, &p.RunFailure.At, &p.RunFailure.Next)
		}
		if p.LastCrash != nil {
			times = append(times, &p.LastCrash.At)
		}
		if p.Refusal != nil {
			times = append(times, &p.Refusal.At, &p.Refusal.Again)
		}
	}
	for i := range st.Holding {
		times = append(times, &st.Holding[i].Since)
	}
	for i := range st.Recent {
		times = append(times, &st.Recent[i].At)
	}
	for i := range st.Unusable {
		times = append(times, &st.Unusable[i].At)
	}
	for _, t := range times {
		*t = today(now, *t)
	}
}
