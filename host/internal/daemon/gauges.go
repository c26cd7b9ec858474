package daemon

import (
	"maps"
	"slices"
	"strings"
	"time"

	"balhost/host/internal/ccs"
	"balhost/host/internal/pluginhost"
	"balhost/host/internal/status"

	"github.com/prometheus/client_golang/prometheus"
)

// gauges are the metrics of what the host's status says: one question to each part a
// scrape, and the same answers as a person gets. A plugin or session that is not in the
// status has no series, nor has a part that does not answer.
type gauges struct {
	h    *host
	all  []*prometheus.Desc
	read []func(l *look, now time.Time, put func(d *prometheus.Desc, value float64, labels ...string))
}

// Names of labels. plugin is a file name in the plugins folder, or of a plugin that is gone
// and has something pending. session is a name in config.hcl, or the sender id of a session
// that is gone and has something pending. listener is admin or gateway.
var (
	byPlugin   = []string{"plugin"}
	bySession  = []string{"session"}
	byListener = []string{"listener", "session"}
)

func newGauges(h *host) *gauges {
	g := &gauges{h: h}
	g.host()
	g.plugins()
	g.dispatch()
	g.outbox()
	g.sessions()
	return g
}

// Describe and Collect make it a [prometheus.Collector].
func (g *gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range g.all {
		to <- d
	}
}

// Collect asks the parts once.
func (g *gauges) Collect(to chan<- prometheus.Metric) {
	l, now := g.h.look(answerTime), time.Now()
	for _, read := range g.read {
		read(l, now, func(d *prometheus.Desc, value float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
		})
	}
}

// desc is a metric's name with its help.
func (g *gauges) desc(name, help string, labels []string) *prometheus.Desc {
	d := prometheus.NewDesc(name, help, labels, nil)
	g.all = append(g.all, d)
	return d
}

// whether is 1 for true.
func whether(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// age is how long ago a moment was, in seconds; 0 for no moment.
func age(now, then time.Time) float64 {
	if then.IsZero() {
		return 0
	}
	return max(0, now.Sub(then).Seconds())
}

func (g *gauges) host() {
	ready := g.desc("balhost_ready", "1 while the host can do its work, as /readyz says.", nil)
	refused := g.desc("balhost_reload_refused", "1 while the config in force is not the one in the file, because the last reload was refused.", nil)
	soft := g.desc("balhost_ledger_disk_soft_bytes", "Below so many free bytes the host takes no new messages: ledger.disk_soft.", nil)
	g.read = append(g.read, func(l *look, _ time.Time, put func(*prometheus.Desc, float64, ...string)) {
		put(ready, whether(len(l.unready()) == 0))
		put(refused, whether(len(g.h.refused.warning()) > 0))
		put(soft, float64(g.h.config().Ledger.DiskSoft))
	})
}

// plugins has what is known of processes.
func (g *gauges) plugins() {
	desc := func(name, help string) *prometheus.Desc { return g.desc(name, help, byPlugin) }
	up := desc("balhost_plugin_up", "1 while a process of the plugin serves.")
	down := desc("balhost_plugin_down", "1 while a plugin that has ever served here does not serve, not even in an old version.")
	refused := desc("balhost_plugin_refused", "1 while the content of the plugin's file is refused, or was rolled back by the host.")
	memory := desc("balhost_plugin_memory_bytes", "Resident memory of the plugin's process alone.")
	g.read = append(g.read, func(l *look, _ time.Time, put func(*prometheus.Desc, float64, ...string)) {
		for _, p := range l.plugins {
			put(up, whether(p.PID != 0 && p.State != pluginhost.Starting), p.Name)
			put(down, whether(missed(p)), p.Name)
			put(refused, whether(p.Refusal != nil), p.Name)
			put(memory, float64(p.Memory), p.Name)
		}
	})
}

// dispatch has what waits for plugins.
func (g *gauges) dispatch() {
	desc := func(name, help string) *prometheus.Desc { return g.desc(name, help, byPlugin) }
	all := []struct {
		*prometheus.Desc
		of func(w status.Work, now time.Time) float64
	}{
		{desc("balhost_dispatch_pending", "Events that are stored and not handled."), func(w status.Work, _ time.Time) float64 { return float64(w.Pending) }},
		{desc("balhost_dispatch_oldest_seconds", "For how long the first of the pending events has been stored; 0: none is pending."), func(w status.Work, now time.Time) float64 { return age(now, w.Oldest) }},
		{desc("balhost_dispatch_inflight", "Events that the plugin has."), func(w status.Work, _ time.Time) float64 { return float64(w.InFlight) }},
		{desc("balhost_dispatch_retrying", "Events that wait for their next attempt, each with its lane."), func(w status.Work, _ time.Time) float64 { return float64(w.Waiting) }},
		{desc("balhost_dispatch_lanes", "Lanes in memory with something pending."), func(w status.Work, _ time.Time) float64 { return float64(w.Lanes) }},
		{desc("balhost_dispatch_suspects", "Events that were in flight at too many crashes, to be tried alone."), func(w status.Work, _ time.Time) float64 { return float64(w.Suspects) }},
		{desc("balhost_dispatch_paused", "1 while a person has paused the plugin."), func(w status.Work, _ time.Time) float64 { return whether(w.Paused) }},
	}
	unclaimed := g.desc("balhost_dispatch_unclaimed", "Upstreams of categories that no plugin claims. They wait for one.", nil)
	since := g.desc("balhost_dispatch_unclaimed_seconds", "For how long the host has seen the first of these categories without a plugin; 0: there is none.", nil)
	g.read = append(g.read, func(l *look, now time.Time, put func(*prometheus.Desc, float64, ...string)) {
		if slices.ContainsFunc(l.silent, func(err error) bool { return strings.HasPrefix(err.Error(), g.h.parts.dispatch.name+" ") }) {
			return
		}
		for _, p := range l.dispatch.Plugins {
			file := slices.ContainsFunc(l.plugins, func(f pluginhost.Status) bool { return f.Name == p.Name })
			if !file && p.Pending == 0 && !p.Paused {
				continue
			}
			for _, m := range all {
				put(m.Desc, m.of(p.Work, now), p.Name)
			}
		}
		pending, oldest := l.dispatch.More.Pending, time.Time{}
		for _, held := range l.dispatch.Holding {
			if pending += held.Pending; oldest.IsZero() || held.Since.Before(oldest) {
				oldest = held.Since
			}
		}
		put(unclaimed, float64(pending))
		put(since, age(now, oldest))
	})
}

// outbox has what waits for a session's devices.
func (g *gauges) outbox() {
	desc := func(name, help string) *prometheus.Desc {
		return g.desc(name, help, bySession)
	}
	pending := desc("balhost_outbox_session_pending", "Downstreams without an outcome.")
	oldest := desc("balhost_outbox_session_oldest_seconds", "For how long the first of them could have gone; 0: none is pending, or all wait for their not_before.")
	inFlight := desc("balhost_outbox_session_inflight", "Downstreams that a connection or a device has, and that are not answered.")
	retrying := desc("balhost_outbox_session_retrying", "Downstreams that wait to be sent again.")
	early := desc("balhost_outbox_session_early", "Downstreams that wait for their not_before.")
	halted := desc("balhost_outbox_session_halted", "1 while the session's account is refused, so that nothing goes out.")
	resting := desc("balhost_outbox_session_resting", "1 while nothing goes out, because the server wants fewer messages.")
	g.read = append(g.read, func(l *look, now time.Time, put func(*prometheus.Desc, float64, ...string)) {
		labels, told := g.h.labels(), map[string]bool{}
		for _, id := range slices.Sorted(maps.Keys(l.sending)) {
			s, name := l.sending[id], labels.Name(id)
			if told[name] { // a session has the id of one that is gone as its name
				continue
			}
			told[name] = true
			put(pending, float64(s.Pending), name)
			put(oldest, age(now, s.Oldest), name)
			put(inFlight, float64(s.Taken), name)
			put(retrying, float64(s.Later-s.Early), name)
			put(early, float64(s.Early), name)
			put(halted, whether(!s.HaltedUntil.IsZero()), name)
			put(resting, whether(!s.RestsUntil.IsZero()), name)
		}
	})
}

// sessions has what transports may do, and whether they can.
func (g *gauges) sessions() {
	ready := g.desc("balhost_session_ready", "1 while the session can do its work, as /readyz says.", bySession)
	window := g.desc("balhost_session_window", "Downstreams that may be unanswered at a time: on the connections to CCS that are ready, or at FCM.", bySession)
	seats := g.desc("balhost_gateway_max_connections", "Connections that the gateway takes.", bySession)
	listens := g.desc("balhost_gateway_listening", "1 while the gateway listens.", bySession)
	until := g.desc("balhost_certificate_expires_timestamp_seconds", "When the certificate of a listener expires, in Unix time: of a session's gateway, or of the admin address, which has the session \"\".", byListener)
	g.read = append(g.read, func(l *look, now time.Time, put func(*prometheus.Desc, float64, ...string)) {
		if ends, _ := g.h.certificate(now); !ends.IsZero() {
			put(until, float64(ends.Unix()), "admin", "")
		}
		for _, s := range l.sessions {
			put(ready, whether(len(s.Unready) == 0 && l.sending[s.SenderID].HaltedUntil.IsZero()), s.Name)
			if s.FCMv1 != nil || len(s.Connections) > 0 {
				put(window, float64(windowOf(s)), s.Name)
			}
			if s.Gateway == nil {
				continue
			}
			put(seats, float64(s.Gateway.MaxConnections), s.Name)
			put(listens, whether(s.Gateway.Mute == ""), s.Name)
			if !s.Gateway.CertUntil.IsZero() {
				put(until, float64(s.Gateway.CertUntil.Unix()), "gateway", s.Name)
			}
		}
	})
}

func windowOf(s status.Session) (n int) {
	if s.FCMv1 != nil {
		return s.FCMv1.Window
	}
	for _, c := range s.Connections {
		if c.State == ccs.Ready {
			n += c.Window
		}
	}
	return n
}
