package daemon

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/ccs"
	"balhost/host/internal/config"
	"balhost/host/internal/dispatch"
	"balhost/host/internal/entry"
	"balhost/host/internal/fcmv1"
	"balhost/host/internal/feed"
	"balhost/host/internal/ledger"
	"balhost/host/internal/outbox"
	"balhost/host/internal/pluginhost"
	"balhost/host/internal/span"
	"balhost/host/internal/status"
	"balhost/sdk/message"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/time/rate"
)

// host answers what people, scripts and probes ask about the parts, and does
// what they order.
type host struct {
	o        Options
	started  time.Time
	ledger   *ledger.Ledger
	dispatch *dispatch.Dispatcher
	outbox   *outbox.Outbox
	plugins  *pluginhost.Host
	sessions *fleet
	parts    *parts
	feed     *feed.Hub    // what happens to messages, for those who watch
	tracer   *span.Tracer // nil: no traces are made
	sampler  *sampler
	connects *rate.Limiter // of connections to CCS; shared by all sessions

	supervisor *supervisor

	reloading chan struct{} // capacity 1: full while a reload runs
	files     chan struct{} // capacity 1: full while the config and the files that it names are read
	refused   refusedReload
	pauses    pauses

	eraseStage eraseStage
	api        API // nil until it is opened, before anything runs

	mu    sync.Mutex // guards what follows
	cfg   config.Config
	named entry.Senders // of cfg
}

func newHost(cfg config.Config, o Options) *host {
	h := &host{
		o: o, started: time.Now(), parts: newParts(), connects: ccs.NewConnects(cfg.ConnectRate),
		feed: &feed.Hub{}, supervisor: newSupervisor(o.Log), reloading: make(chan struct{}, 1), files: make(chan struct{}, 1),
	}
	h.sampler = &sampler{h: h}
	h.parts.host.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	countLines(h.parts.host.metrics, o.LogStats)
	h.follow(cfg)
	return h
}

func (h *host) functions() admin.Functions {
	return admin.Functions{
		Status:      h.status,
		Live:        h.live,
		Ready:       h.ready,
		Send:        h.send,
		Messages:    h.messages,
		Life:        h.life,
		Cancel:      h.cancel,
		Dead:        h.dead,
		DeadLetter:  h.deadLetter,
		Replay:      h.ledger.Replay,
		DeleteDead:  h.ledger.DeleteDead,
		ExportDead:  h.exportDead,
		ImportDead:  h.importDead,
		StateOwners: h.ledger.StateOwners,
		State:       h.state,
		StateValue:  h.stateValue,
		DeleteState: h.deleteState,
		Bindings:    h.bindings,
		Unbind:      h.unbind,
		Pauses:      h.listPauses,
		PauseBy:     h.pause,
		ResumeBy:    h.resume,
		Stuck:       h.stuck,
		GiveUp:      h.giveUp,
		Erase:       h.erase,
		Erasing:     h.eraseStage.now,
		Forget:      h.forget,
		Retries:     h.retries,
		RetryNow:    h.retryNow,
		Tail:        h.tail,
		Series:      h.sampler.series,
		Pause:       h.known(h.dispatch.Pause),
		Resume:      h.known(h.dispatch.Resume),
		Rollback:    h.known(h.plugins.Rollback),
		Reload:      h.reload,
		LogLevel:    h.logLevel,
		Backup:      h.backup,
		Verify:      h.verify,
	}
}

func (h *host) dispatched() (dispatch.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), aliveTime)
	defer cancel()
	return h.dispatch.Status(ctx)
}

// send stores a downstream for the API (P2).
func (h *host) send(ctx context.Context, m message.Checked) (string, error) {
	id, err := chosen(h.labels(), m.Session)
	if err != nil {
		return "", err
	}
	if err := h.labels().Fits(id, m); err != nil {
		return "", err
	}
	m.Session = id
	m.MessageID = cmp.Or(m.MessageID, ulid.Make().String())
	stored := make(chan error, 1)
	h.ledger.Update("", entry.Changes{Sends: []entry.Send{{Message: m}}}, func(err error) { stored <- err })
	select {
	case err := <-stored:
		return m.MessageID, err
	case <-ctx.Done():
		return "", fmt.Errorf("send %s: %w; it may be stored: send again with the same id to be sure", m.MessageID, ctx.Err())
	}
}

// chosen returns the sender of the session with a name, or with "" that of the only session.
func chosen(senders entry.Senders, name string) (senderID string, err error) {
	id, ok := senders.ID(name)
	switch {
	case !ok:
		return "", entry.NoSuch("there is no session %q; there are %s", name, strings.Join(senders.Names(), ", "))
	case id == "":
		return "", admin.Refusal{Err: fmt.Errorf(`there are several sessions, say which one is meant: %s (--session NAME; "session" in the API)`, strings.Join(senders.Names(), ", "))}
	}
	return id, nil
}

func (h *host) status() admin.Status { return h.tell(h.look(answerTime)) }

// tell puts the answers of the parts into the API's types.
func (h *host) tell(l *look) admin.Status {
	reasons := l.unready()
	st := admin.Status{
		Version: h.o.Version, PID: os.Getpid(), Started: h.started, UptimeSeconds: int64(time.Since(h.started).Seconds()),
		Ready: len(reasons) == 0, Reasons: reasons, Warnings: slices.Concat(l.warnings(), h.pauseWarnings(l), h.logWarning(), h.refused.warning(), h.certificateWarnings()),
		Plugins: l.pluginStatus(), Holding: l.dispatch.Holding, HoldingMore: l.dispatch.More, Recent: l.dispatch.Recent, Log: h.logStatus(),
	}
	for _, s := range l.sessions {
		o := l.sending[s.SenderID]
		s.Waiting, s.Oldest, s.Later, s.Early, s.NextTry, s.HaltedUntil = o.Pending, o.Oldest, o.Later, o.Early, o.Next, o.HaltedUntil
		s.Troubles = o.Troubles
		if o.RestsUntil.After(s.RestingUntil) {
			s.RestingUntil = o.RestsUntil
			if f := s.FCMv1; f != nil && f.State == string(fcmv1.Ready) {
				f.State = string(fcmv1.Resting)
			}
		}
		st.Sessions = append(st.Sessions, s)
		st.Unusable = append(st.Unusable, s.Recent...)
	}
	labels := h.labels()
	for _, id := range slices.Sorted(maps.Keys(l.sending)) {
		if !slices.ContainsFunc(labels, func(s entry.Sender) bool { return s.ID == id }) { // no session any more, but its downstreams still wait
			st.Sessions = append(st.Sessions, status.Session{SenderID: id, Waiting: l.sending[id].Pending, Oldest: l.sending[id].Oldest})
		}
	}
	st.Ledger = admin.Ledger{Counts: l.counts, Full: l.full, DiskSoft: h.config().Ledger.DiskSoft, Encrypted: h.config().Ledger.KeyFile != ""}
	tellSpace(&st.Ledger, func() (ledger.Space, error) { return l.free, l.freeErr })
	tellTimes(&st, time.Now())
	return st
}

// tellSpace says what is free on the disk, or why that is not known.
func tellSpace(l *admin.Ledger, look func() (ledger.Space, error)) {
	free, err := look()
	if err != nil {
		l.DiskError = err.Error()
		return
	}
	l.DiskFree, l.InodesFree = &free.Bytes, &free.Inodes
}

// pluginStatus joins what is known of the processes and of their work. A plugin may have
// events but no process, or a process but no events. A plugin that has no file and
// nothing to do is left out.
func (l *look) pluginStatus() []admin.Plugin {
	byName := map[string]*admin.Plugin{}
	get := func(name string) *admin.Plugin {
		if byName[name] == nil {
			byName[name] = &admin.Plugin{Name: name, Process: status.Process{State: "absent", Reason: "no such file in the plugins folder; if it is gone for good: balhost forget " + name}}
		}
		return byName[name]
	}
	for _, p := range l.plugins {
		get(p.Name).Process = p.Process
	}
	for name, reason := range l.ignored {
		if byName[name] == nil {
			a := get(name)
			a.State, a.Reason = "ignored", reason
		}
	}
	for _, p := range l.dispatch.Plugins {
		get(p.Name).Work = p.Work
	}
	var all []admin.Plugin
	for _, p := range byName {
		if p.State != "absent" || p.Pending > 0 || p.Paused {
			all = append(all, *p)
		}
	}
	slices.SortFunc(all, func(a, b admin.Plugin) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
