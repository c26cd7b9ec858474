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
	extendEvery = 5 * time.Second // the contract says at least every 10 s
	lastGrace   = 2 * time.Second // for handlers, Run and Stop when the host is gone
)

// session is the plugin's life on the wire: the reading goroutine hands frames
// out, handlers answer through the stream, and serve waits for the end.
type session struct {
	plugin *Plugin
	log    hclog.Logger
	stream *wire.Stream
	calls  *calls
	host   *Host
	work   *work

	started chan struct{}    // closed when Start has succeeded
	run     chan struct{}    // capacity 1: the host allows Run
	stop    chan *wire.Drain // capacity 1: the host wants the plugin to end
}

func newSession(p *Plugin, log hclog.Logger, stream *wire.Stream) *session {
	c := &calls{send: stream.Send, open: map[uint64]chan<- *wire.Reply{}}
	s := &session{
		plugin: p, log: log, stream: stream, calls: c, host: &Host{log: log, calls: c},
		started: make(chan struct{}), run: make(chan struct{}, 1), stop: make(chan *wire.Drain, 1),
	}
	s.work = newWork(p.inFlight(), s.start, s.release)
	return s
}

// serve returns when the plugin has drained, or the host is gone.
func (s *session) serve(ctx context.Context) error {
	handlers, endHandlers := context.WithCancelCause(ctx)
	running, endRun := context.WithCancelCause(ctx)
	defer endHandlers(errStopping)
	defer endRun(errStopping)

	over := make(chan struct{}) // closed when only the writer is still needed
	var g errgroup.Group
	g.Go(func() error { return s.stream.Write(ctx) })
	g.Go(func() error { return s.extend(over) })
	runEnded := make(chan struct{})
	g.Go(func() error { defer close(runEnded); s.keepRunning(running); return nil })
	s.stream.Send(&wire.PluginFrame{Credit: uint32(s.plugin.inFlight())})

	gone := make(chan error, 1)
	//house:go Recv returns only when the stream ends, which our return causes
	go func() { gone <- s.read(handlers) }()

	var why error
	limit := lastGrace
	soft := time.Duration(0)
	select {
	case d := <-s.stop:
		limit = max(time.Duration(d.TimeoutMs)*time.Millisecond, time.Millisecond)
		soft = limit * 4 / 5 // the rest is for handlers that only end with their ctx
		s.log.Debug("draining", "reason", d.Reason)
	case why = <-gone:
		if errors.Is(why, io.EOF) {
			why = nil // the host has closed its half: it wants nothing more
		}
	}
	s.wind(ctx, soft, limit, endHandlers, endRun, runEnded)
	close(over)
	if why == nil {
		s.stream.Send(&wire.PluginFrame{Drained: true})
	}
	s.calls.end()
	s.stream.Close()
	if err := g.Wait(); why == nil && err != nil {
		why = fmt.Errorf("write to host: %w", err)
	}
	return why
}

// wind ends Run and the handlers and calls Stop, all within limit. Handlers may
// go on undisturbed for the time soft.
func (s *session) wind(ctx context.Context, soft, limit time.Duration, endHandlers, endRun context.CancelCauseFunc, runEnded <-chan struct{}) {
	ctx = context.WithoutCancel(ctx) // a stream that broke ends handlers, but Stop still has its time
	softly, cancel := context.WithTimeout(ctx, soft)
	defer cancel()
	hardly, cancel := context.WithTimeoutCause(ctx, limit, errStopping)
	defer cancel()
	s.work.close()
	endRun(errStopping)
	for _, part := range []struct {
		name  string
		ended <-chan struct{}
	}{{"Run", runEnded}, {"a handler", s.work.idle}} {
		select {
		case <-part.ended:
			continue
		case <-softly.Done():
			endHandlers(errStopping)
		}
		select {
		case <-part.ended:
		case <-hardly.Done():
			s.log.Warn("stopped waiting for what goes on after its ctx has ended", "state", part.name, "took", limit)
			return // no Stop beside what still runs
		}
	}
	select {
	case <-s.started:
		if s.plugin.Stop != nil {
			if err := safely(func() error { return s.plugin.Stop(hardly) }); err != nil {
				s.log.Error("stop", "err", err)
			}
		}
	default:
	}
}

// read hands out the host's frames until the stream ends. It never waits for a
// handler, so that a ping finds a plugin alive whose handlers are stuck.
func (s *session) read(handlers context.Context) error {
	for {
		f, err := s.stream.Recv()
		if err != nil {
			return err
		}
		now := time.Now()
		for _, d := range f.Deliver {
			s.work.add(newHandling(handlers, d, now))
		}
		for _, id := range f.Revoke {
			s.work.revoke(id)
		}
		for _, r := range f.Reply {
			s.calls.answer(r)
		}
		if f.LogLevel != "" {
			setLevel(s.log, f.LogLevel)
		}
		if f.Sessions != nil {
			s.host.sessions.Store(&f.Sessions)
		}
		if f.Ping != 0 {
			s.stream.Send(&wire.PluginFrame{Pong: f.Ping})
		}
		if f.Run {
			select {
			case s.run <- struct{}{}:
			default:
			}
		}
		if f.Drain != nil {
			select {
			case s.stop <- f.Drain:
			default: // asked before
			}
		}
	}
}

// extend tells the host that handlers still run.
func (s *session) extend(over <-chan struct{}) error {
	tick := time.NewTicker(extendEvery)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return nil
		case <-tick.C:
			if f := s.work.extension(); f != nil {
				s.stream.Send(f)
			}
		}
	}
}
