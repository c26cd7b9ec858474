package plugincheck

import (
	"io"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// listener takes what a process prints, as the host would log it.
type listener struct {
	hclog.InterceptLogger

	mu     sync.Mutex // guards what follows
	counts [hclog.Off + 1]int
	last   time.Time
	first  [hclog.Off + 1]string // line of a level since the last mark
}

func newListener() *listener {
	l := &listener{InterceptLogger: hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Trace, Output: io.Discard})}
	l.RegisterSink(l)
	return l
}

// Accept is hclog's for a sink.
func (l *listener) Accept(_ string, level hclog.Level, msg string, _ ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = time.Now()
	if l.counts[level]++; l.first[level] == "" {
		l.first[level] = msg
	}
}

// mark forgets what was printed.
func (l *listener) mark() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts, l.first = [hclog.Off + 1]int{}, [hclog.Off + 1]string{}
}

// below counts the lines below a level since the last mark, and has one of them.
func (l *listener) below(level hclog.Level) (n int, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at := hclog.Trace; at < level; at++ {
		if n += l.counts[at]; line == "" {
			line = l.first[at]
		}
	}
	return n, line
}

// settle waits until nothing was printed for a while, at most for as long as limit.
func (l *listener) settle(limit time.Duration) {
	const quiet = 300 * time.Millisecond
	for late, from := time.Now().Add(limit), time.Now(); time.Now().Before(late); time.Sleep(20 * time.Millisecond) {
		l.mu.Lock()
		last := l.last
		l.mu.Unlock()
		if last.Before(from) {
			last = from
		}
		if time.Since(last) > quiet {
			return
		}
	}
}

// await waits until a line below error was printed, at most for as long as limit.
func (l *listener) await(limit time.Duration) {
	for late := time.Now().Add(limit); time.Now().Before(late); time.Sleep(20 * time.Millisecond) {
		if n, _ := l.below(hclog.Error); n > 0 {
			return
		}
	}
}
