package daemon

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/config"
	"balhost/host/internal/dispatch"
	"balhost/host/internal/entry"
	"balhost/host/internal/ledger"
	"balhost/host/internal/mend"
	"balhost/host/internal/outbox"
	"balhost/host/internal/plain"
	"balhost/host/internal/pluginhost"
	"balhost/host/internal/status"
	"balhost/host/internal/told"
)

// look is the state of all parts at one moment.
type look struct {
	dispatch dispatch.Status
	plugins  []pluginhost.Status
	ignored  map[string]string // files in the folder that have a plugin's name and are not plugins
	awaited  []string
	sessions []status.Session
	sending  map[string]outbox.Stats // by sender id, of all sessions, and of removed ones with work left
	counts   entry.Counts
	full     bool
	alarms   []string
	stalled  time.Duration // how long a commit has waited for the disk; 0: the disk answers
	free     ledger.Space
	freeErr  error
	keyFiles map[string]string // by sender id: " in PATH" of a session whose key is in a file
	silent   []error           // parts that did not answer; their fields are empty
}

// errSilent is the answer of a part that does not answer.
var errSilent = errors.New("it does not answer")

// look asks all parts at the same time, each for at most limit.
func (h *host) look(limit time.Duration) *look {
	l := look{freeErr: errSilent, keyFiles: keyFiles(h.config())} // freeErr: unless the disk answers
	var mu sync.Mutex                                             // guards silent; each question writes fields of its own
	var asking sync.WaitGroup
	put := func(p *part, question func() func()) {
		asking.Go(func() {
			answer, err := ask(p, limit, question)
			h.parts.note(p, err)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				l.silent = append(l.silent, err)
				return
			}
			answer()
		})
	}
	put(h.parts.dispatch, func() func() {
		s, err := h.dispatched()
		return func() {
			if l.dispatch = s; err != nil {
				l.silent = append(l.silent, fmt.Errorf("dispatch does not answer: %w", err))
			}
		}
	})
	put(h.parts.plugins, func() func() {
		h.plugins.Alive()
		all, ignored, awaited := h.plugins.Status(), h.plugins.Ignored(), h.plugins.Awaited()
		return func() { l.plugins, l.ignored, l.awaited = all, ignored, awaited }
	})
	put(h.parts.sessions, func() func() {
		all := h.sessions.status()
		return func() { l.sessions = all }
	})
	put(h.parts.outbox, func() func() {
		h.outbox.Alive()
		sending := map[string]outbox.Stats{}
		ids := h.outbox.Senders()
		for _, s := range h.labels() {
			ids = append(ids, s.ID)
		}
		for _, id := range ids {
			sending[id] = h.outbox.Stats(id)
		}
		return func() { l.sending = sending }
	})
	put(h.parts.ledger, func() func() {
		counts, full, alarms := h.ledger.Counts(), h.ledger.Full(), h.ledger.Alarms()
		return func() { l.counts, l.full, l.alarms = counts, full, alarms }
	})
	l.stalled = h.ledger.Stalled()
	put(h.parts.disk, func() func() {
		free, err := h.ledger.Space()
		return func() { l.free, l.freeErr = free, err }
	})
	asking.Wait()
	slices.SortFunc(l.silent, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return &l
}

func keyFiles(c config.Config) map[string]string {
	files := map[string]string{}
	for _, s := range c.Sessions {
		if s.FCMv1 != nil && s.FCMv1.CredentialsFile != "" {
			files[s.SenderID] = " in " + s.FCMv1.CredentialsFile
		}
	}
	return files
}

// live is an error when a part is stuck, because then only a restart helps. A restart
// does not help a disk that doesn't answer.
func (h *host) live() error {
	for _, err := range h.look(aliveTime).silent {
		if !strings.HasPrefix(err.Error(), h.parts.disk.name+" ") {
			return err
		}
	}
	return nil
}

func (h *host) ready() (reasons, warnings []string) {
	l := h.look(answerTime)
	return l.unready(), slices.Concat(l.warnings(), h.pauseWarnings(l), l.misspelt(h.config()), h.logWarning(), h.refused.warning(), h.certificateWarnings())
}

// unready lists why /readyz answers 503; an empty list is 200.
func (l *look) unready() []string {
	var reasons []string
	for _, err := range l.silent {
		reasons = append(reasons, err.Error())
	}
	for _, st := range l.sessions {
		reasons = append(reasons, st.Unready...)
		if until := l.sending[st.SenderID].HaltedUntil; !until.IsZero() {
			reasons = append(reasons, fmt.Sprintf("session %q: %s refuses its account, so downstreams wait until %s, and then one is sent as a test; check its key%s and its project", st.Name, status.Server(st.Transport), told.Clock(today(time.Now(), until)), l.keyFiles[st.SenderID]))
		}
	}
	if l.full {
		reasons = append(reasons, "disk at its soft limit: no new upstreams are stored until there is space (ledger.disk_soft, ledger.inodes)")
	}
	if l.stalled > 0 {
		reasons = append(reasons, fmt.Sprintf("the disk of data_dir does not answer: a commit has waited for %s, and nothing is acked meanwhile", l.stalled.Round(time.Second)))
	}
	if l.freeErr != nil {
		reasons = append(reasons, "free disk space can't be read, so the host does not stop before the disk is full: "+l.freeErr.Error())
	}
	if l.awaited != nil {
		reasons = append(reasons, fmt.Sprintf("the host has just started: plugins get events when these have introduced themselves, or after %s: %s", pluginhost.BootTime, strings.Join(l.awaited, ", ")))
	}
	for _, p := range l.plugins {
		if missed(p) {
			reasons = append(reasons, fmt.Sprintf("plugin %q is not running: %s", p.Name, p.Reason))
		} else if f := p.RunFailure; f != nil && f.Failing && f.Failures >= runFailures {
			reasons = append(reasons, runFailed(p))
		}
	}
	return append(reasons, l.alarms...)
}

// warnings are problems that don't make the host unready, because its sessions work all
// the same, and they harm no other plugin.
func (l *look) warnings() (warnings []string) {
	for _, st := range l.sessions {
		warnings = append(warnings, st.Warnings...)
	}
	for _, p := range l.dispatch.Plugins {
		for _, s := range p.StuckHandlers[:min(len(p.StuckHandlers), 3)] {
			what := "far beyond its time-out, and its lane waits"
			if !s.GivenUp.IsZero() {
				what = "though it was given up"
			}
			warnings = append(warnings, fmt.Sprintf("plugin %q: a handler has run for %s, %s: %s %s%s; see: balhost stuck",
				p.Name, time.Since(s.Started).Round(time.Second), what, s.Kind, s.Event, ofDevice(s.Device)))
		}
		if more := p.Stuck - 3; more > 0 {
			warnings = append(warnings, fmt.Sprintf("plugin %q: %d more handlers run beyond their time-out", p.Name, more))
		}
	}
	for _, p := range l.plugins {
		if f := p.RunFailure; f != nil && f.Failing && f.Failures < runFailures {
			warnings = append(warnings, runFailed(p))
		}
	}
	return warnings
}

// misspelt warns of a block in the config that names no plugin, but almost a plugin
// without a block. Other such blocks are fine: their file may come later.
func (l *look) misspelt(c config.Config) (warnings []string) {
	var names []string
	for _, p := range l.plugins {
		if _, has := c.Plugins[p.Name]; !has {
			names = append(names, p.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Plugins)) {
		if slices.ContainsFunc(l.plugins, func(p pluginhost.Status) bool { return p.Name == name }) {
			continue
		}
		if near := mend.Near(name, names); near != "" {
			warnings = append(warnings, fmt.Sprintf("config.hcl has a block for plugin %q, but there is no such plugin; did you mean %q?", name, near))
		}
	}
	return warnings
}

// runFailures is how many failures of Run in a row make the host unready; fewer are a
// warning, because a Run may fail for a moment.
const runFailures = 3

func runFailed(p pluginhost.Status) string {
	f := p.RunFailure
	return fmt.Sprintf("plugin %q: its Run failed %d times in a row, the last time %s ago: %s", p.Name, f.Failures, time.Since(f.At).Round(time.Second), f.Error)
}

// ofDevice names a device as listings show it to who may not see its whole token.
func ofDevice(token string) string {
	if token == "" {
		return ""
	}
	return fmt.Sprintf(" of device %q", plain.Brief(token))
}

// missed reports whether a plugin served before and doesn't now. A plugin that never
// served harms no other one: only the status names it.
func missed(p pluginhost.Status) bool {
	return (p.State == pluginhost.Backoff || p.State == pluginhost.Refused) && len(p.Previous) > 0
}

// logStall is how long one write of the log may take before nobody seems to read it.
const logStall = 5 * time.Second

// logWarning warns when nobody reads the log now.
func (h *host) logWarning() []string {
	if h.o.LogStats == nil {
		return nil
	}
	s := h.o.LogStats()
	if s.Writing.IsZero() || time.Since(s.Writing) < logStall {
		return nil
	}
	return []string{fmt.Sprintf("nobody has read the log for %s: %d lines dropped", time.Since(s.Writing).Round(time.Second), s.Dropped)}
}

// logStatus counts the log's lines that were lost.
func (h *host) logStatus() *admin.Log {
	if h.o.LogStats == nil {
		return nil
	}
	s := h.o.LogStats()
	l := &admin.Log{Dropped: s.Dropped, Failed: s.Failed}
	if s.Err != nil {
		l.Error = s.Err.Error()
	}
	if !s.Writing.IsZero() && time.Since(s.Writing) >= logStall {
		l.Stalled = s.Writing
	}
	return l
}
