package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"balhost/host/internal/instance"
	"balhost/host/internal/pluginhost/artefact"
	"balhost/host/internal/pluginhost/policy"
	"balhost/sdk/wire"
)

// life is one plugin process, from before its start until nothing of it is
// left. One goroutine runs it.
type life struct {
	host    *Host
	name    string
	version policy.Version
	copy    string // path of the version's content
	proven  bool   // its content has worked before
	trier   bool
	dir     string        // its working folder
	news    func(news)    // tells the supervisor
	permit  chan struct{} // closed by the supervisor: it may serve
	cancel  context.CancelCauseFunc
	level   string // of its log
	lines   *output
	log     hclog.Logger

	// What follows is the supervisor's.
	known bool // it was described, so what open sets is there

	// What follows is owned by run. The supervisor may look at what open sets when it
	// was described, and at all when it has ended.
	process  *process
	client   *plugin.Client // nil before connect
	dialled  bool           // client has its connection
	conn     atomic.Pointer[grpc.ClientConn]
	failure  atomic.Pointer[RunFailure] // of its Run, the last; nil: none
	session  *wire.HostStream           // nil before open
	cut      context.CancelFunc         // ends session
	closed   chan struct{}              // closed when session has ended
	broke    error                      // why, set before that
	manifest *wire.Manifest             // nil before open
	options  PluginOptions              // the version's
	facts    instance.Facts             // what the dispatcher knows of it; from open on
	dispatch instance.Dispatch          // hears what the process says; nil before open
	began    time.Time                  // when it was described
	// sessions are the names that it was told, the supervisor's from ready on.
	sessions []string
	died     bool   // exited before it was asked or made to
	place    func() // gives its place among those that start away; may be called again
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

// run starts the process, serves until it ends by itself or ctx does, which
// drains it, and leaves nothing of it. The error says in words for a person why
// it ended; after the end of ctx it is ctx's cause. The end of host shortens the
// draining.
func (l *life) run(ctx, host context.Context) error {
	l.process = newProcess(l.copy, l.dir, l.host.kin.one(l.host.started.Add(1)), &lines{output: l.lines}, l.host)
	place, err := l.host.place(ctx, l.proven) // not all at once: a machine has few processors
	if err != nil {
		return err
	}
	defer place()
	l.place = place
	err = l.live(ctx, host)
	// A broken connection is seen before the exit that broke it.
	broken := ctx.Err() == nil && !errors.As(err, new(artefact.Fault))
	if broken && l.process.started() {
		l.died = l.process.exits(l.host.limits.moment)
	}
	place()
	l.bury()
	switch {
	case host.Err() != nil:
		err = policy.ErrStopping
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	default:
		err = l.explain(err)
	}
	l.news(buried)
	if l.dispatch != nil {
		l.dispatch.Gone(err.Error()) // P5: not before
	}
	return err
}

// live is a life in its order: start, handshake, connection, health, Describe,
// session, Configure, ready, drain.
func (l *life) live(ctx, host context.Context) error {
	// Until it is ready, to be stopped is to be killed.
	stop := context.AfterFunc(ctx, func() { //house:go kills, which does not block
		l.process.kill("stopped while starting")
		l.hangUp()
	})
	defer stop()

	if err := l.handshake(); err != nil {
		return err
	}
	rpc, err := l.connect(ctx)
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
	case <-l.process.exited:
		return errors.New("exited") // explain knows more
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

// serve waits for the end of a running plugin, by itself or by ctx.
func (l *life) serve(ctx, host context.Context) error {
	var guards errgroup.Group
	guarding, stop := context.WithCancel(ctx)
	guards.Go(func() error { return l.ping(guarding) })
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
	case <-l.process.exited:
		return errors.New("exited") // explain knows more
	case <-l.closed:
		return l.broken()
	}
}

// ping asks for a sign of life, in-band: a live process with a stuck loop gives none.
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
			l.process.kill(fmt.Sprintf("hung: no answer to a ping within %v", every))
			return nil
		}
	}
}

// weigh kills the process when its group holds more memory than it may.
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
		used := groupMemory(l.process.pid())
		if blind++; used > 0 || !l.process.runs() {
			blind = 0
		}
		if blind == 4 { // not just one that has ended this moment
			l.log.Warn("memory_max has no effect: how much memory the plugin uses can't be read here")
		}
		if used > l.options.MemoryMax {
			l.process.kill(fmt.Sprintf("uses %d MiB of memory, more than memory_max allows (%d MiB)", used>>20, l.options.MemoryMax>>20))
			return nil
		}
	}
}

// drain lets the dispatcher take the plugin out, within the plugin's limit, and
// from the host's stopping on within the host's.
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

// bury ends the process, waits for it, and removes all that belonged to it.
func (l *life) bury() {
	p := l.process
	if p.started() {
		if !l.died {
			l.end()
		}
		<-p.exited
	}
	l.lines.flush()
	if l.session != nil {
		l.cut()
		<-l.closed // no frame comes after this
	}
	l.hangUp()
	if l.client != nil && (l.dialled || !p.handshake.done()) {
		l.client.Kill() // only tidies up; it would dial once more where it never had
	}
	if p.socketDir != "" {
		if err := os.RemoveAll(p.socketDir); err != nil {
			l.log.Warn("remove plugin's socket", "err", err)
		}
	}
}

// end makes the process exit: it is asked by go-plugin's Shutdown and by
// SIGTERM, a while each, and then killed.
func (l *life) end() {
	p, grace := l.process, l.host.limits.grace
	if l.dialled && p.reason() == "" {
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		// go-plugin's own message types are internal; theirs are as empty.
		err := l.conn.Load().Invoke(ctx, "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
		switch status.Code(err) { // a plugin without this service gets the signal at once
		case codes.OK, codes.Unavailable: // go-plugin's server is gone before it has answered
			if p.exits(grace) {
				return
			}
		}
	}
	p.terminate()
	if !p.exits(grace) {
		l.log.Warn("plugin did not exit when asked: killed")
		p.kill("did not exit when asked")
	}
}

// explain says why it ended: what we know of the process beats what went wrong
// on the way.
func (l *life) explain(err error) error {
	if errors.As(err, new(artefact.Fault)) {
		return err
	}
	p := l.process
	words := p.lines.words()
	if words != "" {
		words = "; its last words: " + words
	}
	if reason := p.reason(); reason != "" {
		return errors.New(reason + words)
	} else if !l.died {
		return fmt.Errorf("%w%s", err, words)
	}
	status, signal := p.ending()
	ended := fmt.Sprintf("exited with status %d", status)
	if signal != "" {
		ended = "killed by signal: " + signal
	}
	if p.handshake.done() {
		if reason := artefact.Flaw(p.path); reason != "" { // what it may have died of
			words = "; its file " + reason + words
		}
		return errors.New(ended + words)
	}
	if fault := l.fault(ended + words); fault != nil {
		return fault
	} else if signal != "" {
		return errors.New(ended + words)
	}
	return artefact.Fault(fmt.Sprintf("not a plugin: exited before the handshake with status %d%s", status, words))
}

// fault is what the content or the system is to blame for when a process has died
// before its handshake; nil: nothing is known.
func (l *life) fault(ended string) error {
	path := l.process.path
	if reason := artefact.Flaw(path); reason != "" {
		return artefact.Fault("not a plugin: it " + reason + "; " + ended)
	}
	if reason := artefact.Lack(path); reason != "" {
		return fmt.Errorf("can't be started: it %s; %s", reason, ended)
	}
	return nil
}
