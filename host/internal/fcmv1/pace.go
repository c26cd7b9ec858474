package fcmv1

import (
	"math"
	"time"
)

// pace says how many downstreams may go out. It is a token bucket whose rate grows from
// a twentieth to the full rate within a minute, after an idle minute and after a rest
// for the project's quota. Each such rest halves the most that the rate grows to; that
// recovers a tenth of the full rate a minute. Spec: fcm-v1-and-gateway.md A7.
type pace struct {
	full    float64   // messages a second at most; Options.Rate
	most    float64   // of these now, at the time set
	set     time.Time // when most was set
	began   time.Time // of the ramp; zero: nothing was sent yet
	used    time.Time // when something last went out
	bucket  float64   // messages that may go at once, at the time filled
	filled  time.Time
	resting time.Time // until when the project's quota lets nothing through
}

const (
	rampTime  = time.Minute
	idleTime  = time.Minute
	rampStart = 0.05 // of the full rate, at the start of a ramp
	regain    = 0.1  // of the full rate, each minute
	leastRate = 0.01 // of the full rate, however often it is halved
	burstTime = 0.1  // seconds of the rate that may go at once
)

func newPace(perSecond int) *pace { return &pace{full: float64(perSecond), most: float64(perSecond)} }

// rate is how many messages a second may go now.
func (p *pace) rate(now time.Time) float64 {
	most := min(p.full, p.most+p.full*regain*now.Sub(p.set).Minutes())
	grown := rampStart
	if !p.began.IsZero() {
		grown = min(1, rampStart+(1-rampStart)*now.Sub(p.began).Seconds()/rampTime.Seconds())
	}
	return min(most, p.full*grown)
}

// room is how many may go now; if there is none, wait is until there is.
func (p *pace) room(now time.Time) (n int, wait time.Duration) {
	if now.Before(p.resting) {
		return 0, p.resting.Sub(now)
	}
	if now.Sub(p.used) >= idleTime {
		p.began = time.Time{}
	}
	rate := p.rate(now)
	size := max(1, rate*burstTime)
	p.bucket = min(size, p.bucket+rate*now.Sub(p.filled).Seconds())
	p.filled = now
	if p.bucket >= 1 {
		return int(p.bucket), 0
	}
	return 0, time.Duration(math.Ceil((1 - p.bucket) / rate * float64(time.Second))) // never 0, however little is missing
}

// sent says that n have gone out.
func (p *pace) sent(n int, now time.Time) {
	if n == 0 {
		return
	}
	if p.began.IsZero() {
		p.began = now
	}
	p.bucket -= float64(n)
	p.used = now
}

// rest lets nothing through for d. What came back for one cause halves the rate once.
func (p *pace) rest(d time.Duration, now time.Time) {
	if !now.Before(p.resting) {
		p.most = max(p.full*leastRate, min(p.full, p.most+p.full*regain*now.Sub(p.set).Minutes())/2)
	}
	p.resting = later(p.resting, now.Add(d))
	p.set, p.began, p.bucket = p.resting, time.Time{}, 0
}
