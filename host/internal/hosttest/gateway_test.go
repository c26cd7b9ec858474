package hosttest

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"balhost/host/internal/config"
	"balhost/host/internal/credential"
	"balhost/host/internal/entry"
	"balhost/host/internal/frame"
	"balhost/host/internal/gateway"
	"balhost/sdk/message"

	"github.com/golang-jwt/jwt/v5"
)

// aloneSender is the sender id of the session that has a gateway and nothing else, in the
// worlds that have one.
const aloneSender = senderID + "8"

// device is the app's side of a gateway. Its life is a goroutine that goes over sockets
// and over HTTP in turn. It believes nothing: what the gateway tells it goes into the books.
type device struct {
	w             *world
	session, from string
	rnd           *rand.Rand     // its life's
	kick          chan struct{}  // hint: there is something to send
	forgotten     sync.WaitGroup // its connections

	mu       sync.Mutex // guards what follows
	queue    []*upstream
	sent     []*upstream // all, in the order in which they came into the queue
	receipts []frame.Receipt
	arrivals []arrival       // over sockets
	has      map[string]bool // of these, and whether a hello has named it
}

// gateways gives some sessions a gateway, and makes their devices.
func (w *world) gateways(root string) {
	r := w.roll("gateways")
	if chance(r, 30) {
		w.options.Sessions = append(w.options.Sessions, config.Session{Name: "first-" + aloneSender, SenderID: aloneSender})
	}
	w.key = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	set := filepath.Join(root, "jwks.json")
	public := base64.RawURLEncoding.EncodeToString(w.key.Public().(ed25519.PublicKey))
	if err := os.WriteFile(set, fmt.Appendf(nil, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":%q}]}`, public), 0o600); err != nil {
		w.Fatal(err)
	}
	for i := range w.options.Sessions {
		s := &w.options.Sessions[i]
		if s.SenderID != aloneSender && !chance(r, 25) {
			continue
		}
		s.Gateway = &config.Gateway{
			Listen: "127.0.0.1:8443", Rate: 10 + r.IntN(40),
			Auth: []credential.Rule{{Kind: credential.JWT, JWKS: set, FromClaim: "sub"}},
		}
		froms := []string{"dev-" + s.SenderID + "-0", "dev-" + s.SenderID + "-1"}
		switch s.SenderID {
		case fcmSender:
			froms = append(froms, "fid-0")
		case aloneSender:
			froms = append(froms, "dev-"+s.SenderID+"-2", "dev-"+s.SenderID+"-3")
		}
		for _, from := range froms {
			w.devices = append(w.devices, &device{
				w: w, session: s.SenderID, from: from, rnd: w.roll("device", from), kick: make(chan struct{}, 1), has: map[string]bool{},
			})
		}
	}
	slow := chance(r, 60)
	w.options.Gateway = func(h *Host, o *gateway.Options) {
		o.Outbox = &routes{Outbox: o.Outbox, tap: &tap{h: h, b: w.books, flight: w.flight}}
		if slow {
			o.Inbox = &slowInbox{Inbox: o.Inbox, h: h, w: w, r: w.roll("inbox", o.SenderID)}
		}
		o.Stop = 2 * time.Second
	}
}

// live begins the lives of the devices. They end with the world.
func (w *world) live() (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var lives sync.WaitGroup
	for _, d := range w.devices {
		lives.Go(func() { d.live(ctx) })
	}
	return func() {
		cancel()
		lives.Wait()
	}
}

// gatewayActions are what devices are told to do.
func gatewayActions() (all []action) {
	for _, a := range []action{
		{16, "a device: upstreams", (*world).deviceUpstreams},
		{3, "a device: again", (*world).deviceAgain},
		{3, "a device: receipts", (*world).deviceReceipts},
		{2, "devices: cut", (*world).deviceCut},
	} {
		do := a.do
		a.do = func(w *world) string {
			if len(w.devices) == 0 {
				return ": there is none"
			}
			return do(w)
		}
		all = append(all, a)
	}
	return all
}

func (w *world) anyDevice() *device { return w.devices[w.rnd.IntN(len(w.devices))] }

func (w *world) deviceUpstreams() string {
	d := w.anyDevice()
	var ids []string
	for range 1 + w.rnd.IntN(8) {
		w.upSeq++
		u := &upstream{
			session: d.session, from: d.from, id: fmt.Sprintf("u%d", w.upSeq), device: d,
			category: []string{"com.alpha", "com.beta", "com.other"}[w.rnd.IntN(3)],
		}
		data := map[string]string{"n": fmt.Sprint(w.upSeq)}
		if chance(w.rnd, 70) {
			u.room = fmt.Sprint("room", w.rnd.IntN(3))
			data["room"] = u.room
		}
		u.data = fmt.Sprint(data["n"], " ", data["room"])
		u.message = frame.Message{MessageID: u.id, Category: u.category, Data: marshal(data)}
		w.books.created(u)
		d.put(u)
		ids = append(ids, u.id)
	}
	return fmt.Sprint(" ", d.from, " ", ids)
}

// deviceAgain has a device send what the gateway has stored already (P6).
func (w *world) deviceAgain() string {
	d := w.anyDevice()
	d.mu.Lock()
	var u *upstream
	if len(d.sent) > 0 {
		u = d.sent[w.rnd.IntN(len(d.sent))]
	}
	d.mu.Unlock()
	if u == nil {
		return ": nothing yet"
	}
	d.put(u)
	return " " + u.id
}

// deviceReceipts has a device tell of a downstream that it got, or of one that it didn't.
func (w *world) deviceReceipts() string {
	d := w.anyDevice()
	mid := w.books.anyDown(w.rnd)
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.arrivals); n > 0 && chance(w.rnd, 70) {
		mid = d.arrivals[w.rnd.IntN(n)].mid
	}
	if mid == "" || len(d.receipts) > 10 {
		return ": none"
	}
	d.receipts = append(d.receipts, frame.Receipt{OriginalMessageID: mid, Status: []string{"DISPLAYED", "OPENED"}[w.rnd.IntN(2)], Timestamp: time.Now().UnixMilli()})
	d.hint()
	return " " + d.from + " of " + mid
}

// deviceCut cuts connections of devices, at any byte that they send.
func (w *world) deviceCut() string {
	i, n, silent := w.rnd.IntN(8), w.rnd.IntN(800), chance(w.rnd, 50)
	return fmt.Sprintf(" %d after %d, silent %v: %v", i, n, silent, w.air.CutAfter(i, n, silent))
}

// put has u sent, unless it waits already.
func (d *device) put(u *upstream) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Contains(d.sent, u) {
		d.sent = append(d.sent, u)
	}
	if !slices.Contains(d.queue, u) {
		d.queue = append(d.queue, u)
	}
	d.hint()
}

func (d *device) hint() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// idle reports whether it has nothing to send.
func (d *device) idle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.queue) == 0 && len(d.receipts) == 0
}

// live goes from one way of talking to the next.
func (d *device) live(ctx context.Context) {
	defer d.forgotten.Wait()
	for ctx.Err() == nil {
		calm := d.w.calm.Load()
		switch n := d.rnd.IntN(100); {
		case calm && n < 30 || !calm && n < 45:
			d.upload(ctx, calm)
		case calm || n < 85:
			d.connect(ctx, calm)
		}
		rest := upTo(d.rnd, 2*time.Second)
		if chance(d.rnd, 50) {
			rest = upTo(d.rnd, 50*time.Millisecond)
		}
		sleep(ctx, rest)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// faulty is true now and then, while there are faults.
func (d *device) faulty(r *rand.Rand, percent int) bool {
	return chance(r, percent) && !d.w.calm.Load()
}

// token is a credential that ends so long from now.
func (d *device) token(ends time.Duration) string {
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"sub": d.from, "exp": time.Now().Add(ends).Unix()})
	t.Header["kid"] = "k"
	text, err := t.SignedString(d.w.key)
	if err != nil {
		panic(err) // of a key of the test's own
	}
	return text
}

// expired is how long ago a credential ended that nobody may take: the leeway is a minute.
const expired = -5 * time.Minute

// client makes connections from an address of its own.
func (d *device) client(r *rand.Rand) *http.Client {
	from := &net.TCPAddr{IP: net.IPv4(10, byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256))), Port: 1 + r.IntN(65535)}
	fuse, silent := -1, d.faulty(r, 50)
	if d.faulty(r, 30) {
		fuse = r.IntN(3000)
	}
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		nc, err := d.w.books.hosts().DialGateway(ctx, d.session, from)
		if err != nil {
			return nil, err
		}
		c, err := d.w.air.opened(nc)
		if err == nil && fuse >= 0 {
			e := c.(*end)
			e.fuse, e.silent = fuse, silent // nobody else has it yet
		}
		return c, err
	}}}
}

// hosts is today's host.
func (b *books) hosts() *Host {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.host
}

// anyDown is a downstream that somebody wants sent; "" when there is none.
func (b *books) anyDown(r *rand.Rand) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for mid := range b.downs {
		all = append(all, mid)
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return all[r.IntN(len(all))]
}

// stored notes that a device was told that u is on disk.
func (d *device) stored(u *upstream, again, known bool) {
	d.w.books.told(u, again, known)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queue = slices.DeleteFunc(d.queue, func(other *upstream) bool { return other == u })
	seen.add("gateway: acked", 1)
}

// proved handles the end of a receipt.
func (d *device) proved(r frame.Receipt, ok bool, why string) {
	d.mu.Lock()
	d.receipts = slices.DeleteFunc(d.receipts, func(other frame.Receipt) bool { return other == r })
	_, got := d.has[r.OriginalMessageID]
	d.mu.Unlock()
	b := d.w.books
	b.mu.Lock()
	defer b.mu.Unlock()
	switch down := b.downs[r.OriginalMessageID]; {
	case ok && !down.goesTo(d):
		b.bad("P10: %s tells what became of %s, which was never its own, and is believed", d.from, r.OriginalMessageID)
	case !ok && got:
		b.bad("%s tells what became of %s, which it got, and is not believed: %s", d.from, r.OriginalMessageID, why)
	case ok:
		b.proofs[r.OriginalMessageID+"|"+r.Status+"|"+d.from] = true
		seen.add("gateway: receipts", 1)
	default:
		seen.add("gateway: receipts refused", 1)
	}
}

// goesTo reports whether d is the target.
func (d *downstream) goesTo(to *device) bool {
	return d != nil && d.session == to.session && (d.to == message.Token(to.from) || d.to == message.FID(to.from))
}

// told notes that a device heard that u is stored, now or again. known: it had heard so
// before it sent u this time.
func (b *books) told(u *upstream, again, known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known && !again {
		b.bad("P6: %s was acked, came again, and is stored anew", u.key())
	}
	u.acked = true
}

// heard reports whether a device was told that u is stored.
func (b *books) heard(u *upstream) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return u.acked
}

// checkDevices: what a device was told is stored is stored (P1), in the order in which it
// was sent; what a device got was stored before (P2), and is its own. mu is held.
func (b *books) checkDevices(h *Host, fate func(*upstream) string) {
	for _, d := range b.w.devices {
		d.mu.Lock()
		sent, arrivals := slices.Clone(d.sent), slices.Clone(d.arrivals)
		d.mu.Unlock()
		var last *upstream
		for _, u := range sent {
			if u.acked && fate(u) == "" {
				b.bad("P1: %s was told that %s is stored, and the ledger has nothing of it", d.from, u.id)
			}
			switch {
			case u.seq == 0:
			case u.shuffled:
			case last != nil && u.seq < last.seq:
				b.bad("P1: %s is stored before %s, which %s sent before", u.id, last.id, d.from)
			default:
				last = u
			}
		}
		b.arrived(h, d.from, arrivals)
		for _, m := range arrivals {
			if down := b.downs[m.mid]; down != nil && !down.goesTo(d) {
				b.bad("%s got %s, which is for %v", d.from, m.mid, down.to)
			}
		}
	}
}

// checkReceipts: each receipt that a device was told is stored has come to its plugin, and
// an ack on a socket stands for one. mu is held.
func (b *books) checkReceipts(outcomes map[string]string, receipts map[string]bool, dead map[string]entry.DeadLetter) {
	for _, d := range dead {
		if d.Kind == "receipt" {
			return // it does not say of what
		}
	}
	for proof := range b.proofs {
		mid, _, _ := strings.Cut(proof, "|")
		if b.downs[mid].owner != "" && !receipts[proof] {
			b.bad("P8: the receipt %s is nowhere at the end", proof)
		}
	}
	for _, d := range b.w.devices {
		for mid := range d.has {
			down := b.downs[mid]
			_, sent := b.statuses[mid]
			if down.asks && down.owner != "" && strings.HasPrefix(outcomes[mid], "acked") && !sent && !b.byCCS[mid] && !receipts[mid] {
				b.bad("P8: %s has acked or named %s, which asks for a receipt, and there is none", d.from, mid)
			}
		}
	}
}

// errOver ends a connection that the device is done with.
var errOver = errors.New("the device hangs up")
