package plugincheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/status"

	"balhost/host/internal/plain"
	"balhost/host/internal/pluginhost"
	"balhost/sdk/wire"
)

// life is one process of the plugin, from its start to its end.
type life struct {
	c        *check
	proc     *pluginhost.Process
	log      *listener
	manifest *wire.Manifest
	session  *session    // nil before it is open
	spared   func() bool // the end of the check ends it no more
	buried   bool        // the process has ended, and nothing of it is left
}

// dead says why a life has ended that should not have; nil: it goes on. It waits a moment
// if the stream has ended, for what the process's exit tells.
func (l *life) dead() error {
	if l.session == nil {
		return errors.New("it has no session")
	}
	l.session.mu.Lock()
	ended, why := l.session.ended, l.session.why
	l.session.mu.Unlock()
	select {
	case <-l.proc.Exited():
	default:
		if !ended {
			return nil
		}
	}
	if why == nil {
		why = io.EOF
	}
	return l.explain(why)
}

// explain ends a process that has failed, and says why it did.
func (l *life) explain(err error) error {
	l.proc.Broken()
	if errors.Is(err, io.EOF) {
		err = errors.New("it ended its session unasked")
	} else if st, ok := status.FromError(err); ok {
		err = errors.New(plain.Line(st.Message(), 300))
	}
	l.bury()
	return l.proc.Explain(err)
}

// kill ends the process at once.
func (l *life) kill() {
	l.proc.Kill("ended by the check")
	l.bury()
}

// bury ends the process, if it has not ended, and removes what belonged to it.
func (l *life) bury() {
	if l.buried {
		return
	}
	l.buried = true
	if l.spared != nil {
		l.spared()
	}
	l.proc.End()
	if l.session != nil {
		l.session.cut()
		_ = l.session.reader.Wait() // it returns nil
	}
	l.proc.Close()
}

// process is the life that rows use which don't end it, a new one if the last has ended.
func (c *check) process(ctx context.Context) (*life, error) {
	if c.main != nil && !c.main.buried {
		if err := c.main.dead(); err == nil {
			return c.main, nil
		}
	}
	l, err := c.fresh(ctx)
	c.main = l
	return l, err
}

// fresh starts a process. The first one is looked at closely: beginning has what was found.
func (c *check) fresh(ctx context.Context) (*life, error) {
	if c.begin == nil {
		c.begin = &beginning{steps: map[string]finding{}}
		l, err := c.start(ctx, start{config: c.o.Plugin.Config, note: c.begin.note})
		if err != nil {
			c.begin.failed = err
			return nil, err
		}
		c.begin.manifest = l.manifest
		return l, nil
	}
	if c.begin.failed != nil {
		return nil, c.begin.failed
	}
	return c.start(ctx, start{config: c.o.Plugin.Config, note: func(string, finding) {}})
}

// beginning is what was found at the first start, by row.
type beginning struct {
	steps    map[string]finding
	manifest *wire.Manifest
	failed   error // why it did not start
}

func (b *beginning) note(row string, f finding) { b.steps[row] = f }

// row is the row that says why the process did not start; "": none does.
func (b *beginning) row() string {
	for _, name := range []string{"handshake", "tls", "health", "describe", "configure"} {
		if b.steps[name].verdict == Fails {
			return name
		}
	}
	return ""
}

// step is the row of a step of the first start.
func step(name string) func(*check, context.Context) finding {
	return func(c *check, ctx context.Context) finding {
		if c.begin == nil {
			c.main, _ = c.fresh(ctx) // its steps have the error
		}
		if f, has := c.begin.steps[name]; has {
			return f
		}
		return unknown("the plugin did not start: %v", c.begin.failed)
	}
}

// with is a row that uses the process of the others. When the process dies while the row is
// checked, the row fails.
func with(row func(*check, context.Context, *life) finding) func(*check, context.Context) finding {
	return func(c *check, ctx context.Context) finding {
		l, err := c.process(ctx)
		if err != nil {
			return unknown("the plugin does not start: %v", err)
		}
		return c.survived(row(c, ctx, l), l)
	}
}

// survived is a row's finding, unless the process has died of the row.
func (c *check) survived(f finding, l *life) finding {
	if l.buried {
		return f // the row has ended it
	}
	why := l.dead()
	if why == nil || f.verdict == Fails {
		return f
	}
	return fails("§7: only the host ends a plugin. Whatever comes, a handler that fails is a RETRY, and the process goes on", "the process ended: %v", why)
}

// took is a time for people.
func took(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
