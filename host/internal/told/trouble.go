package told

import (
	"cmp"
	"fmt"
	"regexp"
	"time"

	"balhost/host/internal/status"
	"balhost/host/internal/tally"
)

// mostTroubles is how many kinds of failures a person is told of one plugin or session.
const mostTroubles = 3

// Attempts says why events of a plugin were not handled, and how often.
func Attempts(t status.Trouble, now time.Time) string {
	what := Count(t.Times(), "attempt failed", "attempts failed")
	switch {
	case t.Again == 0:
		what = Count(t.Times(), "event became a dead letter", "events became dead letters")
	case t.Ended > 0:
		what += ", of which " + Count(int(t.Ended), "left a dead letter", "left dead letters")
	}
	return what + latest(t, now)
}

// Sends says why downstreams of a session were not taken, and how often.
func Sends(t status.Trouble, now time.Time) string {
	what := Count(t.Times(), "downstream was not taken", "downstreams were not taken") + " and goes again"
	switch {
	case t.Gone:
		what = Count(t.Times(), "downstream failed because its target is gone", "downstreams failed because their targets are gone")
	case t.Again == 0:
		what = Count(t.Times(), "downstream failed", "downstreams failed")
	case t.Ended > 0:
		what = fmt.Sprintf("%s not taken, %d of these for good", Count(t.Times(), "time a downstream was", "times downstreams were"), t.Ended)
	case t.Again > 1:
		what = fmt.Sprintf("%d times downstreams were not taken, and they go again", t.Again)
	}
	return what + latest(t, now)
}

// latest is when it was so last, and in which words.
func latest(t status.Trouble, now time.Time) string {
	words := t.Reason
	if t.Code != "" {
		words = t.Code
		if t.Reason != "" {
			words += ": " + t.Reason
		}
	}
	return fmt.Sprintf(", the last %s ago: %s", Ago(now, t.Last), cmp.Or(words, "without a reason"))
}

// harmless is text that a person may copy into a shell. Plugins and servers choose reasons.
var harmless = regexp.MustCompile(`^[\pL\pN _.,:/+=-]+$`)

// finds is the flag with which balhost messages finds what had this trouble; "": none does.
func finds(t status.Trouble) string {
	if text := cmp.Or(t.Code, tally.Common(t.Reason)); harmless.MatchString(text) {
		return fmt.Sprintf(" --text %q", text)
	}
	return ""
}
