package pluginhost

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"balhost/host/internal/backoff"
)

// supervisor keeps one plugin running: the content that the folder offers, or
// none. It never gives one up for good.
type supervisor struct {
	host   *Host
	name   string
	log    hclog.Logger
	offers chan *file // what the folder holds now, nil for nothing; capacity 1, the latest counts
	first  func()     // its first process was described or failed; the first call counts
	rnd    *rand.Rand

	refused string // sha256 of the content that isn't tried again
	reason  string // why not

	mu     sync.Mutex // guards status
	status Status
}

func newSupervisor(h *Host, name string, first func()) *supervisor {
	return &supervisor{
		host: h, name: name, log: h.o.Log.With("plugin", name),
		offers: make(chan *file, 1), first: sync.OnceFunc(first),
		rnd:    rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		status: Status{Name: name, State: Discovered},
	}
}

// offer says what the folder holds under this name. One goroutine may call it;
// it doesn't block.
func (s *supervisor) offer(f *file) {
	select {
	case <-s.offers:
	default:
	}
	s.offers <- f
}

// run supervises until ctx ends and the process, if any, is drained and gone.
func (s *supervisor) run(ctx context.Context) error {
	defer s.first()
	var want *file
	for {
		if want != nil {
			want = s.pursue(ctx, *want)
		} else {
			select {
			case want = <-s.offers:
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			s.set(Stopped, errStopping.Error())
			return nil
		}
		if want == nil {
			s.leave()
		}
	}
}

// pursue runs the content of a file, again and again, until the folder offers
// another, which it returns, or ctx ends.
func (s *supervisor) pursue(ctx context.Context, f file) (next *file) {
	for failures := 0; ; {
		bin, err := s.stage(f)
		var ready time.Time
		if err == nil {
			var replaced bool
			if next, replaced, ready, err = s.serve(ctx, bin); replaced {
				return next
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.As(err, new(refusal)) && !s.store().proven(bin) {
			s.refused, s.reason = bin.sha256, err.Error()
			return s.refuse(ctx)
		}
		if !ready.IsZero() && time.Since(ready) >= s.host.limits.healthy {
			failures = 0
		}
		failures++
		if next, replaced := s.wait(ctx, failures, err); replaced || ctx.Err() != nil {
			return next
		}
		if bin.path != "" {
			s.restarted()
		}
	}
}

func (s *supervisor) store() store { return s.host.store(s.name) }

// stage makes the private copy, unless the content is known to be refused.
func (s *supervisor) stage(f file) (bin binary, err error) {
	if reason := vet(f); reason != "" {
		return bin, refusal(reason)
	}
	st := s.store()
	if bin, err = st.stage(f); err != nil {
		return bin, err
	}
	if err := st.keep(bin, time.Now()); err != nil {
		s.log.Warn("old copies of the plugin stay", "err", err)
	}
	if bin.sha256 == s.refused {
		return bin, refusal(s.reason)
	}
	return bin, nil
}

// serve runs one process of bin to its end, or until the folder offers other
// content or nothing.
func (s *supervisor) serve(ctx context.Context, bin binary) (next *file, replaced bool, ready time.Time, err error) {
	release, err := s.host.slot(ctx) // not all at once: a machine has few processors
	if err != nil {
		return nil, false, ready, err
	}
	defer release()
	s.starting(bin)
	alive, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	l := &life{
		host: s.host, name: s.name, bin: bin, dir: s.store().work(), log: s.log,
		options: s.host.options(s.name),
		report: func(state State, inst *Instance) {
			release()
			reason := ""
			switch {
			case state == Running:
				s.prove(bin)
			case state == Draining && ctx.Err() != nil:
				reason = errStopping.Error()
			case state == Draining:
				reason = context.Cause(alive).Error()
			}
			s.follow(state, reason, inst)
			s.first()
		},
	}
	ended := make(chan error, 1)
	var process errgroup.Group
	process.Go(func() error { ended <- l.run(alive, ctx); return nil })
	var again <-chan time.Time // to stage next once more
	for {
		select {
		case err := <-ended:
			_ = process.Wait()
			return nil, false, l.ready, err
		case next = <-s.offers:
		case <-again:
		}
		again = nil
		cause := errRemoved
		if next != nil {
			cause = errReplaced
			switch other, err := s.store().stage(*next); {
			case errors.Is(err, errChanging):
				continue // it is offered again when it has settled
			case err != nil:
				s.log.Warn("new content of the plugin can't be taken: the old runs on", "err", err)
				again = time.After(s.host.limits.rescan)
				continue
			case other.sha256 == bin.sha256:
				continue // touched, that is all
			}
		}
		stop(cause)
		_ = process.Wait()
		return next, true, l.ready, nil
	}
}

// wait lets the backoff pass. replaced: the folder offered something meanwhile.
func (s *supervisor) wait(ctx context.Context, failures int, err error) (next *file, replaced bool) {
	o := s.host.options(s.name)
	delay := backoff.Policy{Min: o.RestartMin, Max: o.RestartMax}.DelayAtLeast(failures, s.rnd)
	if errors.Is(err, errChanging) {
		s.set(Discovered, err.Error()) // the folder offers it again
		delay = s.host.limits.rescan
	} else {
		s.backoff(err, failures, delay)
		s.first()
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case next := <-s.offers:
		return next, true
	}
	return nil, false
}

// refuse waits for the folder to offer something else.
func (s *supervisor) refuse(ctx context.Context) *file {
	s.set(Refused, s.reason)
	s.first()
	s.log.Error("plugin refused until its file changes", "err", s.reason)
	select {
	case <-ctx.Done():
		return nil
	case next := <-s.offers:
		return next
	}
}

// prove remembers that the content was ready once.
func (s *supervisor) prove(bin binary) {
	if err := s.store().prove(bin); err != nil {
		s.log.Warn("plugin's proof is not kept", "err", err)
	}
}

// leave tidies up after a plugin whose file is gone.
func (s *supervisor) leave() {
	s.first()
	s.set(Stopped, errRemoved.Error())
	s.host.o.Dispatcher.Removed(s.name)
	if err := s.store().clear(); err != nil {
		s.log.Warn("copies of a removed plugin stay", "err", err)
	}
}
