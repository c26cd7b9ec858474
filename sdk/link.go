package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"balhost/sdk/wire"

	hclog "github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
)

const (
	extendEvery = wire.ExtendWithin / 2
	lastGrace   = 2 * time.Second // for handlers, Run and Stop after the host has gone
)

// link is the plugin's side of the connection to its host, the stream of the rpc
// Session. read hands out the host's frames, handlers send results through stream,
// and serve waits for the end.
type link struct {
	plugin *Plugin
	log    hclog.Logger
	stream *wire.PluginStream
	calls  *calls
	host   *Host // has the host's sessions too
	work   *work

	started chan struct{}    // closed when Start has succeeded
	run     chan struct{}    // capacity 1; the host allows Run
	stop    chan *wire.Drain // capacity 1; the host asks the plugin to end
}

func newLink(p *Plugin, log hclog.Logger, stream *wire.PluginStream) *link {
	c := &calls{send: stream.Send, open: map[uint64]chan<- *wire.Reply{}}
	l := &link{
		plugin: p, log: log, stream: stream, calls: c, host: &Host{log: log, calls: c, sessions: &sessions{}, timed: p.Timer != nil},
		started: make(chan struct{}), run: make(chan struct{}, 1), stop: make(chan *wire.Drain, 1),
	}
	l.work = newWork(p.inFlight(), l.start, l.release)
	return l
}

// serve returns when the plugin has drained, or the host has gone.
func (l *link) serve(ctx context.Context) error {
	handlers, endHandlers := context.WithCancelCause(ctx)
	running, endRun := context.WithCancelCause(ctx)
	defer endHandlers(errStopping)
	defer endRun(errStopping)

	over := make(chan struct{}) // closed when only the writer is still needed
	var g errgroup.Group
	g.Go(func() error { return l.stream.Write(ctx) })
	g.Go(func() error { return l.extend(over) })
	runEnded := make(chan struct{})
	g.Go(func() error { defer close(runEnded); l.keepRunning(running); return nil })
	l.stream.Send(&wire.PluginFrame{Credit: uint32(l.plugin.inFlight())})

	gone := make(chan error, 1)
	//house:go ends with the stream, and the stream ends when Session returns
	go func() { gone <- l.read(handlers) }()

	var why error
	limit := lastGrace
	soft := time.Duration(0)
	select {
	case d := <-l.stop:
		limit = max(time.Duration(d.TimeoutMs)*time.Millisecond, time.Millisecond)
		soft = limit * 4 / 5 // then contexts end; the rest is for handlers to notice that
		l.log.Debug("draining", "reason", d.Reason)
	case why = <-gone:
		if errors.Is(why, io.EOF) {
			why = nil // the host has closed its half of the stream: it wants nothing more
		}
	}
	l.windDown(ctx, soft, limit, endHandlers, endRun, runEnded)
	close(over)
	if why == nil {
		l.stream.Send(&wire.PluginFrame{Drained: true})
	}
	l.calls.end()
	l.stream.Close()
	if err := g.Wait(); why == nil && err != nil {
		why = fmt.Errorf("write to host: %w", err)
	}
	return why
}

// windDown ends Run and the handlers and then calls Stop, all within limit. The
// handlers' contexts end after the time soft.
func (l *link) windDown(ctx context.Context, soft, limit time.Duration, endHandlers, endRun context.CancelCauseFunc, runEnded <-chan struct{}) {
	ctx = context.WithoutCancel(ctx) // when the stream breaks, Stop still has its time
	softly, cancel := context.WithTimeout(ctx, soft)
	defer cancel()
	hardly, cancel := context.WithTimeoutCause(ctx, limit, errStopping)
	defer cancel()
	l.work.close()
	endRun(errStopping)
	for _, part := range []struct {
		name  string
		ended <-chan struct{}
	}{{"Run", runEnded}, {"a handler", l.work.idle}} {
		select {
		case <-part.ended:
			continue
		case <-softly.Done():
			endHandlers(errStopping)
		}
		select {
		case <-part.ended:
		case <-hardly.Done():
			l.log.Warn("it still runs although its ctx has ended; the plugin ends without it", "state", part.name, "took", limit)
			return // Stop must not run at the same time
		}
	}
	select {
	case <-l.started:
		if l.plugin.Stop != nil {
			if err := safely(func() error { return l.plugin.Stop(hardly) }); err != nil {
				l.log.Error("stop", "err", err)
			}
		}
	default:
	}
}

// read hands out the host's frames until the stream ends. It never waits for a
// handler. So the plugin answers pings even when all its handlers are stuck.
func (l *link) read(handlers context.Context) error {
	for {
		f, err := l.stream.Recv()
		if err != nil {
			return err
		}
		now := time.Now()
		for _, d := range f.Deliver {
			l.work.add(newHandling(handlers, d, now))
		}
		for _, id := range f.Revoke {
			l.work.revoke(id)
		}
		for _, r := range f.Reply {
			l.calls.answer(r)
		}
		if f.LogLevel != "" {
			setLevel(l.log, f.LogLevel)
		}
		if f.Sessions != nil {
			l.host.sessions.set(f.Sessions, f.Transports)
		}
		if f.Ping != 0 {
			l.stream.Send(&wire.PluginFrame{Pong: f.Ping})
		}
		if f.Run {
			select {
			case l.run <- struct{}{}:
			default:
			}
		}
		if f.Drain != nil {
			select {
			case l.stop <- f.Drain:
			default: // the host has asked before
			}
		}
	}
}

// extend tells the host, every extendEvery, which handlers still run.
func (l *link) extend(over <-chan struct{}) error {
	tick := time.NewTicker(extendEvery)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return nil
		case <-tick.C:
			if f := l.work.extension(); f != nil {
				l.stream.Send(f)
			}
		}
	}
}
