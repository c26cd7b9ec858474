package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"balhost/host/internal/config"
	"balhost/host/internal/status"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// fleet runs the lines of each session of the config, and applies changes of the config.
// A line that fails ends the fleet.
type fleet struct {
	newSession newSession
	metrics    prometheus.Registerer
	changes    chan change

	mu      sync.Mutex // guards members
	members []*member  // in the config's order; a session's gateway stands behind its transport
}

// newSession makes what carries the messages of a line; roots verify its server,
// nil: the system's.
type newSession func(s config.Session, roots *x509.CertPool, metrics prometheus.Registerer) transport

// member is one running line.
type member struct {
	config  config.Session // with the line's own block alone
	roots   *x509.CertPool
	session transport
	metrics *scope
	cancel  context.CancelFunc
	ended   chan error // gets the one result of Run
}

// change asks run to run these lines instead; done is closed when they run.
type change struct {
	lines []config.Session
	made  map[line]*member // those that are new or changed
	done  chan struct{}
}

func newFleet(metrics prometheus.Registerer, made newSession) *fleet {
	return &fleet{newSession: made, metrics: metrics, changes: make(chan change)}
}

// prepare makes what apply needs, or returns what is wrong with the config. It changes
// nothing.
func (f *fleet) prepare(sessions []config.Session) (change, error) {
	c := change{lines: lines(sessions), made: map[line]*member{}, done: make(chan struct{})}
	for _, s := range c.lines {
		m := &member{config: s, metrics: &scope{to: f.metrics}, ended: make(chan error, 1)}
		var err error
		if m.roots, err = s.Roots(); err != nil {
			return c, fmt.Errorf("session %q: ca_file: %w", s.Name, err)
		}
		if old := f.member(lineOf(s)); old != nil && same(old.config, s) && old.roots.Equal(m.roots) {
			continue
		}
		m.session = f.newSession(s, m.roots, m.metrics)
		c.made[lineOf(s)] = m
	}
	return c, nil
}

// openTime bounds how long a reload waits for servers to accept new sessions. Together
// with reloadTime it is less than a client of the admin API waits.
const openTime = 15 * time.Second

// open asks the servers of c's new sessions while the old ones still serve. So a wrong key
// or address costs nothing. If one is not accepted, open closes all new sessions and
// returns the reasons.
func (f *fleet) open(ctx context.Context, c change) error {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	var g errgroup.Group
	var mu sync.Mutex // guards failed
	failed := map[string]error{}
	for at, m := range c.made {
		old := f.predecessor(m.config)
		if at.gateway || old == nil || !old.stands() { // a gateway has no server: see listen
			continue
		}
		tried, ok := m.session.(opener)
		if !ok {
			continue
		}
		g.Go(func() error {
			err := tried.Open(ctx, old.session)
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed[at.session] = err
			}
			return nil
		})
	}
	g.Wait() //nolint:errcheck // failed has them
	var all []error
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		all = append(all, fmt.Errorf("session %q could not be opened with its new settings: %w; the old session goes on", name, failed[name]))
	}
	if len(all) > 0 {
		c.close()
	}
	return errors.Join(all...)
}

// stands reports whether the session serves now.
func (m *member) stands() bool {
	s, ok := m.session.(stander)
	return ok && s.Stands()
}

// predecessor is the running line that s replaces: of the same sender, or else of the same name.
func (f *fleet) predecessor(s config.Session) *member {
	for _, m := range f.all() {
		if m.config.SenderID == s.SenderID && lineOf(m.config).gateway == lineOf(s).gateway {
			return m
		}
	}
	return f.member(lineOf(s))
}

// close closes the sessions of a change that is not applied.
func (c change) close() {
	for _, m := range c.made {
		if s, ok := m.session.(opener); ok {
			s.Close()
		}
	}
}

// apply applies a prepared change, and returns when it is done or ctx ends.
func (f *fleet) apply(ctx context.Context, c change) error {
	select {
	case f.changes <- c:
	case <-ctx.Done():
		c.close()
		return ctx.Err()
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run runs the sessions that apply brings until ctx ends or one of them ends.
func (f *fleet) run(ctx context.Context) error {
	failed := make(chan error, 1)
	defer func() {
		for _, m := range f.all() {
			m.cancel()
		}
		for _, m := range f.all() {
			<-m.ended
		}
	}()
	for {
		select {
		case c := <-f.changes:
			f.change(ctx, c, failed)
			close(c.done)
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// change ends all lines that are gone or changed at the same time, and starts the new
// ones.
func (f *fleet) change(ctx context.Context, c change, failed chan<- error) {
	keep := func(m *member) bool {
		at := lineOf(m.config)
		return c.made[at] == nil && slices.ContainsFunc(c.lines, func(s config.Session) bool { return lineOf(s) == at })
	}
	before := f.all()
	for _, m := range before {
		if !keep(m) {
			m.cancel()
		}
	}
	var now []*member
	for _, m := range before {
		if !keep(m) {
			<-m.ended
			m.metrics.close()
		}
	}
	for _, s := range c.lines {
		m := c.made[lineOf(s)]
		if m == nil {
			m = f.member(lineOf(s))
		} else {
			m.start(ctx, failed)
		}
		now = append(now, m)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.members = now
}

func (m *member) start(ctx context.Context, failed chan<- error) {
	m.metrics.open()
	ctx, m.cancel = context.WithCancel(ctx)
	go func() { //house:go run waits for ended
		err := m.session.Run(ctx)
		if ctx.Err() == nil {
			if err == nil {
				err = errors.New("stopped unasked")
			}
			select {
			case failed <- lineOf(m.config).wrong(err):
			default:
			}
		}
		m.ended <- err
	}()
}

func (f *fleet) all() []*member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.members)
}

func (f *fleet) member(at line) *member {
	for _, m := range f.all() {
		if lineOf(m.config) == at {
			return m
		}
	}
	return nil
}

// running are the lines that run now.
func (f *fleet) running() []transport {
	var all []transport
	for _, m := range f.all() {
		all = append(all, m.session)
	}
	return all
}

// status is that of each session: of its transport and its gateway together.
func (f *fleet) status() (all []status.Session) {
	sender := ""
	for _, m := range f.all() {
		s := m.session.Status()
		if n := len(all); n > 0 && m.config.Gateway != nil && m.config.SenderID == sender {
			all[n-1] = beside(all[n-1], s)
		} else {
			all = append(all, s)
		}
		sender = m.config.SenderID
	}
	return all
}
