package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"balhost/host/internal/instance"
	"balhost/host/internal/plain"
	"balhost/host/internal/pluginhost/artefact"
	"balhost/host/internal/pluginhost/policy"
	"balhost/host/internal/pluginhost/process"
	"balhost/host/internal/status"
	"balhost/sdk/wire"
)

// life is one plugin process, from before its start until nothing of it is
// left. One goroutine runs it.
type life struct {
	host    *Host
	name    string
	version policy.Version
	places  chan struct{} // of those that are being started
	trier   bool
	store   *artefact.Store
	news    func(news)    // tells the supervisor
	permit  chan struct{} // closed by the supervisor: it may serve
	cancel  context.CancelCauseFunc
	lines   *process.Output
	log     hclog.Logger

	// What follows is the supervisor's.
	known    bool      // it was described, so what open sets is there
	replaced time.Time // it was told to drain then, since another takes over; zero: it wasn't

	// What follows is owned by run. The supervisor may look at what open sets when it
	// was described, and at all when it has ended.
	limits   limits // with the options' start_timeout
	process  *process.Process
	failure  atomic.Pointer[status.RunFailure] // of its Run, the last; nil: none
	session  *wire.HostStream                  // nil before open
	cut      context.CancelFunc                // ends session
	closed   chan struct{}                     // closed when session has ended
	broke    error                             // why, set before that
	manifest *wire.Manifest                    // nil before open
	options  PluginOptions                     // the version's
	facts    instance.Facts                    // what the dispatcher knows of it; from open on
	dispatch instance.Dispatch                 // hears what the process says; nil before open
	began    time.Time                         // when it was described
	rpc      *wire.Client                      // asks it for its metrics; from open on
	// sessions are what it was told, the supervisor's from ready on.
	sessions toldSessions
	place    func() // lets the next process start; may be called again
}

// news is a step in a life that the supervisor hears of.
type news int

const (
	described  news = iota // its session is open, its claims are known
	configured             // waits for its permit
	ready                  // serves
	wantsTrier             // the dispatcher asks for a second process
	retired                // the dispatcher needs it no longer
	buried                 // its process has gone; the dispatcher hears of it next
)

// run starts the process and serves until it ends by itself or ctx ends. Then the
// process is drained and ended, and nothing is left of it. The error tells a person why
// it ended; after the end of ctx it is ctx's cause. The end of host shortens the
// draining.
func (l *life) run(ctx, host context.Context) error {
	path, env := program(l.store, l.version.SHA256, l.options)
	l.limits = l.host.limits
	if t := l.options.StartTimeout; t != 0 {
		l.limits.Handshake, l.limits.Answer, l.limits.configure = t, t, t
	}
	l.process = l.host.parent.New(path, l.store.Work(), env, l.lines, l.limits.Limits)
	place, err := l.host.enter(l.places, ctx.Done()) // not all at once: a machine has few processors
	if err != nil {
		return err
	}
	defer place()
	l.place = place
	err = l.live(ctx, host)
	if ctx.Err() == nil && !errors.As(err, new(artefact.Fault)) {
		l.process.Broken()
	}
	place()
	l.process.End()
	if l.session != nil {
		l.cut()
		<-l.closed // no frame comes after this
	}
	l.process.Close()
	switch {
	case host.Err() != nil:
		err = policy.ErrStopping
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	default:
		err = l.process.Explain(err)
	}
	l.news(buried)
	if l.dispatch != nil {
		l.dispatch.Gone(err.Error()) // P5: not before
	}
	return err
}

// program is what is started of a content, with its variables. A folder's program is told
// where its copy is, and Python leaves that as it is.
func program(store *artefact.Store, sha256 string, o PluginOptions) (path string, env []string) {
	path, folder := store.Program(sha256)
	if folder != "" {
		env = []string{"PYTHONDONTWRITEBYTECODE=1", "BALHOST_PLUGIN_DIR=" + folder}
	}
	return path, append(env, o.variables()...)
}

// live is a life in its order: start, handshake, connection, health, Describe,
// session, Configure, ready, drain.
func (l *life) live(ctx, host context.Context) error {
	// Until it is ready, it is not drained but killed.
	stop := context.AfterFunc(ctx, func() { l.process.Abort("stopped while starting") })
	defer stop()

	if err := l.store.Make(); err != nil { // somebody may have removed it
		return fmt.Errorf("can't be started: %w", err)
	}
	rpc, err := l.process.Start(ctx)
	if err != nil {
		return err
	}
	if err := l.describe(ctx, rpc); err != nil {
		return err
	}
	if err := l.open(rpc); err != nil {
		return err
	}
	if err := l.configure(ctx, rpc); err != nil {
		return err
	}
	l.news(configured)
	select {
	case <-l.permit:
	case <-ctx.Done():
	case <-l.process.Exited():
		return errors.New("exited") // Explain knows more
	case <-l.closed:
		return l.broken()
	}
	if !stop() {
		return context.Cause(ctx)
	}
	l.dispatch.Ready()
	l.news(ready)
	return l.serve(ctx, host)
}

// which are the log's pairs for a process that was described.
func (l *life) which() []any {
	return []any{"version", plain.Line(l.manifest.GetVersion(), 64), "sha256", l.version.SHA256[:12], "pid", l.process.PID()}
}

// serve waits for the end of a running plugin, by itself or by ctx.
func (l *life) serve(ctx, host context.Context) error {
	var guards errgroup.Group
	guarding, stop := context.WithCancel(ctx)
	if !l.options.Debug {
		guards.Go(func() error { return l.ping(guarding) })
	}
	if l.options.MemoryMax > 0 {
		guards.Go(func() error { return l.weigh(guarding) })
	}
	defer func() {
		stop()
		_ = guards.Wait() // they kill and return nil
	}()
	select {
	case <-ctx.Done():
		l.drain(ctx, host)
		return context.Cause(ctx)
	case <-l.process.Exited():
		return errors.New("exited") // Explain knows more
	case <-l.closed:
		return l.broken()
	}
}

// ping pings the process in its session, so that a process whose loop hangs is noticed.
func (l *life) ping(ctx context.Context) error {
	every := l.host.limits.ping
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		deadline, cancel := context.WithTimeout(ctx, every)
		err := l.session.Ping(deadline)
		late := deadline.Err() != nil
		cancel()
		if err != nil && ctx.Err() == nil && late {
			l.process.Kill(fmt.Sprintf("hung: no answer to a ping within %v", every))
			return nil
		}
	}
}

// weigh kills the process when it and what it has started hold more memory than they may.
func (l *life) weigh(ctx context.Context) error {
	blind := 0
	tick := time.NewTicker(l.host.limits.weigh)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		used := l.process.Memory()
		if blind++; used > 0 || !l.process.Runs() {
			blind = 0
		}
		if blind == 4 { // not just one that has ended this moment
			l.log.Warn("memory_max has no effect: how much memory the plugin uses can't be read here")
		}
		if used > l.options.MemoryMax {
			l.process.Kill(fmt.Sprintf("uses %d MiB of memory, more than memory_max allows (%d MiB)", used>>20, l.options.MemoryMax>>20))
			return nil
		}
	}
}

// drain has the dispatcher drain the process, within the plugin's limit. When the host
// stops, its limit counts too.
func (l *life) drain(ctx, host context.Context) {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.options.DrainTimeout)
	defer cancel()
	hurry := context.AfterFunc(host, func() { //house:go ends with limit
		select {
		case <-time.After(l.host.o.StopTimeout):
			cancel()
		case <-limit.Done():
		}
	})
	defer hurry()
	if err := l.dispatch.Drain(limit); err != nil {
		l.log.Warn("plugin did not drain in time: what it holds is given out again", "err", err)
	}
}
