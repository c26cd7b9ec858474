package fcmv1

import (
	"math"
	"testing"
	"time"
)

// run sends as much as p allows for d, and returns how many that were.
func (p *pace) run(now *time.Time, d time.Duration) (sent int) {
	for end := now.Add(d); now.Before(end); {
		n, wait := p.room(*now)
		p.sent(n, *now)
		sent += n
		*now = now.Add(max(wait, time.Millisecond))
	}
	return sent
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > want*0.05+2 {
		t.Errorf("%s: %.0f, want %.0f", what, got, want)
	}
}

// From a twentieth to the full rate within a minute; again after an idle minute.
// Sheet A7.
func TestRamp(t *testing.T) {
	now := t0
	p := newPace(8000)
	near(t, "the first second", float64(p.run(&now, time.Second)), 400*1.1+63)
	near(t, "the rest of the minute", float64(p.run(&now, 59*time.Second)), 8000*60*0.525-463)
	near(t, "a minute at full rate", float64(p.run(&now, time.Minute)), 480_000)
	now = now.Add(59 * time.Second)
	near(t, "a pause is no reason to ramp", p.rate(now), 8000)
	if n, _ := p.room(now); n > 800 {
		t.Errorf("%d at once after a pause", n)
	}
	now = now.Add(time.Second)
	near(t, "after an idle minute", float64(p.run(&now, time.Second)), 400*1.1+63)
}

// A rest halves the most once, however many answers ask for it; that recovers a tenth of
// the full rate a minute.
func TestQuotaHalvesTheRate(t *testing.T) {
	now := t0
	p := newPace(1000)
	p.run(&now, 3*time.Minute)
	for range 50 {
		p.rest(time.Minute, now)
		now = now.Add(10 * time.Millisecond)
	}
	if n, wait := p.room(now); n != 0 || wait < 59*time.Second {
		t.Errorf("%d may go, or in %v", n, wait)
	}
	now = now.Add(time.Minute)
	near(t, "a minute after the rest", float64(p.run(&now, time.Minute)), 28*275+32*560)
	near(t, "the most after a minute", p.rate(now), 600)
	p.rest(time.Minute, now)
	now = now.Add(time.Minute)
	p.run(&now, time.Minute)
	near(t, "after a second rest", p.rate(now), 400)
	p.run(&now, 10*time.Minute)
	near(t, "in the end", p.rate(now), 1000)
	for range 100 {
		p.rest(time.Second, now)
		now = now.Add(2 * time.Second)
	}
	p.run(&now, time.Second)
	if r := p.rate(now); r < 10*rampStart || p.most < 10 {
		t.Errorf("%v a second after 100 rests", r)
	}
}

// Low rates work: one message a second goes each second.
func TestSlowPace(t *testing.T) {
	now := t0
	p := newPace(1)
	p.run(&now, 2*time.Minute)
	near(t, "a minute", float64(p.run(&now, time.Minute)), 60)
}

// Who may send nothing is told until when, even if that is less than a nanosecond: a wait
// of 0 would be no wait for the clock, and nothing else wakes a session that is idle.
func TestPaceAlwaysEndsItsWait(t *testing.T) {
	for perSecond := 1; perSecond <= 100_000; perSecond *= 3 {
		now := t0
		p := newPace(perSecond)
		for range 20_000 {
			n, wait := p.room(now)
			if n == 0 && wait <= 0 {
				t.Fatalf("%d a second: nothing may go, and the wait is %v; the bucket lacks %g", perSecond, wait, 1-p.bucket)
			}
			p.sent(n, now)
			now = now.Add(wait)
		}
	}
}
