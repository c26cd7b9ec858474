package fcmv1

import (
	"fmt"
	"time"
)

// alarms notes what a person has to look at, although messages flow or are tried again.
type alarms struct {
	ring     [recentAnswers]sign // of the last answers
	at, n    int
	key      notice // of Apple's or the browsers' key
	redirect notice
	barren   time.Time // since when nothing but retries came; zero: that is not so
}

// notice is something that was said, and when last.
type notice struct {
	at   time.Time
	what string
}

const (
	recentAnswers = 100
	manyStrangers = 10        // of these, before anything is said
	noticed       = time.Hour // for how long a notice is shown
	outage        = time.Hour // of nothing but retries. Spec: fcm-v1-and-gateway.md A5
)

// note takes an answer in. retried says that the downstream is tried again.
func (a *alarms) note(s sign, retried bool, what string, now time.Time) {
	a.ring[a.at] = s
	a.at = (a.at + 1) % recentAnswers
	a.n = min(a.n+1, recentAnswers)
	switch s {
	case badKey:
		a.key = notice{now, what}
	case redirected:
		a.redirect = notice{now, what}
	}
	switch {
	case !retried:
		a.barren = time.Time{}
	case a.barren.IsZero():
		a.barren = now
	}
}

// warnings are what to say now.
func (a *alarms) warnings(now time.Time) (all []string) {
	strangers := 0
	for _, s := range a.ring[:a.n] {
		if s == stranger {
			strangers++
		}
	}
	if strangers >= manyStrangers && strangers*2 > a.n {
		all = append(all, fmt.Sprintf("%d of the last %d answers say that the target belongs to another Firebase project: is sender_id the project that the app was built with?", strangers, a.n))
	}
	if recent(a.key, now) {
		all = append(all, "FCM can't reach Apple's devices or browsers, because the key for them in the Firebase console is wrong or has expired (Project settings, Cloud Messaging); Android goes on; said for an hour after the last such answer, which was "+before(a.key.at, now)+": "+a.key.what)
	}
	if recent(a.redirect, now) {
		all = append(all, "something between this host and FCM redirects requests: is it a proxy or a login page, or is endpoint wrong? Said for an hour after the last such answer, which was "+before(a.redirect.at, now)+": "+a.redirect.what)
	}
	if !a.barren.IsZero() && now.Sub(a.barren) >= outage {
		all = append(all, fmt.Sprintf("FCM has taken nothing and refused nothing for %v, only retries: is it an outage, or a proxy in between?", now.Sub(a.barren).Round(time.Minute)))
	}
	return all
}

// before is how long ago at was.
func before(at, now time.Time) string { return now.Sub(at).Round(time.Second).String() + " ago" }

func recent(n notice, now time.Time) bool { return !n.at.IsZero() && now.Sub(n.at) < noticed }
