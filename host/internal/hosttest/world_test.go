package hosttest

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/ccs"
	"balhost/host/internal/ccssim"
	"balhost/host/internal/config"
	"balhost/host/internal/dispatch"
	"balhost/host/internal/fcmsim"
	"balhost/host/internal/outbox"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
)

// world is one simulation: a CCS, perhaps a FCM, a disk, hosts one after the other, and the
// books about all of them. Its methods run on the test's goroutine unless they
// say otherwise.
type world struct {
	*testing.T
	seed    uint64
	rnd     *rand.Rand // of the schedule
	server  *ccssim.Server
	fcm     *fcmsim.Server     // nil in worlds without
	devices []*device          // of gateways
	key     ed25519.PrivateKey // that signs their credentials
	air     Link               // between them and the gateways
	disk    *Disk
	options Options
	host    *Host
	flight  *flight // of host
	books   *books
	callers errgroup.Group // calls of plugins and of the API under way
	calling atomic.Int64   // of these, by plugins, which ask again
	calm    atomic.Bool    // no more faults
	tell    bool
	start   time.Time
	steps   []string
	upSeq   int
	sendSeq int
	hot     int // percent of the events that want the key of all lanes
	names   int // of sessions, that were given
	frozen  bool
}

// roll is a source of chance that depends on the seed and on what, not on when.
func (w *world) roll(what ...any) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, what...)
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

// chance is true p times in a hundred.
func chance(r *rand.Rand, p int) bool { return r.IntN(100) < p }

// upTo is an even choice in [0, d].
func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d) + 1)) }

const senderID = "100"

// rename gives some sessions another name, as an edit of the config does. What
// they are stays: their sender ids, by which the books know them.
func (w *world) rename() {
	w.names++
	r := w.roll("rename", w.names)
	sessions := slices.Clone(w.options.Sessions) // the last host may still look at its own
	for i := range sessions {
		if chance(r, 40) {
			sessions[i].Name = fmt.Sprintf("name%d-%s", w.names, sessions[i].SenderID)
		}
	}
	w.options.Sessions = sessions
}

// label is the name of a session at a host now.
func label(h *Host, session string) string {
	for _, name := range h.SessionNames() {
		if unlabel(name) == session {
			return name
		}
	}
	return ""
}

// unlabel is what a label of any host stands for; of a sender id, itself.
func unlabel(name string) string { return name[strings.LastIndexByte(name, '-')+1:] }

func newWorld(t *testing.T, seed uint64, root string, tell bool) *world {
	w := &world{T: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 0)), tell: tell, start: time.Now()}
	w.books = newBooks(w)
	w.hot = []int{30, 30, 90}[seed%3]
	r := w.rnd
	window := 2 + r.IntN(7)
	so := ccssim.Options{
		Seed: seed, SenderID: senderID + "0", Senders: map[string]string{senderID + "1": ccssim.DefaultServerKey},
		Window: 2 + r.IntN(9), Pending: window, Keepalive: 10 * time.Second, Receipts: true,
		OverLimit: []ccssim.OverLimit{ccssim.OverNack, ccssim.OverClose}[r.IntN(2)],
		WriteEach: chance(r, 30), BareGCM: chance(r, 20), ReceiptFirst: chance(r, 50), TypedControl: chance(r, 50),
	}
	if chance(r, 70) {
		so.AckDelay = ccssim.Range{Max: upTo(r, 2*time.Second)}
	}
	if chance(r, 40) {
		so.Duplicates = r.Float64() * 0.4
	}
	if chance(r, 30) {
		so.SplitBytes = 1 + r.IntN(60)
	}
	if chance(r, 30) {
		so.ResendAfter = 100*time.Millisecond + upTo(r, 5*time.Second)
	}
	var err error
	if w.server, err = ccssim.New(so); err != nil {
		t.Fatal(err)
	}
	w.poison()
	w.disk = NewDisk(root)
	w.options = Options{
		Disk: w.disk, Server: w.server,
		Plugins: []*Plugin{w.plugin("alpha", []string{"com.alpha"}, "device"), w.plugin("beta", []string{"com.beta", "*"}, "key:data.room")},
		Session: func(h *Host, o *ccs.Options) {
			o.Outbox = &tap{Outbox: o.Outbox, h: h, b: w.books, flight: w.flight}
			o.Denied, o.Stable, o.Login, o.Drain, o.Grace, o.Stop = 3*time.Second, 5*time.Second, 5*time.Second, 20*time.Second, 3*time.Second, 2*time.Second
		},
		Dispatch: func(o *dispatch.Options) { o.Retry = backoff.Policy{Min: 50 * time.Millisecond, Max: 2 * time.Second} },
	}
	attempts := 3 + r.IntN(12)
	w.options.Outbox = func(o *outbox.Options) {
		o.Retry, o.Slow = backoff.Policy{Min: time.Second, Max: 8 * time.Second}, backoff.Policy{Min: 2 * time.Second, Max: 8 * time.Second}
		o.Halt, o.Attempts = 5*time.Second, attempts
	}
	if tell {
		w.options.Log = hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Info})
	}
	for i := range 1 + r.IntN(100)/70 {
		w.options.Sessions = append(w.options.Sessions, config.Session{
			Name: "first-" + senderID + fmt.Sprint(i), SenderID: senderID + fmt.Sprint(i), CCS: &config.CCS{
				Address: "ccs.test:5235", ServerKey: ccssim.DefaultServerKey,
				Connections: 1 + r.IntN(3), Window: window,
				PingInterval: 5 * time.Second, PingTimeout: 3 * time.Second, AnswerTimeout: 8 * time.Second,
				ConnectBackoff: config.Backoff{Min: 100 * time.Millisecond, Max: 3 * time.Second},
			},
		})
	}
	if chance(r, 50) {
		w.phones()
	}
	if chance(w.roll("gateway"), 50) {
		w.gateways(root)
	}
	return w
}

// poison makes CCS end the stream over some downstreams, blaming them or not,
// and never answer others, always.
func (w *world) poison() {
	w.server.Nack(ccssim.Nack{Token: poisonToken + "blamed-*", StreamError: "invalid-xml", Count: -1})
	w.server.Nack(ccssim.Nack{Token: poisonToken + "policy-*", StreamError: "policy-violation", Count: -1})
	w.server.Nack(ccssim.Nack{Token: poisonToken + "ends-*", StreamError: "internal-server-error", Count: -1})
	w.server.Nack(ccssim.Nack{Token: poisonToken + "silent-*", Count: -1})
}

const poisonToken = "poison-"

// logf notes what happens, for the report of a failure.
func (w *world) logf(format string, args ...any) {
	line := fmt.Sprintf("%7.3fs ", time.Since(w.start).Seconds()) + fmt.Sprintf(format, args...)
	w.steps = append(w.steps, line)
	if w.tell {
		fmt.Fprintln(os.Stderr, line)
	}
}

// run is the whole simulation: faults, then calm until all is settled, then
// the last reckoning.
func (w *world) run() {
	w.boot()
	defer w.live()()
	for range 30 + w.rnd.IntN(40) {
		if !w.step() {
			break
		}
	}
	if w.books.ok() {
		w.settle()
	}
	w.end()
}

// step does one thing, lets some time pass, and checks.
func (w *world) step() bool {
	w.act()
	switch w.rnd.IntN(6) {
	case 0:
	case 1:
		time.Sleep(upTo(w.rnd, time.Millisecond))
	case 2, 3:
		time.Sleep(upTo(w.rnd, 100*time.Millisecond))
	case 4:
		time.Sleep(upTo(w.rnd, time.Second))
	case 5:
		time.Sleep(upTo(w.rnd, 5*time.Second))
	}
	synctest.Wait()
	w.reboot()
	w.books.check()
	return w.books.ok()
}

// boot starts a host on the disk.
func (w *world) boot() {
	w.rename()
	w.books.boots(w.options.Sessions)
	w.flight = newFlight()
	h, err := Start(w.options)
	if err != nil {
		w.books.wrong("the host does not start: %v", err)
		return
	}
	w.host = h
	seen.add("hosts", 1)
	w.books.booted(h)
}

// reboot starts the next host when this one is dead. It must have died by
// intention.
func (w *world) reboot() {
	select {
	case <-w.host.Dead():
	default:
		return
	}
	if err := w.host.Err(); !errors.Is(err, ErrKilled) {
		w.books.wrong("the host ended by itself: %v", err)
	}
	wait := w.host.Wait
	if chance(w.rnd, 30) {
		wait = w.host.WaitClosing
	}
	if err := wait(); err != nil {
		w.books.wrong("wait for a killed host: %v", err)
	}
	if chance(w.rnd, 50) {
		time.Sleep(upTo(w.rnd, 3*time.Second))
	}
	w.logf("the host starts again")
	w.boot()
	synctest.Wait()
	w.books.recovered()
}

// settled reports whether nothing is left to do.
func (w *world) settled() bool {
	r, c := w.server.Report(), w.host.Ledger.Counts()
	return w.calling.Load() == 0 && r.Waiting == 0 && r.InFlight == 0 && c.Events == 0 && c.Downstreams == 0 && c.Timers == 0 &&
		!slices.ContainsFunc(w.devices, func(d *device) bool { return !d.idle() })
}

// settle ends all faults, and waits until everything has its end.
func (w *world) settle() {
	w.logf("calm")
	w.calm.Store(true)
	w.disk.KillAt(0, 0)
	w.disk.Slow(nil)
	w.disk.Full(false)
	w.server.Freeze(false)
	w.nacksEnd()
	if w.fcm != nil {
		w.fcmUsual()
	}
	time.Sleep(3 * time.Second) // until the ledger sees that there is room
	synctest.Wait()
	w.reboot()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, name := range w.host.Plugins() {
		if err := w.host.Dispatch.Resume(ctx, name); err != nil {
			w.books.wrong("resume %s: %v", name, err)
		}
		if p := w.host.Serving(name); p != nil {
			p.Die("a handler that never answers holds its lane until then")
		}
	}
	for second := range 3600 { // a group's poison goes one after the other, each with all its attempts
		synctest.Wait()
		w.books.check()
		if w.settled() || !w.books.ok() {
			break
		}
		if second%5 == 1 {
			w.others()
		}
		time.Sleep(time.Second)
	}
	time.Sleep(time.Second)
	synctest.Wait()
	w.books.check()
	if w.books.ok() {
		w.books.close()
	}
}

// end stops everything, and reports.
func (w *world) end() {
	w.server.Freeze(false)
	if w.fcm != nil {
		w.fcm.Freeze(false)
	}
	w.disk.Slow(nil)
	if err := w.host.Stop(); err != nil && !errors.Is(err, ErrKilled) {
		w.books.wrong("stop: %v", err)
	}
	if err := w.host.WaitClosing(); err != nil {
		w.books.wrong("stop: %v", err)
	}
	w.callers.Wait() //nolint:errcheck // they return nil
	if err := w.server.Close(); err != nil && w.tell {
		w.Log(err)
	}
	if w.fcm != nil {
		if err := w.fcm.Close(); err != nil && w.tell {
			w.Log(err)
		}
	}
	w.count()
	if wrong := w.books.wrongs(); len(wrong) > 0 {
		for _, step := range w.steps {
			w.Log(step)
		}
		for _, text := range wrong {
			w.Error(text)
		}
	}
}

// count adds what this seed went through to what all did.
func (w *world) count() {
	c := w.server.Counts()
	for name, n := range map[string]uint64{
		"upstreams": c.Created, "redelivered": c.Redelivered, "downstreams on the wire": c.Downstreams,
		"nacked": c.Nacked, "unanswered": c.Unanswered, "duplicates at devices": c.DuplicateDown, "receipts": c.Receipts,
		"logins": uint64(c.Logins), "cut": uint64(c.Cut), "drained": uint64(c.Drained), "stream errors": c.StreamErrors,
	} {
		seen.add(name, n)
	}
	if w.fcm != nil {
		c := w.fcm.Counts()
		for name, n := range map[string]uint64{
			"worlds": 1, "connections": uint64(c.Connections), "sends": c.Sends, "accepted": c.Accepted, "unauthorized": c.Unauthorized,
			"ruled": c.Ruled, "refused": c.Refused, "lost": c.Lost, "dropped": c.Dropped, "duplicates at devices": c.Duplicates,
			"over streams": c.OverStreams, "goaways": c.GoAways, "cut": uint64(c.Cut), "tokens": c.Tokens,
		} {
			seen.add("FCM: "+name, n)
		}
	}
	w.books.count()
}
