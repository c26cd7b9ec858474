package ccs_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/ccs"
	"balhost/host/internal/ccssim"
	"balhost/host/internal/entry"
	"balhost/host/internal/ledger"
	"balhost/host/internal/outbox"
	"balhost/sdk/message"

	"github.com/hashicorp/go-hclog"
)

// whole is a host without plugins: the real ledger and outbox, sessions, and a
// simulated CCS over net.Pipe, in a synctest bubble. What would go to plugins
// stays in the ledger as events, to be looked at.
type whole struct {
	t        *testing.T
	srv      *ccssim.Server
	links    *links
	dir      string
	plan     plan
	led      *ledger.Ledger
	out      *outbox.Outbox
	sessions []*ccs.Session
	log      *logs
	sender   string // id of "main"
	made     int    // messages by sendTo
	stop     context.CancelFunc
	ended    chan error // one for each part
}

// plan is what a test changes.
type plan struct {
	server   ccssim.Options
	session  func(*ccs.Options)   // of "main"
	others   []func(*ccs.Options) // further sessions: Name, and what else differs, is theirs to set
	outbox   outbox.Options
	connects int           // in a minute, all sessions together; 0: 400
	commit   time.Duration // each of the ledger takes so long
	full     bool          // the ledger as in production, not a light one, which takes less
	unopened bool          // don't wait for the first login
}

// host runs do in a bubble with a whole host.
func host(t *testing.T, p plan, do func(*whole)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p.server.Transcript = cmp.Or(p.server.Transcript, 20_000)
		srv, err := ccssim.New(p.server)
		if err != nil {
			t.Fatal(err)
		}
		w := &whole{t: t, srv: srv, links: &links{srv: srv}, sender: srv.SenderID(), dir: dir, plan: p, log: &logs{}}
		w.start()
		defer srv.Close()
		defer func() { w.end() }()
		if !p.unopened {
			w.until("login", func() bool { return srv.Counts().Logins > 0 })
		}
		do(w)
	})
}

func (w *whole) start() {
	w.t.Helper()
	log := hclog.New(&hclog.LoggerOptions{Output: w.log, Level: hclog.Debug, DisableTime: true})
	var err error
	w.led, err = ledger.Open(context.Background(), ledger.Options{
		Dir: w.dir, Light: !w.plan.full, Log: log.Named("ledger"), Poison: func(err error) { w.t.Errorf("ledger: %v", err) },
		Statfs: func(string) (ledger.Space, error) { return ledger.Space{Bytes: 1 << 40, Inodes: 1 << 20}, nil },
		Commit: func(commit func() error) error { time.Sleep(w.plan.commit); return commit() },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	o := w.plan.outbox
	o.Ledger, o.Log = w.led, log.Named("outbox")
	w.out = outbox.New(o)
	connects := ccs.NewConnects(cmp.Or(w.plan.connects, 400))
	w.sessions = nil
	for _, change := range append([]func(*ccs.Options){w.plan.session}, w.plan.others...) {
		o := ccs.Options{
			Name: "main", Address: "ccs.test:5235", SenderID: w.srv.SenderID(), Key: w.srv.Key(),
			Inbox: w.led, Outbox: w.out, Dial: w.links.dial, Log: log.Named("ccs"), Connects: connects,
		}
		if change != nil {
			change(&o)
		}
		w.sessions = append(w.sessions, ccs.New(o))
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop, w.ended = stop, make(chan error, 1+len(w.sessions))
	go func() { w.ended <- w.out.Run(ctx) }()
	for _, s := range w.sessions {
		go func() { w.ended <- s.Run(ctx) }()
	}
}

// end stops everything but the simulator; it must end well.
func (w *whole) end() {
	w.t.Helper()
	w.stop()
	for range cap(w.ended) {
		if err := <-w.ended; err != nil {
			w.t.Errorf("a part ended with %v", err)
		}
	}
	if err := w.led.Close(); err != nil {
		w.t.Errorf("close the ledger: %v", err)
	}
}

// restart is SIGTERM and a new start on the same ledger.
func (w *whole) restart() {
	w.t.Helper()
	w.end()
	w.start()
}

// until waits for ok, some hours of the bubble's time at most.
func (w *whole) until(what string, ok func() bool) {
	w.t.Helper()
	for wait, waited := time.Millisecond, time.Duration(0); ; waited += wait {
		synctest.Wait()
		if ok() {
			return
		}
		if waited > time.Minute {
			wait = time.Second
		}
		if waited > 6*time.Hour {
			w.t.Fatalf("no %s\ncounts %+v\nstatus %+v\n%s", what, w.srv.Counts(), w.sessions[0].Status(), w.log)
		}
		time.Sleep(wait)
	}
}

// send stores one downstream, as a plugin that wants its outcome does.
func (w *whole) send(m message.Downstream) {
	w.t.Helper()
	if err := w.trySend(m); err != nil {
		w.t.Fatalf("send %q: %v", m.MessageID, err)
	}
}

func (w *whole) trySend(m message.Downstream) error {
	checked, err := m.Checked()
	if err == nil {
		err = checked.Fits(message.CCS)
	}
	if err != nil {
		return err
	}
	checked.Session = cmp.Or(checked.Session, w.sender)
	stored := make(chan error, 1)
	w.led.Update("app", entry.Changes{Sends: []entry.Send{{Message: checked, Tell: true}}}, func(err error) { stored <- err })
	return <-stored
}

// sendN stores n downstreams to token: d-first, d-first+1 …
func (w *whole) sendN(token string, first, n int) {
	w.t.Helper()
	stored := make(chan error, n)
	for i := first; i < first+n; i++ {
		m, err := message.Downstream{To: message.Token(token), MessageID: fmt.Sprintf("d-%d", i), Data: map[string]string{"n": fmt.Sprint(i)}, Session: w.sender}.Checked()
		if err != nil {
			w.t.Fatal(err)
		}
		w.led.Update("app", entry.Changes{Sends: []entry.Send{{Message: m, Tell: true}}}, func(err error) { stored <- err })
	}
	for range n {
		if err := <-stored; err != nil {
			w.t.Fatal(err)
		}
	}
}

// bodies are the pending events of a kind, in ledger order.
func (w *whole) bodies(kind entry.Kind) (all []entry.Body) {
	w.t.Helper()
	for _, e := range w.led.Events(0, 1<<20) {
		if e.Kind != kind {
			continue
		}
		b, err := w.led.Body(e.Seq)
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// outcomes are what a plugin would hear, by message id. Two for one message
// break P4.
func (w *whole) outcomes() map[string]message.Outcome {
	w.t.Helper()
	all := map[string]message.Outcome{}
	for _, b := range w.bodies(entry.Outcome) {
		if _, twice := all[b.Outcome.MessageID]; twice {
			w.t.Errorf("P4: two outcomes of %s", b.Outcome.MessageID)
		}
		all[b.Outcome.MessageID] = *b.Outcome
	}
	return all
}

// acked waits until n downstreams have ended, all of them acked.
func (w *whole) acked(n int) {
	w.t.Helper()
	w.until(fmt.Sprint(n, " outcomes"), func() bool { return w.led.Counts().Acked == uint64(n) })
	if got := len(w.outcomes()); got != n {
		w.t.Errorf("P4: %d outcomes, want %d", got, n)
	}
	if c := w.led.Counts(); c.Failed+c.Expired > 0 || c.Downstreams > 0 {
		w.t.Errorf("left: %+v", c)
	}
}

// upstreams are those stored and not handled, in ledger order.
func (w *whole) upstreams() (all []message.Upstream) {
	w.t.Helper()
	for _, b := range w.bodies(entry.Upstream) {
		all = append(all, *b.Upstream)
	}
	return all
}

// received is what a device got: the message ids, in order.
func (w *whole) received(token string) (ids []string) {
	d, _ := w.srv.Device(token)
	for _, r := range d.Last {
		ids = append(ids, r.MessageID)
	}
	return ids
}

// said is what clients wrote, on one connection or (0) on all, in order.
func (w *whole) said(conn int) (stanzas []string) {
	for _, l := range w.srv.Transcript() {
		if !l.Sent && (conn == 0 || l.Conn == conn) {
			stanzas = append(stanzas, l.Stanza)
		}
	}
	return stanzas
}

// standing is how many connections of the first session are ready.
func (w *whole) standing() (n int) {
	for _, c := range w.sessions[0].Status().Connections {
		if c.State == ccs.Ready {
			n++
		}
	}
	return n
}

// conn is the report of one connection.
func (w *whole) conn(id int) ccssim.ConnReport {
	for _, c := range w.srv.Report().Conns {
		if c.ID == id {
			return c
		}
	}
	return ccssim.ConnReport{}
}

// legal checks what no test may break: P1's acks and P3's limit.
func (w *whole) legal() {
	w.t.Helper()
	c := w.srv.Counts()
	if c.WrongAcks > 0 || c.BadAcks > 0 {
		w.t.Errorf("P1: %d acks on the wrong connection, %d malformed", c.WrongAcks, c.BadAcks)
	}
	if c.OverLimit > 0 {
		w.t.Errorf("P3: %d downstreams sent past the limit", c.OverLimit)
	}
}

// ids are "d-first" to "d-last".
func ids(first, last int) (out []string) {
	for i := first; i <= last; i++ {
		out = append(out, fmt.Sprintf("d-%d", i))
	}
	return out
}

// one is a downstream of a string.
func one(token, id string, data map[string]string) message.Downstream {
	return message.Downstream{To: message.Token(token), MessageID: id, Data: data}
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %.600q, want %.600q", what, got, want)
	}
}

// gcm is a stanza around a payload, as CCS writes it.
func gcm(payload string) string {
	return `<message><data:gcm xmlns:data="google:mobile:data">` +
		strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(payload) + `</data:gcm></message>`
}

// quick makes a session connect again at once.
func quick(o *ccs.Options) {
	o.Backoff = backoff.Policy{Min: time.Millisecond, Max: 5 * time.Millisecond}
	o.Connects = nil
}

// links is the network of the sessions: net.Pipe, cut at any byte that a
// session writes, or down.
type links struct {
	srv *ccssim.Server

	mu    sync.Mutex // guards what follows
	open  []*link
	down  bool
	dials int
}

type link struct {
	net.Conn
	mu   sync.Mutex
	fuse int // bytes until the cut; negative: none is planned
}

func (l *links) dial(context.Context, string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dials++
	if l.down {
		return nil, errors.New("network is down")
	}
	ours, theirs := net.Pipe()
	l.srv.ServeConn(theirs)
	c := &link{Conn: ours, fuse: -1}
	l.open = append(l.open, c)
	return c, nil
}

// set takes the network down, or up, and tells how often it was used.
func (l *links) set(down bool) (dials int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	return l.dials
}

// cutAfter breaks the newest connection when its session has written n more bytes.
func (l *links) cutAfter(n int) {
	l.mu.Lock()
	c := l.open[len(l.open)-1]
	l.mu.Unlock()
	c.mu.Lock()
	c.fuse = n
	c.mu.Unlock()
}

func (c *link) Write(p []byte) (int, error) {
	c.mu.Lock()
	fuse := c.fuse
	if fuse >= len(p) {
		c.fuse -= len(p)
	}
	c.mu.Unlock()
	if fuse < 0 || fuse >= len(p) {
		return c.Conn.Write(p)
	}
	n, _ := c.Conn.Write(p[:fuse])
	c.Close()
	return n, io.ErrClosedPipe
}

// logs is what was logged.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// compact is JSON without its spaces.
func compact(t *testing.T, b []byte) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
