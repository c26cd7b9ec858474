package hosttest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/config"
	"balhost/host/internal/entry"
	"balhost/host/internal/frame"
	"balhost/sdk/message"
	"balhost/sdk/wire"
)

// books are what the devices, the plugins and the API know to be true, without
// asking the host. Methods may be called from any goroutine.
type books struct {
	w *world

	mu       sync.Mutex // guards what follows
	errs     []string
	rand     *rand.Rand // for what the schedule can't foresee
	host     *Host
	ups      map[string]*upstream // by content: key
	upOrder  []*upstream
	events   map[string]*event             // by the event's id
	byKey    map[string]*event             // by what the event is (P6, P4)
	at       map[*Process]map[uint64]*hand // what living processes handle now
	downs    map[string]*downstream        // by message id
	state    map[string][]note             // by plugin and key: what was committed, when last seen
	versions map[string]uint64             // of state
	effects  map[string]note               // by event id: its note in a lane's or a loose key
	among    map[string]string             // by plugin and how many notes it has listed: the event
	bodies   map[uint64]pending            // of host, by seq
	seqs     map[string]uint64             // of downstreams, by message id
	blamed   bool
	buried   map[string]int       // dead letters at the end, by the begin of their reason
	received map[string]bool      // message ids that CCS or FCM took
	byCCS    map[string]bool      // of these, CCS
	proofs   map[string]bool      // receipts that gateways took from devices
	statuses map[string][]int     // that FCM answered, by message id
	names    map[string]bool      // of sessions, that the host was given
	whens    map[string]time.Time // NotBefore, by message id
}

// upstream is one message of a device; sent again it is still the same.
type upstream struct {
	session, from, id, category, room, data string
	unusable                                bool
	send                                    ccssim.Upstream
	times                                   int // that a device sent it

	// Over a gateway.
	device   *device // nil: it comes from CCS
	message  frame.Message
	seq      uint64 // of the event, when first seen; 0: not yet
	acked    bool   // the device was told
	shuffled bool   // the device did not send it in its turn
}

func (u *upstream) key() string {
	return strings.Join([]string{"up", u.session, u.from, u.id, u.data}, "|")
}

// event is one that a plugin was handed.
type event struct {
	id, kind, key, lane, plugin string
	delivered, retries          int
	replayed                    bool
}

// hand is one delivery of an event that its process has not answered.
type hand struct{ event *event }

// downstream is one that somebody wants sent.
type downstream struct {
	mid, owner, session, group string
	ttl                        *time.Duration
	to                         message.Target
	receipt, poison            bool  // receipt: CCS sends one
	asks                       bool  // for a receipt
	host                       *Host // that was asked last
	waits, stored              bool  // Host.Send and the API: no answer yet, and yes

	notBefore    time.Time
	replace      string
	left         bool // a transport or a route got it, of whichever host
	kept         bool // it may have gone out, as it was pending when a host started
	asked        bool // somebody who may wants it canceled
	called, over bool // that is committed, if it was in time; and it was, or it was replaced
}

// direct reports whether it comes from Host.Send or the API, not from a handler.
func (d *downstream) direct() bool {
	return strings.HasPrefix(d.mid, "send-") || strings.HasPrefix(d.mid, "api-")
}

// pending is one of the ledger's pending events.
type pending struct {
	entry.Event
	id, key, lane string
}

func newBooks(w *world) *books {
	return &books{
		w: w, rand: rand.New(rand.NewPCG(w.seed, 1)),
		ups: map[string]*upstream{}, events: map[string]*event{}, byKey: map[string]*event{},
		at: map[*Process]map[uint64]*hand{}, downs: map[string]*downstream{}, state: map[string][]note{}, versions: map[string]uint64{}, effects: map[string]note{}, among: map[string]string{},
		seqs: map[string]uint64{}, received: map[string]bool{}, buried: map[string]int{}, byCCS: map[string]bool{}, proofs: map[string]bool{}, statuses: map[string][]int{}, whens: map[string]time.Time{},
	}
}

// wrong records a broken promise.
func (b *books) wrong(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bad(format, args...)
}

// bad is wrong for holders of mu.
func (b *books) bad(format string, args ...any) {
	text := fmt.Sprintf("%7.3fs ", time.Since(b.w.start).Seconds()) + fmt.Sprintf(format, args...)
	if b.w.tell {
		fmt.Println(text)
	}
	if len(b.errs) < 20 {
		b.errs = append(b.errs, text)
	}
}

func (b *books) ok() bool { return len(b.wrongs()) == 0 }

func (b *books) wrongs() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.errs)
}

// rnd is a new source of chance.
func (b *books) rnd() *rand.Rand {
	b.mu.Lock()
	defer b.mu.Unlock()
	return rand.New(rand.NewPCG(b.rand.Uint64(), 0))
}

// boots notes the names of the sessions that a new host is given: its first ones.
func (b *books) boots(sessions []config.Session) {
	b.mu.Lock()
	b.names = map[string]bool{}
	b.mu.Unlock()
	b.named(sessions)
}

// named notes the names of sessions that the host is given.
func (b *books) named(sessions []config.Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range sessions {
		b.names[s.Name] = true
	}
}

// knows reports whether the host was given the name of a session.
func (b *books) knows(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.names[name]
}

func (b *books) booted(h *Host) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.host, b.bodies = h, map[uint64]pending{}
	b.started(h.found, h.opened)
}

// serving is the process of a plugin that takes events, of today's host; nil
// when there is none.
func (b *books) serving(plugin string) *Process {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.host.Serving(plugin)
}

// created notes that a device sends u.
func (b *books) created(u *upstream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	u.times++
	if b.ups[u.key()] == nil {
		b.ups[u.key()] = u
		if u.device == nil {
			b.upOrder = append(b.upOrder, u)
		}
	}
}

// anyUpstream is one that was sent; nil when none was.
func (b *books) anyUpstream(r *rand.Rand) *upstream {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.upOrder) == 0 {
		return nil
	}
	return b.upOrder[r.IntN(len(b.upOrder))]
}

// offered notes a downstream before the host hears of it.
func (b *books) offered(d *downstream, h *Host) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if was := b.downs[d.mid]; was != nil {
		was.host = h // asked again it may be stored already, so nothing hangs on this answer
		return
	}
	d.host, d.waits = h, d.direct()
	b.downs[d.mid] = d
}

func (b *books) sendStored(mid string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.downs[mid].stored, b.downs[mid].waits = true, false
}

// sendLost: nobody waits for an answer any more, so whether it was stored is not known.
func (b *books) sendLost(mid string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.downs[mid].waits = false
}

// blame: CCS said that our bytes were bad.
func (b *books) blame() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blamed = true
}

func (b *books) replaying(ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		if e := b.events[id]; e != nil {
			e.replayed = true
		}
	}
}

// describe says what an event is and in which lane it belongs, from its body
// and the books alone.
func (b *books) describe(body entry.Body) (id, kind, key, lane string) {
	switch {
	case body.Upstream != nil:
		u := body.Upstream
		data := map[string]string{}
		decode(u.Data, &data)
		key = strings.Join([]string{"up", unlabel(u.Session), u.From, u.MessageID, fmt.Sprint(data["n"], " ", data["room"])}, "|")
		return u.ID, "upstream", key, b.upLane(u.Category, u.From, data["room"])
	case body.Outcome != nil:
		o := body.Outcome
		if d := b.downs[o.MessageID]; d != nil {
			lane = groupLane(d)
		}
		key = "out|" + o.MessageID + "|" + o.Status.String() + "|" + o.Code
		if o.Gone {
			key += "|gone"
		}
		return o.ID, "outcome", key, lane
	case body.Receipt != nil:
		m := body.Receipt
		if d := b.downs[m.OriginalMessageID]; d != nil {
			lane = groupLane(d)
		}
		key = "rcpt|" + m.OriginalMessageID
		if m.Status != sentToDevice { // the app's own word
			key += "|" + m.Status + "|" + m.Device
		}
		return m.ID, "receipt", key, lane
	case body.Timer != nil:
		var set timed
		decode(body.Timer.Data, &set)
		return body.Timer.ID, "timer", strings.Join([]string{"timer", body.Timer.Key, set.N}, "|"), set.Lane
	}
	return "", "", "", ""
}

// pluginOf is who gets the upstreams of a category.
func pluginOf(category string) string {
	if category == "com.alpha" {
		return "alpha"
	}
	return "beta"
}

func (b *books) upLane(category, from, room string) string {
	name := pluginOf(category)
	for _, p := range b.w.options.Plugins {
		switch {
		case p.Name != name:
		case p.Order == "none":
			return ""
		case p.Order != "device" && room != "":
			return name + "/room/" + room
		}
	}
	return name + "/device/" + from
}

func groupLane(d *downstream) string {
	if d.group == "" {
		return ""
	}
	return "group/" + d.owner + "/" + d.session + "/" + d.group
}

// pendingEvents are those of the host's ledger, in its order.
func (b *books) pendingEvents(h *Host) []pending {
	var all []pending
	for _, e := range h.Ledger.Events(0, 1<<20) {
		p, known := b.bodies[e.Seq]
		if !known || b.host != h {
			body, err := h.Ledger.Body(e.Seq)
			if err != nil {
				continue // ended meanwhile
			}
			p.id, _, p.key, p.lane = b.describe(body)
			if b.host == h {
				b.bodies[e.Seq] = p
			}
		}
		p.Event = e
		if u := b.ups[p.key]; u != nil && u.seq == 0 {
			u.seq = e.Seq
		}
		all = append(all, p)
	}
	return all
}

// delivered is called before a handler starts: here P5, P6 and P7 would break.
func (b *books) delivered(p *Process, d *wire.Delivery) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.know(p, d)
	e.delivered++
	what := fmt.Sprintf("%s %s (event %s, lane %q) at %s", e.kind, e.key, e.id, e.lane, p.Plugin.Name)
	for other, hands := range b.at {
		for _, h := range hands {
			if h.event == e || e.lane != "" && h.event.lane == e.lane && other.Plugin == p.Plugin {
				b.bad("P5: %s is handed out while a living process handles %s of its lane", what, h.event.key)
			}
		}
	}
	if _, done := b.effects[e.id]; done {
		b.bad("P7: %s is handed out again after its commit", what)
	}
	if int(d.GetAttempt()) > 1+e.retries {
		b.bad("P7: %s is attempt %d, and %d have failed", what, d.GetAttempt(), e.retries)
	}
	b.checkOrder(p, e, what)
	if b.at[p] == nil {
		b.at[p] = map[uint64]*hand{}
	}
	b.at[p][d.GetDelivery()] = &hand{e}
}

// checkOrder looks for an event that should have come first (P5).
func (b *books) checkOrder(p *Process, e *event, what string) {
	all := b.pendingEvents(p.Host())
	i := slices.IndexFunc(all, func(q pending) bool { return q.id == e.id })
	if i < 0 {
		select {
		case <-p.Host().Dead():
		default:
			if e.kind == "timer" {
				return // it was canceled at this moment
			}
			b.bad("P5: %s is handed out, and not pending in the ledger", what)
		}
		return
	}
	for _, q := range all[:i] {
		if e.lane != "" && q.lane == e.lane && b.owner(q) == p.Plugin.Name {
			b.bad("P5: %s is handed out before %s, which is older", what, q.key)
		}
	}
}

// owner is the plugin that a pending event is for.
func (b *books) owner(q pending) string {
	if q.Plugin != "" {
		return q.Plugin
	}
	return pluginOf(q.Category)
}

// know finds or makes the entry of the event that d carries.
func (b *books) know(p *Process, d *wire.Delivery) *event {
	var body entry.Body
	switch {
	case d.GetUpstream() != nil:
		u := wire.UpstreamFromProto(d.GetUpstream(), d.GetAttempt())
		body.Upstream = &u
	case d.GetOutcome() != nil:
		o := wire.OutcomeFromProto(d.GetOutcome(), d.GetAttempt())
		body.Outcome = &o
	case d.GetReceipt() != nil:
		r := wire.ReceiptFromProto(d.GetReceipt(), d.GetAttempt())
		body.Receipt = &r
	case d.GetTimer() != nil:
		m := wire.TimerFromProto(d.GetTimer(), d.GetAttempt())
		if body.Timer = &m; m.Due.After(time.Now()) {
			b.bad("timer %s comes %s before its time", m.Key, time.Until(m.Due))
		}
	}
	id, kind, key, lane := b.describe(body)
	e := b.events[id]
	if e == nil {
		e = &event{id: id, kind: kind, key: key, lane: lane, plugin: p.Plugin.Name}
		b.events[id] = e
		one := key
		if kind == "outcome" {
			one = "out|" + body.Outcome.MessageID // whatever its status: one outcome
			if b.downs[body.Outcome.MessageID] == nil {
				b.bad("P4: outcome of %s, which nobody sent", body.Outcome.MessageID)
			}
			b.ends(body.Outcome)
		}
		if was := b.byKey[one]; was != nil && !(kind == "receipt" && b.tookByCCS(body.Receipt.OriginalMessageID)) {
			promise := map[string]string{"upstream": "P6", "receipt": "P6", "outcome": "P4", "timer": "P7"}[kind]
			b.bad("%s: %s is two events, %s and %s", promise, one, was.id, id)
		}
		b.byKey[one] = e
		if kind == "upstream" && b.ups[key] == nil {
			b.bad("P1: %s was never sent like this", key)
		}
	}
	if e.key != key || e.plugin != p.Plugin.Name {
		b.bad("event %s was %s at %s and is now %s at %s", id, e.key, e.plugin, key, p.Plugin.Name)
	}
	return e
}

// sentToDevice is the status of a receipt that CCS sends, and of one that stands for the
// ack of a device on a socket.
const sentToDevice = "MESSAGE_SENT_TO_DEVICE"

// tookByCCS reports whether both CCS and a device's ack may have brought the receipt of a
// downstream: then it is two events. mu is held.
func (b *books) tookByCCS(mid string) bool {
	d := b.downs[mid]
	return d != nil && d.receipt && slices.ContainsFunc(b.w.devices, func(to *device) bool {
		to.mu.Lock()
		defer to.mu.Unlock()
		_, got := to.has[mid]
		return got
	})
}

// handling is the event of a delivery, and how often it was handed out.
func (b *books) handling(d *wire.Delivery) (*event, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := d.GetUpstream().GetId() + d.GetOutcome().GetId() + d.GetReceipt().GetId() + d.GetTimer().GetId()
	e := b.events[id]
	return e, e.delivered
}

// answered is called before the host hears the result.
func (b *books) answered(p *Process, r *wire.Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h := b.at[p][r.GetDelivery()]; h != nil {
		if r.GetCode() == wire.Result_RETRY {
			h.event.retries++
		}
		delete(b.at[p], r.GetDelivery())
	}
}

// exited: the process handles nothing any more.
func (b *books) exited(p *Process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.at, p)
}
