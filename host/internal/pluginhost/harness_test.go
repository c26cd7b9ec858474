package pluginhost

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"balhost/host/internal/entry"
	"balhost/host/internal/instance"
	"balhost/host/internal/pluginhost/process"
	"balhost/sdk/wire"
)

// patience is for what must happen on a busy machine, too.
const patience = 60 * time.Second

// brisk are limits for tests that wait for them; the others are generous.
func brisk() limits {
	l := usual
	l.quiet, l.absence, l.rescan = 50*time.Millisecond, 100*time.Millisecond, 200*time.Millisecond
	l.boot, l.Handshake, l.Answer, l.configure = patience, 30*time.Second, 30*time.Second, 30*time.Second
	l.ping = 30 * time.Second
	return l
}

// bench is a running host with a folder, and everything that it said.
type bench struct {
	t    *testing.T
	host *Host
	dir  string // the plugins folder
	data string
	log  *buffer
	stop func() // ends the host and waits; may be called again

	mu       sync.Mutex // guards what follows
	changed  chan struct{}
	events   []string // "described a", "said a: text", …
	live     map[*heard]bool
	latest   map[string]*heard
	draining map[*heard]chan struct{} // closed when it has said drained
	hasty    bool                     // the boot ends before all is known
	keepsRun bool                     // something of a person's lies in the folder for sockets
	stuck    bool                     // Drain waits for its context
	triers   map[string]*heard
	ran      map[*heard]bool
	results  map[string]entry.Results // by sha256
	serving  map[string]int           // by name: the PID of the process that was ready last
	mute     bool                     // Results fails
	asked    int                      // how often Results was asked for
}

// buffer is a log that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newBench makes a host that isn't started; put plugins and change options first.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{
		t: t, dir: t.TempDir(), data: t.TempDir(), log: &buffer{}, changed: make(chan struct{}),
		live: map[*heard]bool{}, latest: map[string]*heard{}, draining: map[*heard]chan struct{}{},
		triers: map[string]*heard{}, ran: map[*heard]bool{}, results: map[string]entry.Results{},
		serving: map[string]int{},
	}
	b.host = New(Options{
		Dir: b.dir, DataDir: b.data, Version: "test", Sessions: func() entry.Senders { return entry.Senders{{Name: "main", ID: "1"}} }, Dispatcher: b,
		StopTimeout: patience,
		Log:         hclog.New(&hclog.LoggerOptions{Output: b.log, Level: hclog.Info, DisableTime: true}),
		Plugin: func(string) PluginOptions {
			return PluginOptions{RestartMin: time.Millisecond, RestartMax: 50 * time.Millisecond, DrainTimeout: patience}
		},
	})
	b.host.limits = brisk()
	return b
}

// run starts the host; the test's end stops it and sees that nothing is left.
func (b *bench) run() {
	b.t.Helper()
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.host.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("host: %v", err)
		}
		b.nothingLeft()
		goleak.VerifyNone(b.t, before)
	})
	b.t.Cleanup(func() {
		b.stop()
		if b.t.Failed() {
			b.t.Logf("log:\n%s", b.log)
		}
	})
}

// nothingLeft checks that no process, socket or temporary file outlives the host.
func (b *bench) nothingLeft() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p := range b.live {
		b.t.Errorf("%s was never said to be gone", p.Name)
	}
	for _, p := range b.latest {
		if !dead(p.PID) {
			b.t.Errorf("the process of %s lives on", p.Name)
		}
	}
	if _, err := os.Stat(process.SocketRoot(b.data)); !os.IsNotExist(err) && !b.keepsRun {
		b.t.Errorf("folder for sockets %s is left: %v", process.SocketRoot(b.data), err)
	}
	drafts, _ := filepath.Glob(filepath.Join(b.data, "plugins", "*", ".staging-*"))
	for _, draft := range drafts {
		if made.MatchString(filepath.Base(draft)) && marked(filepath.Dir(draft)) {
			b.t.Errorf("left behind: %s", draft)
		}
	}
}

// made is a draft that the host makes, and none of a person's.
var made = regexp.MustCompile(`^\.staging-([0-9]+|record)$`)

func marked(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, ".balhost"))
	return err == nil
}

// put drops this test's binary into the folder as a plugin, as mv does. A tail
// makes its content another one.
func (b *bench) put(name string, tail string) (sha256 string) {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		b.t.Fatal(err)
	}
	content = append(content, tail...)
	b.write(name, content)
	return sum(content)
}

func sum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// script drops a shell script.
func (b *bench) script(name, text string) {
	b.t.Helper()
	b.write(name, []byte("#!/bin/sh\n"+text+"\n"))
}

func (b *bench) write(name string, content []byte) {
	b.t.Helper()
	writeExecutable(b.t, filepath.Join(b.dir, name), content)
}

// writeExecutable puts a file in its place at once, as mv does.
func writeExecutable(t *testing.T, path string, content []byte) {
	t.Helper()
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	// As in stage: no child of this process may hold it open for writing.
	syscall.ForkLock.RLock()
	err := os.WriteFile(tmp, content, 0o755)
	syscall.ForkLock.RUnlock()
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// tell gives a plugin an order.
func (b *bench) tell(name, order string) {
	b.mu.Lock()
	p := b.latest[name]
	b.mu.Unlock()
	p.Send(&wire.HostFrame{Reply: []*wire.Reply{{Error: order}}})
}

// ask gives an order and returns what the plugin said upon it.
func (b *bench) ask(name, order string) string {
	b.t.Helper()
	b.mu.Lock()
	from := len(b.events)
	b.mu.Unlock()
	b.tell(name, order)
	prefix := "said " + name + ": " + order + "="
	var said string
	b.until(name+" to answer "+order, func() bool {
		i := slices.IndexFunc(b.events[from:], func(e string) bool { return strings.HasPrefix(e, prefix) })
		if i >= 0 {
			said = strings.TrimPrefix(b.events[from+i], prefix)
		}
		return i >= 0
	})
	return said
}

// until waits for a condition on the events, with mu held.
func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.After(patience)
	for {
		b.mu.Lock()
		done, changed := ok(), b.changed
		b.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			b.t.Fatalf("waited for %s; events: %q\nstatus: %+v\nlog:\n%s", what, b.seen(), b.host.Status(), b.log)
		}
	}
}

// event waits until an event has come n times.
func (b *bench) event(event string, n int) {
	b.t.Helper()
	b.until(fmt.Sprintf("%q, %d times", event, n), func() bool { return b.count(event) >= n })
}

// count counts an event, with mu held.
func (b *bench) count(event string) (n int) {
	for _, e := range b.events {
		if e == event {
			n++
		}
	}
	return n
}

func (b *bench) seen() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.events)
}

// only returns the events that are among these, as they came.
func (b *bench) only(events ...string) []string {
	return slices.DeleteFunc(b.seen(), func(e string) bool { return !slices.Contains(events, e) })
}

// poll waits for what makes no event.
func (b *bench) poll(what string, ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited for %s; status: %+v\nlog:\n%s", what, b.host.Status(), b.log)
		}
	}
}

// state waits until a plugin is in a state, and returns its status. A status follows
// what the dispatcher is told, so for Running it waits until the status tells of the
// process that was ready last.
func (b *bench) state(name string, state State) (s Status) {
	b.t.Helper()
	b.poll(fmt.Sprintf("%s to be %s", name, state), func() bool {
		b.mu.Lock()
		serving := b.serving[name]
		b.mu.Unlock()
		s = b.status(name)
		return s.State == state && (state != Running || serving == 0 || s.PID == serving)
	})
	if s.State != Backoff && !s.NextStart.IsZero() {
		b.t.Errorf("%s is %s, and would be started at %s", name, s.State, s.NextStart)
	}
	return s
}

func (b *bench) status(name string) Status {
	for _, s := range b.host.Status() {
		if s.Name == name {
			return s
		}
	}
	return Status{}
}

func (b *bench) add(format string, args ...any) {
	b.events = append(b.events, fmt.Sprintf(format, args...))
	close(b.changed)
	b.changed = make(chan struct{})
}

// What follows is the Dispatcher.

// heard is a process, as its dispatcher knows it.
type heard struct {
	instance.Facts
	instance.Process
	b      *bench
	PID    int
	SHA256 string
}

func (b *bench) Described(facts instance.Facts, process instance.Process) instance.Dispatch {
	l := process.(*life)
	p := &heard{facts, process, b, l.process.PID(), l.version.SHA256}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.live[p] = true
	if p.Trier {
		b.triers[p.Name] = p
		b.add("trier %s", p.Name)
		return p
	}
	b.latest[p.Name] = p
	b.add("described %s", p.Name)
	return p
}

func (b *bench) Removed(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add("removed %s", name)
}

func (p *heard) Ready() {
	b := p.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.Trier {
		b.add("trying %s", p.Name)
		return
	}
	b.serving[p.Name] = p.PID
	b.add("ready %s", p.Name)
}

func (p *heard) Frame(f *wire.PluginFrame) {
	b := p.b
	if f.GetCall() != nil && f.Call[0].GetGet() == "last words" { // a slow dispatcher, with more to come
		for deadline := time.Now().Add(patience); !dead(p.PID) && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.live[p] {
		b.t.Errorf("frame of %s outside its life", p.Name)
	}
	for _, c := range f.Call {
		if c.GetGet() == "run" {
			for other := range b.live {
				if other != p && other.Name == p.Name && b.ran[other] || p.Trier {
					b.t.Errorf("%s runs while another process of it lives that ran", p.Name) // never two Runs
				}
			}
			b.ran[p] = true
		}
		b.add("said %s: %s", p.Name, c.GetGet())
	}
	for range f.Done {
		b.add("done %s", p.Name)
	}
	if f.Drained && b.draining[p] != nil {
		close(b.draining[p])
	}
}

func (p *heard) Drain(ctx context.Context) error {
	b := p.b
	b.mu.Lock()
	b.add("drain %s", p.Name)
	drained, stuck := make(chan struct{}), b.stuck
	b.draining[p] = drained
	b.mu.Unlock()
	if stuck {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	p.Send(&wire.HostFrame{Drain: &wire.Drain{}})
	select {
	case <-drained:
		return nil
	case <-p.Closed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *heard) Results(context.Context) (entry.Results, error) {
	b := p.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asked++; b.mute {
		return entry.Results{}, errors.New("does not answer")
	}
	return b.results[p.SHA256], nil
}

func (p *heard) Gone(reason string) {
	b := p.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := syscall.Kill(p.PID, 0); err == nil {
		b.t.Errorf("%s is said to be gone, and lives", p.Name) // P5
	}
	if !b.live[p] {
		b.t.Errorf("%s is gone without having been described", p.Name)
	}
	delete(b.live, p)
	if p.Trier {
		b.add("tried %s", p.Name)
		return
	}
	b.add("gone %s", p.Name)
}

func (b *bench) Booted() {
	for _, s := range b.host.Status() {
		if b.hasty {
			break
		}
		if s.State == Discovered && s.Reason == "" || s.State == Starting && s.Version == "" && s.Reason == "" { // one that failed before starts again
			b.t.Errorf("settled, but nothing is known of %+v", s)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add("settled")
}

// dead reports whether a process is gone, or a zombie that nobody waits for.
func dead(pid int) bool {
	if err := syscall.Kill(pid, 0); err != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}
