package daemon

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/dispatch"
	"balhost/host/internal/entry"
	"balhost/host/internal/outbox"
	"balhost/host/internal/status"
)

// The series go back for seriesTime, in steps of seriesStep.
const (
	seriesStep = 5 * time.Second
	seriesTime = 15 * time.Minute
)

// sampler keeps figures of the last minutes, which the parts count in any case.
type sampler struct {
	h *host

	mu      sync.Mutex // guards samples
	samples []sample   // the oldest first; one more than there are steps
}

// sample is what the parts said at one moment. What a silent part would have said is not in it.
type sample struct {
	at       time.Time
	plugins  map[string]status.Work
	sessions map[string]sessionSample // by name
	ledger   *entry.Counts
}

type sessionSample struct {
	up, down, answered uint64
	inFlight           int
	waiting            float64 // NaN: not known
}

// run takes a sample at each step.
func (s *sampler) run(ctx context.Context) error {
	tick := time.NewTicker(seriesStep)
	defer tick.Stop()
	for {
		s.keep(s.h.sample())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *sampler) keep(one sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if most := int(seriesTime/seriesStep) + 1; len(s.samples) == most {
		s.samples = slices.Delete(s.samples, 0, 1)
	}
	s.samples = append(s.samples, one)
}

// sample asks the parts.
func (h *host) sample() sample {
	one := sample{at: time.Now(), plugins: map[string]status.Work{}, sessions: map[string]sessionSample{}}
	if all, err := ask(h.parts.dispatch, answerTime, func() dispatch.Status { st, _ := h.dispatched(); return st }); err == nil {
		for _, p := range all.Plugins {
			p.Work.StuckHandlers, p.Work.Lost, p.Work.LostTo, p.Work.LastFailure, p.Work.Troubles = nil, nil, nil, "", nil // numbers are enough
			one.plugins[p.Name] = p.Work
		}
	}
	sessions, err := ask(h.parts.sessions, answerTime, h.sessions.status)
	if err == nil {
		for _, st := range sessions {
			one.sessions[st.Name] = h.sampleSession(st)
		}
	}
	if c, err := ask(h.parts.ledger, answerTime, h.ledger.Counts); err == nil {
		one.ledger = &c
	}
	return one
}

func (h *host) sampleSession(st status.Session) sessionSample {
	s := sessionSample{up: st.Upstreams, down: st.Downstreams, answered: st.Answered, waiting: math.NaN()}
	for _, c := range st.Connections {
		s.inFlight += c.InFlight
	}
	if st.FCMv1 != nil {
		s.inFlight += st.FCMv1.InFlight
	}
	if st.Gateway != nil {
		s.inFlight += st.Gateway.InFlight
	}
	if waits, err := ask(h.parts.outbox, answerTime, func() outbox.Stats { return h.outbox.Stats(st.SenderID) }); err == nil {
		s.waiting = float64(waits.Pending)
	}
	return s
}

// series makes lists of points of the samples.
func (s *sampler) series() admin.Series {
	s.mu.Lock()
	samples := slices.Clone(s.samples)
	s.mu.Unlock()
	out := admin.Series{StepSeconds: int(seriesStep.Seconds())}
	if len(samples) < 2 {
		return out
	}
	now := time.Now()
	plugins, sessions := map[string]bool{}, map[string]bool{}
	for _, one := range samples[1:] {
		out.Times = append(out.Times, today(now, one.at).Unix())
		for name := range one.plugins {
			plugins[name] = true
		}
		for name := range one.sessions {
			sessions[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(plugins)) {
		of := func(one *sample) (status.Work, bool) { w, ok := one.plugins[name]; return w, ok }
		out.Plugins = append(out.Plugins, admin.PluginSeries{
			Name:     name,
			Handled:  rates(samples, of, func(w status.Work) uint64 { return w.Handled }),
			Retried:  rates(samples, of, func(w status.Work) uint64 { return w.Retried }),
			Died:     rates(samples, of, func(w status.Work) uint64 { return w.Died }),
			Pending:  levels(samples, of, func(w status.Work) float64 { return float64(w.Pending) }),
			InFlight: levels(samples, of, func(w status.Work) float64 { return float64(w.InFlight) }),

			HandlingP50: levels(samples, of, func(w status.Work) float64 { return unlessZero(w.HandlingP50) }),
			HandlingP99: levels(samples, of, func(w status.Work) float64 { return unlessZero(w.HandlingP99) }),
		})
	}
	for _, name := range slices.Sorted(maps.Keys(sessions)) {
		of := func(one *sample) (sessionSample, bool) { x, ok := one.sessions[name]; return x, ok }
		out.Sessions = append(out.Sessions, admin.SessionSeries{
			Name:     name,
			Up:       rates(samples, of, func(x sessionSample) uint64 { return x.up }),
			Down:     rates(samples, of, func(x sessionSample) uint64 { return x.down }),
			Answered: rates(samples, of, func(x sessionSample) uint64 { return x.answered }),
			InFlight: levels(samples, of, func(x sessionSample) float64 { return float64(x.inFlight) }),
			Waiting:  levels(samples, of, func(x sessionSample) float64 { return x.waiting }),
		})
	}
	of := func(one *sample) (entry.Counts, bool) {
		if one.ledger == nil {
			return entry.Counts{}, false
		}
		return *one.ledger, true
	}
	out.Ledger = admin.LedgerSeries{
		Accepted:    rates(samples, of, func(c entry.Counts) uint64 { return c.Accepted }),
		Handled:     rates(samples, of, func(c entry.Counts) uint64 { return c.Handled }),
		Sent:        rates(samples, of, func(c entry.Counts) uint64 { return c.Sent }),
		Events:      levels(samples, of, func(c entry.Counts) float64 { return float64(c.Events) }),
		Downstreams: levels(samples, of, func(c entry.Counts) float64 { return float64(c.Downstreams) }),
		Dead:        levels(samples, of, func(c entry.Counts) float64 { return float64(c.Dead) }),
	}
	return out
}

// rates are how much a counter grew from each sample to the next, by the second. One that
// was not counted at both, or began anew between them, is not known.
func rates[T any](samples []sample, of func(*sample) (T, bool), count func(T) uint64) admin.Points {
	points := make(admin.Points, len(samples)-1)
	for i := range points {
		points[i] = math.NaN()
		before, was := of(&samples[i])
		after, is := of(&samples[i+1])
		took := samples[i+1].at.Sub(samples[i].at).Seconds()
		if was && is && took > 0 && count(after) >= count(before) {
			points[i] = float64(count(after)-count(before)) / took
		}
	}
	return points
}

// unlessZero is v, or not known where 0 means that nothing was measured.
func unlessZero(v float64) float64 {
	if v == 0 {
		return math.NaN()
	}
	return v
}

// levels are what a figure was at each sample but the first.
func levels[T any](samples []sample, of func(*sample) (T, bool), value func(T) float64) admin.Points {
	points := make(admin.Points, len(samples)-1)
	for i := range points {
		points[i] = math.NaN()
		if one, is := of(&samples[i+1]); is {
			points[i] = value(one)
		}
	}
	return points
}
