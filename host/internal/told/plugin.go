package told

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"balhost/host/internal/plain"
	"balhost/host/internal/status"
)

// Plugin is what a person should know about a plugin.
func Plugin(name string, w status.Work, s status.Process, now time.Time) []string {
	var p lines
	p.process(name, s, now)
	p.work(name, w, now)
	return p
}

// process is what there is to say of a plugin's content and its process.
func (p *lines) process(name string, s status.Process, now time.Time) {
	if s.Reason != "" && (s.Refusal == nil || s.Refusal.Reason != s.Reason) {
		p.add("%s", s.Reason)
	}
	if !s.NextStart.IsZero() {
		p.add("started again in %s", Short(s.NextStart.Sub(now)))
	}
	if s.Refusal != nil {
		p.add("%s", refused(name, s, now))
	}
	if s.Debug {
		p.add("debug = true: nothing notices when it hangs; take that out of its block in the config when you are done")
	}
	switch {
	case s.Probation.IsZero():
	case s.Probation.After(now):
		p.add("on probation until %s", Clock(s.Probation))
	default:
		p.add("on probation until it has handled an event and finished what it got during the probation")
	}
	if s.Pinned {
		p.add("rolled back by hand: this stays until its file changes, or until balhost reload %s --force", name)
	}
	if c := s.LastCrash; c != nil && s.Reason == "" && now.Sub(c.At) < crashShown {
		p.add("it crashed %s ago and was started again, %s since the host's start: %s", Ago(now, c.At), Count(s.Restarts, "time", "times"), c.Reason)
	}
	if s.MetricsError != "" {
		p.add("metrics of its own were not had at the last scrape: %s", s.MetricsError)
	}
	if f := s.RunFailure; f != nil {
		next := "it has run since"
		if f.Next.After(now) {
			next = "it is started again in " + Short(f.Next.Sub(now))
		} else if f.Failing {
			next = "it was started again " + Ago(now, f.Next) + " ago"
		}
		p.add("Run failed %d times in a row, the last %s ago: %s; %s", f.Failures, Ago(now, f.At), f.Error, next)
	}
}

// crashShown is for how long a crash is told of after the plugin runs again.
const crashShown = time.Hour

// work is what there is to say of its events.
func (p *lines) work(name string, w status.Work, now time.Time) {
	if w.Paused {
		p.add("paused; balhost resume %s", name)
	}
	if !w.LastFailureAt.IsZero() && (len(w.Troubles) == 0 || w.LastFailureAt.After(w.Troubles[0].Last)) { // of an older host, or of none of its events
		p.add("the last attempt that failed, %s ago: %s", Ago(now, w.LastFailureAt), w.LastFailure)
	}
	for _, t := range w.Troubles[:min(len(w.Troubles), mostTroubles)] {
		p.add("%s; balhost messages --plugin %s%s", Attempts(t, now), name, finds(t))
	}
	if w.Waiting > 0 {
		waits := fmt.Sprintf("1 event waits for its next attempt, with its lane, in %s", Short(w.NextTry.Sub(now)))
		if w.Waiting > 1 {
			waits = fmt.Sprintf("%d events wait for their next attempt, each with its lane: the first in %s, the last in %s", w.Waiting, Short(w.NextTry.Sub(now)), Short(w.LastTry.Sub(now)))
		}
		p.add("%s; balhost retry list --plugin %s", waits, name)
	}
	if w.Reruns > 0 {
		p.add("%d handlers ran again because a state key that they had read changed; the last %s ago, key %q", w.Reruns, Ago(now, w.RerunAt), w.RerunKey)
	}
	if w.Turns > 0 {
		p.add("%d handlers wait for state keys that others use", w.Turns)
	}
	if w.Stuck > 0 {
		p.add("%s; see: balhost stuck", Count(w.Stuck, "handler runs beyond its time-out, and its lane waits", "handlers run beyond their time-out, and their lanes wait"))
	}
	for _, h := range w.StuckHandlers {
		given := ""
		if !h.GivenUp.IsZero() {
			given = ", but was given up and its lane goes on"
		}
		p.add("  %s %s of device %q has been handled for %s%s", h.Kind, h.Event, plain.Brief(h.Device), Ago(now, h.Started), given)
	}
	if w.Suspects > 0 {
		p.add("%s in flight at too many crashes, and are tried alone", Count(w.Suspects, "event was", "events were"))
	}
	if len(w.Lost) > 0 {
		owners := slices.Compact(slices.Sorted(slices.Values(w.LostTo)))
		p.add("another plugin already has its categories %s: %s. Messages go there; to change that, name the category in one plugin's block in config.hcl", strings.Join(w.Lost, ", "), strings.Join(owners, ", "))
	}
}

// refused says which content of a plugin was refused and why, which one serves
// instead, and how to fix it.
func refused(name string, s status.Process, now time.Time) string {
	serves, what := "nothing serves", "its content"
	if s.PID != 0 {
		serves, what = "content "+Content(s.SHA256)+" serves", "the new content"
	}
	if s.Refusal.SHA256 != "" {
		what += " " + Content(s.Refusal.SHA256)
	}
	text := fmt.Sprintf("%s; %s was refused %s ago: %s", serves, what, Ago(now, s.Refusal.At), s.Refusal.Reason)
	switch again := fmt.Sprintf("at once: touch its file, or balhost reload %s", name); {
	case !s.Refusal.Again.IsZero():
		text += fmt.Sprintf("; it is tried again in %s, or %s", Short(s.Refusal.Again.Sub(now)), again)
	case s.Refusal.Tried:
		text += fmt.Sprintf("; to fix it, replace the file, change its block in the config, or try this one again: balhost reload %s --force", name)
	}
	return text
}

// Content is the beginning of a sha256; it is enough to distinguish contents.
func Content(sha256 string) string { return sha256[:min(len(sha256), 12)] }
