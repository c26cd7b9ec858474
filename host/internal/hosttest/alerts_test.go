package hosttest

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/config"
	"balhost/host/internal/entry"
	"balhost/host/internal/fcmsim"
	"balhost/host/internal/fcmv1"
	"balhost/host/internal/outbox"
	"balhost/host/internal/scrape"
	"balhost/host/internal/state"
	"balhost/sdk/message"
	"balhost/sdk/wire"
)

// night is a host at which a trouble is made.
type night struct {
	*testing.T
	*Host
	o     Options
	mood  atomic.Value  // what the plugin's handler does: a text
	gate  chan struct{} // closed: DownstreamSince answers
	shut  atomic.Bool   // DownstreamSince waits for gate
	fcm   *fcmsim.Server
	lost  bool // the ledger has lost something, and says so when it is closed
	story scrape.Story
}

// handle is the plugin's only handler. It answers each upstream, and what else it does
// depends on its mood.
func (n *night) handle(_ context.Context, p *Process, d *wire.Delivery) *wire.Result {
	u := d.GetUpstream()
	switch n.mood.Load() {
	case "rejects":
		return &wire.Result{Code: wire.Result_REJECT, Error: "no such room"}
	case "retries":
		return &wire.Result{Code: wire.Result_RETRY, Error: "the database is away"}
	case "hangs":
		<-p.ctx.Done() // and not at the end of ctx
		return nil
	case "is slow":
		time.Sleep(15 * time.Second)
	}
	m, err := message.Downstream{MessageID: "re-" + u.GetMessageId(), To: message.Token(u.GetDevice()), Data: map[string]string{"re": "1"}}.Checked()
	if err != nil {
		return &wire.Result{Code: wire.Result_REJECT, Error: err.Error()}
	}
	return &wire.Result{Code: wire.Result_DONE, Changes: &wire.Changes{Send: []*wire.Downstream{wire.DownstreamToProto(m)}}}
}

// phones gives the host a second session, which sends by FCM's HTTP v1.
func (n *night) phones() {
	pipes := NewPipes()
	fcm, err := fcmsim.NewServer(fcmsim.Options{Listener: pipes, SenderID: fcmSender, Transcript: -1})
	if err != nil {
		n.Fatal(err)
	}
	n.fcm, n.o.FCM = fcm, pipes
	n.o.FCMv1 = func(h *Host, o *fcmv1.Options) { o.Transport = h.Link.requests(o.Connections) }
	n.o.Sessions = append(n.o.Sessions, config.Session{Name: "phones", SenderID: fcmSender, FCMv1: &config.FCMv1{
		Credentials: config.Secret(fcm.ServiceAccount()), Endpoint: fcm.URL(), Connections: 1, Rate: 8000,
	}})
}

// watch scrapes for so long, while devices send.
func (n *night) watch(d time.Duration) {
	n.Helper()
	for range d / scrape.Interval {
		n.o.Server.Upstream("anna", "com.example", map[string]string{"n": "1"})
		if n.Alive() {
			m := message.Checked{Session: "phones", To: message.Token("bert"), Data: json.RawMessage(`{"n":"1"}`)}
			if _, err := n.API.Send(n.Context(), m); err != nil && !errors.Is(err, entry.ErrFull) {
				n.Error(err)
			}
		}
		time.Sleep(scrape.Interval)
		n.scrape()
	}
}

// lose takes an event that is pending out of the tables of the stopped ledger, as badger
// can lose keys (notes/badger.md D1), and has the next host compare all.
func (n *night) lose() {
	n.o.Server.Upstream("anna", "com.example.new", nil) // no plugin takes it
	time.Sleep(time.Second)
	if err := n.Stop(); err != nil {
		n.Fatal(err)
	}
	tables := filepath.Join(n.o.Disk.dir(), "ledger", "db")
	schema, err := state.Schema(tables)
	if err != nil {
		n.Fatal(err)
	}
	db, err := badger.Open(badger.DefaultOptions(tables).WithExternalMagic(schema).WithCompression(options.None).WithLogger(nil))
	if err != nil {
		n.Fatal(err)
	}
	err = db.Update(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte("M")}) // kindEvent of package ledger
		defer it.Close()
		it.Rewind()
		return txn.Delete(it.Item().KeyCopy(nil))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		n.Fatal(err)
	}
	if n.Host, err = Start(n.o); err != nil {
		n.Fatal(err)
	}
	n.lost = true
	if err := n.Ledger.Verify(n.Context()); err == nil { // balhost verify
		n.Error("nothing is missed")
	}
}

// Alive reports whether the host runs.
func (n *night) Alive() bool { return n.gone.Err() == nil }

func (n *night) scrape() {
	n.Helper()
	if !n.Alive() {
		n.story.Down()
		return
	}
	families, err := n.Metrics.Gather()
	if err != nil {
		n.Fatal(err)
	}
	n.story.Add(families)
}

// healthy is a host without a trouble.
const healthy = "healthy"

// troubles are what is done to a host, and for how long, until the alert fires. What fires
// with it is named too.
var troubles = map[string]struct {
	lasts time.Duration
	with  []string
	make  func(n *night)
}{
	healthy:           {80 * time.Minute, nil, func(*night) {}},
	"BalhostDown":     {3 * time.Minute, nil, func(n *night) { n.Kill() }},
	"BalhostNotReady": {4 * time.Minute, []string{"BalhostSessionNotReady"}, func(n *night) { n.o.Server.Freeze(true) }},
	"BalhostSessionNotReady": {4 * time.Minute, []string{"BalhostNotReady"}, func(n *night) {
		n.o.Server.StreamError("policy-violation")
		n.o.Server.Freeze(true)
	}},
	"BalhostPartSilent": {3 * time.Minute, []string{"BalhostNotReady"}, func(n *night) {
		n.o.Server.Nack(ccssim.Nack{Count: -1, Code: "DEVICE_MESSAGE_RATE_EXCEEDED"}) // so that one waits
		n.shut.Store(true)
	}},
	"BalhostReloadRefused": {7 * time.Minute, nil, func(n *night) {
		wrong := slices.Clone(n.o.Sessions)
		wrong[0].CCS = new(*wrong[0].CCS)
		wrong[0].CCS.ServerKey = "no such key"
		if n.Reconfigure(n.Context(), wrong, false) == nil {
			n.Error("a wrong key was taken")
		}
	}},
	"BalhostDiskFull":    {time.Minute, []string{"BalhostNotReady", "BalhostAcksSlow"}, func(n *night) { n.o.Disk.Full(true) }},
	"BalhostDiskFillsUp": {7 * time.Minute, []string{"BalhostDiskFull", "BalhostNotReady", "BalhostAcksSlow"}, func(n *night) { n.o.Disk.Full(true) }},
	"BalhostDiskStalled": {time.Minute, []string{"BalhostNotReady", "BalhostAcksSlow"}, func(n *night) {
		n.o.Disk.Slow(func() time.Duration { return 40 * time.Second })
	}},
	"BalhostLedgerAlarm": {time.Minute, nil, (*night).lose},
	"BalhostAcksSlow": {12 * time.Minute, nil, func(n *night) {
		n.o.Disk.Slow(func() time.Duration { return 3 * time.Second })
	}},
	"BalhostAccountRefused": {3 * time.Minute, []string{"BalhostNotReady", "BalhostSessionNotReady"}, func(n *night) {
		n.o.Server.Nack(ccssim.Nack{Count: -1, Code: "AUTHENTICATION_FAILED"})
	}},
	"BalhostQuota": {35 * time.Minute, []string{"BalhostNotReady", "BalhostSessionNotReady"}, func(n *night) {
		if err := n.fcm.Answer(fcmsim.Match{Count: -1}, fcmsim.ProjectQuota); err != nil {
			n.Error(err)
		}
	}},
	"BalhostContested": {6 * time.Minute, []string{"BalhostNotReady", "BalhostSessionNotReady"}, func(n *night) {
		for range 12 {
			n.o.Server.StreamError("conflict")
			n.watch(scrape.Interval)
		}
	}},
	"BalhostUnackable": {8 * time.Minute, []string{"BalhostNotReady", "BalhostSessionNotReady"}, func(n *night) {
		for range 30 {
			n.o.Server.Inject(`<message><gcm xmlns="google:mobile:data">{"from":"anna","category":"com.example","data":{}}</gcm></message>`)
		}
	}},
	"BalhostDownstreamsOld": {70 * time.Minute, nil, func(n *night) {
		n.o.Server.Nack(ccssim.Nack{Count: -1, Code: "DEVICE_MESSAGE_RATE_EXCEEDED"})
	}},
	"BalhostDownstreamsFail": {20 * time.Minute, nil, func(n *night) {
		n.o.Server.Nack(ccssim.Nack{Count: -1, Code: "BAD_REGISTRATION"})
	}},
	"BalhostEventsOld":   {18 * time.Minute, []string{"BalhostDeadLetters"}, func(n *night) { n.mood.Store("retries") }},
	"BalhostDeadLetters": {time.Minute, nil, func(n *night) { n.mood.Store("rejects") }},
	"BalhostPaused": {65 * time.Minute, nil, func(n *night) {
		if err := n.Dispatch.Pause(n.Context(), "chat"); err != nil {
			n.Error(err)
		}
	}},
	"BalhostStuckHandlers": {5 * time.Minute, nil, func(n *night) { n.mood.Store("hangs") }},
	"BalhostHandlingSlow":  {25 * time.Minute, nil, func(n *night) { n.mood.Store("is slow") }},
	"BalhostUnclaimed": {17 * time.Minute, nil, func(n *night) {
		n.o.Server.Upstream("anna", "com.example.new", nil)
	}},
}

// TestAlertsFire makes the trouble of each alert at a whole host. The alert fires then, and
// none fires before. At a host without a trouble none fires in more than an hour.
func TestAlertsFire(t *testing.T) {
	if testing.Short() {
		t.Skip("hours of many hosts")
	}
	stories := map[string]*scrape.Story{}
	for _, alert := range slices.Sorted(maps.Keys(troubles)) {
		trouble, dir := troubles[alert], t.TempDir()
		t.Run(alert, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &night{T: t, gate: make(chan struct{})}
				n.mood.Store("answers")
				n.o = simple(t, dir, &Plugin{Name: "chat", Categories: []string{"com.example"}, Order: "device", MaxAttempts: 12, SuspectAfter: 3, Handle: n.handle})
				n.o.Answers = true
				n.phones()
				n.o.Outbox = func(o *outbox.Options) { o.Ledger = gated{o.Ledger, n} }
				var err error
				if n.Host, err = Start(n.o); err != nil {
					t.Fatal(err)
				}
				n.watch(2 * time.Minute)
				n.story.Hold(18 * time.Minute) // nothing new would come: "healthy" has watched it
				n.story.Silent()
				trouble.make(n)
				n.watch(trouble.lasts)
				if alert != healthy {
					n.story.Fires(alert)
				}
				n.story.Silent(append(trouble.with, alert)...)
				close(n.gate)
				n.o.Disk.Slow(nil)
				if err := n.Stop(); err != nil && !errors.Is(err, ErrKilled) && !n.lost {
					t.Error(err)
				}
				n.o.Server.Close()
				n.fcm.Close()
				stories[alert] = &n.story
			})
		})
	}
	judge(t, stories)
}

// judge has promtool look at the stories.
func judge(t *testing.T, stories map[string]*scrape.Story) {
	t.Helper()
	err := scrape.Judge("../../../examples/monitoring/rules.yml", t.TempDir(), stories)
	if errors.Is(err, scrape.ErrNoPromtool) && os.Getenv("BALHOST_PROMTOOL") != "required" {
		t.Skip(err)
	}
	if err != nil {
		t.Error(err)
	}
}

// gated is a ledger that does not say how old a downstream is while the night's gate is shut.
type gated struct {
	outbox.Ledger
	n *night
}

func (g gated) DownstreamSince(seq uint64) time.Time {
	if g.n.shut.Load() {
		<-g.n.gate
	}
	return g.Ledger.DownstreamSince(seq)
}
