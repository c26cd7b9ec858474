package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"balhost/host/internal/ccssim"
)

// The crash tests kill -9 what runs, in mid-flow, and judge by the books kept
// outside. kill -9 leaves what the kernel was given; that it was also synced to
// the disk is the ledger's tests' to show.

// crashes is how often something is killed: few times in make test, many in
// make crash.
func crashes(few, many int) int {
	if os.Getenv("BALHOST_CRASH") == "long" {
		return many
	}
	return few
}

// P5, P7, P8: a plugin that dies in mid-handler costs nothing but time. Nothing
// is lost or handled out of order, and nobody gets two answers.
func TestCrashPlugin(t *testing.T) {
	w := newWorld(t)
	w.start()
	killed := ""
	for kills := crashes(10, 100); kills > 0; {
		killed = w.flows(killed)
		time.Sleep(rand.N(20 * time.Millisecond)) // some moment of its life
		w.killPlugin(killed)
		if torn(w.book(), killed) > 0 {
			kills--
		}
	}
	w.settles()
	w.judge()
	if n := w.sim.Counts().DuplicateDown; n > 0 {
		t.Errorf("%d downstreams were written again, on a connection that never ended", n)
	}
}

// P1, P3, P6: a host that dies takes its plugins along and has acked nothing
// that the next start does not know. What CCS sends again is stored once, and
// the session comes back by itself.
func TestCrashHost(t *testing.T) {
	w := newWorld(t)
	w.start()
	for i := range crashes(5, 30) {
		w.crashHost(i%3 == 1)
	}
	w.settles()
	w.judge()
}

// P3: what a lost connection left unanswered goes again on the next, under the
// same id. What CCS was told on the lost one is as good as not told.
func TestCrashConnection(t *testing.T) {
	w := newWorld(t)
	w.start()
	for range crashes(10, 100) {
		w.flows("")
		w.cut()
	}
	w.settles()
	w.judge()
}

// All of it in any order, and connections are lost too.
func TestCrashBoth(t *testing.T) {
	w := newWorld(t)
	w.start()
	for range crashes(10, 80) {
		switch rand.IntN(5) {
		case 0:
			w.crashHost(true)
		case 1:
			w.crashHost(false)
		case 2:
			w.flows("")
			w.cut()
		default:
			w.killPlugin(w.flows(""))
		}
	}
	w.settles()
	w.judge()
}

// world is a simulator with devices that send, and a host with one plugin.
type world struct {
	t    *testing.T
	dir  string
	name string // of the plugin: scribe, unless a test has another
	sim  *ccssim.Server
	host *process

	nacks int
}

const crashDevices = 20

// newWorld starts the simulator alone, which takes its time to answer and sends
// some upstreams twice. Handlings take long enough to be hit; a plugin is back
// soon and no event becomes a suspect.
func newWorld(t *testing.T) *world {
	plugins := builtPlugins(t)
	t.Parallel()
	w := newSimulator(t)
	w.load(400, 0)
	program, err := os.ReadFile(filepath.Join(plugins, "scribe"))
	if err != nil {
		t.Fatal(err)
	}
	config := usualConfig + fmt.Sprintf(`
plugin "scribe" {
  suspect_after = 1000000
  config        = { book = %q, work = "20ms" }
  restart_backoff {
    min = "10ms"
    max = "50ms"
  }
}
`, w.bookFile())
	if err := os.Mkdir(filepath.Join(w.dir, "plugins"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.dir, "plugins", "scribe"), string(program), 0o700)
	write(t, filepath.Join(w.dir, "config.hcl"), config, 0o600)
	return w
}

// newSimulator is a world without a plugin, whose devices don't send yet.
func newSimulator(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir(), name: "scribe"}
	var err error
	w.sim, err = ccssim.NewServer(ccssim.Options{
		CAFile:     filepath.Join(w.dir, "data", "sim-ca.pem"),
		AckDelay:   ccssim.Range{Max: 10 * time.Millisecond},
		Duplicates: 0.02,
		Remember:   1_000_000,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.sim.Close() })
	return w
}

// load has the devices send at this rate, or with 0 as fast as they can, until they
// have sent limit more; 0 is no limit.
func (w *world) load(rate float64, limit int) {
	w.t.Helper()
	if err := w.sim.StartDevices(ccssim.Devices{Count: crashDevices, Rate: rate, Limit: limit, Category: "com.example.echo"}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) bookFile() string { return filepath.Join(w.dir, "book") }

// start starts a host; it does not wait for it.
func (w *world) start() {
	p, err := startProcess(w.dir, "host.log", []string{"CCS=" + w.sim.Addr()}, "run")
	if err != nil {
		w.t.Fatal(err)
	}
	w.host = p
	w.t.Cleanup(p.kill)
}

// book is the scribe's, so far.
func (w *world) book() []handling {
	book, err := readBook(w.bookFile())
	if err != nil {
		w.t.Fatal(err)
	}
	return book
}

// flows waits until a scribe other than that one has handled some upstreams,
// and names it.
func (w *world) flows(other string) (instance string) {
	w.t.Helper()
	const some = 20
	began := len(w.book())
	if !eventually(func() bool {
		book := w.book()
		if len(book) < began+some {
			return false
		}
		instance = book[len(book)-1].instance
		return instance != other && book[len(book)-some].instance == instance
	}) {
		w.t.Fatalf("nothing is handled within %s\n%s", patience, w.host.tail())
	}
	return instance
}

// killPlugin is kill -9 for a scribe; it waits for its end. One that has died
// with its host already is fine.
func (w *world) killPlugin(instance string) {
	w.t.Helper()
	w.nackOne()
	pid := handling{instance: instance}.pid()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		w.t.Fatalf("kill the plugin: %v\n%s", err, w.host.tail())
	}
	w.vanishes(pid)
}

func (w *world) vanishes(pid int) {
	w.t.Helper()
	if !eventually(func() bool { return gone(pid) }) {
		w.t.Fatalf("plugin %d still lives", pid)
	}
}

// crashHost is kill -9 for the host, once messages flow or while it starts; the
// plugin must vanish with it. Another host is started at once.
func (w *world) crashHost(early bool) {
	w.t.Helper()
	plugin := ""
	if !early {
		plugin = w.flows("")
	}
	time.Sleep(rand.N(300 * time.Millisecond)) // some moment of its life
	w.nackOne()
	if w.host.over() {
		w.t.Fatalf("the host has ended by itself\n%s", w.host.tail())
	}
	w.host.kill()
	w.start()
	if plugin != "" {
		w.vanishes(handling{instance: plugin}.pid())
	}
}

// nackOne makes the host send the next answer to one device again a second
// later: those behind it must wait. It is another device each time, since a
// message that is nacked again and again rests for minutes.
func (w *world) nackOne() {
	w.nacks++
	w.sim.Nack(ccssim.Nack{Code: "SERVICE_UNAVAILABLE", Token: fmt.Sprintf("device-%d", w.nacks%crashDevices+1)})
}

// cut loses the connection, as soon as there is one, with whatever is on its way.
func (w *world) cut() {
	w.t.Helper()
	if !eventually(func() bool {
		n, err := w.sim.CutWith(ccssim.Cut{Mode: ccssim.CutRST})
		return n > 0 || err != nil
	}) {
		w.t.Fatalf("the host is not connected\n%s", w.host.tail())
	}
}

// settles stops the devices and waits until nobody has anything left to do.
func (w *world) settles() {
	w.t.Helper()
	ready, err := w.host.says(started)
	if err != nil {
		w.t.Fatal(err)
	}
	w.sim.StopDevices()
	w.sim.ClearNacks()
	last, before := "", ""
	settled := func() bool {
		r := w.sim.Report() // first the simulator: what it has seen acked, the host has
		status, err := adminOf(ready[1])
		if err != nil {
			w.t.Fatalf("%v\n%s", err, w.host.tail())
		}
		l := status.Ledger
		last = fmt.Sprintf("the simulator waits with %d upstreams and %d in flight, the host has %d events and %d downstreams", r.Waiting, r.InFlight, l.Events, l.Downstreams)
		return r.Waiting+r.InFlight+l.Events+l.Downstreams == 0 && r.Acked == r.Created
	}
	for !eventually(settled) { // a backlog that becomes smaller may take longer on a busy machine
		if last == before {
			w.t.Errorf("in %s nothing has changed: %s\n%s", patience, last, w.host.tail())
			break
		}
		before = last
	}
	status, err := adminOf(ready[1])
	if err != nil || status.Ledger.Dead != 0 || len(status.Reasons) > 0 {
		w.t.Errorf("in the end: dead letters %d, not ready for %q (%v)", status.Ledger.Dead, status.Reasons, err)
	}
	r := leftoversOf(status)
	if err := errors.Join(w.host.stop(), r.check()); err != nil {
		w.t.Error(err)
	}
}

// judge compares the books.
func (w *world) judge() {
	w.t.Helper()
	book, sent := w.book(), map[string]int{}
	for i := range crashDevices {
		d, _ := w.sim.Device(fmt.Sprintf("device-%d", i+1))
		sent[d.Token] = int(d.Sent)
		if err := checkAnswers(d, true); err != nil {
			w.t.Error(err)
		}
	}
	if err := checkBook(book, sent); err != nil {
		w.t.Error(err)
	}
	c := w.sim.Counts()
	if c.WrongAcks+c.BadAcks+c.OverLimit > 0 {
		w.t.Errorf("acks on a wrong connection %d, malformed acks %d, downstreams over the limit %d (P1, P3)", c.WrongAcks, c.BadAcks, c.OverLimit)
	}
	processes := map[string]bool{}
	for _, h := range book {
		processes[h.instance] = true
	}
	w.t.Logf("%d upstreams, %d written again; %d connections; %d plugin processes; %d downstreams, %d of them again",
		c.Created, c.Redelivered, c.Logins, len(processes), c.Downstreams, c.DuplicateDown)
	if w.t.Failed() {
		w.t.Logf("the host's log: %s", w.host.tail())
		keep := filepath.Join(os.TempDir(), "balhost-"+strings.ToLower(w.t.Name())+".book")
		if err := os.Rename(w.bookFile(), keep); err == nil {
			w.t.Logf("the scribe's book is in %s", keep)
		}
	}
}
