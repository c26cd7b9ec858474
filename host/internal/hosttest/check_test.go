package hosttest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"balhost/host/internal/ccs"
	"balhost/host/internal/entry"
)

func decode(b []byte, v any) {
	if len(b) > 0 {
		json.Unmarshal(b, v) //nolint:errcheck // what is not there is not there
	}
}

// check compares the books after a step, when every goroutine waits.
func (b *books) check() {
	select {
	case <-b.w.host.Dead():
		return // the next host is asked
	default:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.host
	counts := b.w.server.Counts()
	if counts.OverLimit > 0 {
		b.bad("P3: %d downstreams were sent past the window", counts.OverLimit)
	}
	if counts.WrongAcks > 0 || counts.BadAcks > 0 {
		b.bad("P1: %d acks on a wrong connection, %d bad ones: %v", counts.WrongAcks, counts.BadAcks, b.w.server.Report().WrongAckID)
	}
	if alarms := h.Ledger.Alarms(); len(alarms) > 0 {
		b.bad("ledger: %q", alarms)
	}
	if c := h.Ledger.Counts(); c.Sent != c.Acked+c.Failed+c.Expired+c.Canceled+uint64(c.Downstreams) {
		b.bad("P4: %d downstreams were accepted; %d acked, %d failed, %d expired, %d canceled, %d pending", c.Sent, c.Acked, c.Failed, c.Expired, c.Canceled, c.Downstreams)
	}
	b.readState(h)
	b.checkTimers(h, nil)
	b.checkPending(h)
	events, dead := b.pendingEvents(h), b.dead(h)
	waiting := b.waiting(events)
	b.checkAcked(waiting, dead)
	b.checkReceived(h)
	b.checkFCM(h)
	b.checkDevices(h, func(u *upstream) string { return b.fate(u, waiting, dead) })
}

// dead are the dead letters, by kind, session, device and message id.
func (b *books) dead(h *Host) map[string]entry.DeadLetter {
	all := map[string]entry.DeadLetter{}
	for after := ""; ; {
		page, err := h.Ledger.Dead(after, 1000)
		if err != nil {
			select {
			case <-h.Dead():
			default:
				b.bad("dead letters: %v", err)
			}
			return all
		}
		for _, d := range page {
			if d.Kind == "timer" {
				d.MessageID = d.ID
			}
			all[deadKey(d.Kind, d.Session, d.From, d.MessageID)] = d
			after = d.ID
		}
		if len(page) < 1000 {
			return all
		}
	}
}

func deadKey(kind, session, from, id string) string {
	if kind == "timer" {
		return "timer|" + id
	}
	if kind != "upstream" {
		session, from = "", ""
	}
	return strings.Join([]string{kind, session, from, id}, "|")
}

// readState reads what handlers have committed: each event once, and nothing
// that was there may go (P7).
func (b *books) readState(h *Host) {
	for _, plugin := range h.Plugins() {
		for _, key := range b.keys(plugin) {
			value, version, err := h.Ledger.Get(plugin, key)
			if errors.Is(err, entry.ErrClosed) {
				continue
			} else if err != nil {
				b.bad("state %s: %v", key, err)
				continue
			}
			where := plugin + " " + key
			if version == b.versions[where] && version != 0 {
				continue
			}
			was, is := b.state[where], notes(value)
			if len(is) < len(was) || !slices.EqualFunc(was, is[:len(was)], func(x, y note) bool { return x.Event == y.Event }) {
				b.bad("P7: state %s of %s had %d notes, and now has others: %v, %v", key, plugin, len(was), was, is)
			}
			for _, n := range is[min(len(was), len(is)):] {
				b.effect(key, n)
			}
			b.state[where], b.versions[where] = is, version
		}
	}
}

// effect notes what one event has done.
func (b *books) effect(key string, n note) {
	if key == sharedKey {
		key = "shared " // of its own; the event's note is elsewhere too
	} else {
		key = ""
	}
	if _, twice := b.effects[key+n.Event]; twice {
		b.bad("P7: %s (event %s) has had its effect twice", n.Key, n.Event)
	}
	b.effects[key+n.Event] = n
	if e := b.events[n.Event]; e == nil || e.key != n.Key {
		b.bad("P7: effect of event %s, %s, which was not handed out", n.Event, n.Key)
	}
	if e := b.events[n.Event]; e != nil && n.Among > 0 && key == "" {
		among := fmt.Sprint(e.plugin, " ", n.Among)
		if other := b.among[among]; other != "" {
			b.bad("P7: %s and %s have both listed %d notes of %s", n.Event, other, n.Among-1, e.plugin)
		}
		b.among[among] = n.Event
	}
	for _, mid := range n.Sends {
		if d := b.downs[mid]; d != nil {
			d.stored = true
		}
	}
	for _, mid := range n.Cancels {
		b.downs[mid].called = true
	}
}

// keys are the state keys that a plugin may have.
func (b *books) keys(plugin string) []string {
	seen := map[string]bool{sharedKey: true}
	for _, e := range b.events {
		if e.plugin == plugin {
			seen[stateKey(e)] = true
		}
	}
	var all []string
	for key := range seen {
		all = append(all, key)
	}
	slices.Sort(all)
	return all
}

// fate says where an upstream is in the ledger; "" when it is nowhere.
func (b *books) fate(u *upstream, waiting map[string]bool, dead map[string]entry.DeadLetter) string {
	if e := b.byKey[u.key()]; e != nil {
		if _, done := b.effects[e.id]; done {
			return "done"
		}
	}
	if waiting[u.key()] {
		return "pending"
	}
	if d, ok := dead[deadKey("upstream", u.session, u.from, u.id)]; ok {
		return "dead: " + d.Reason
	}
	return ""
}

// waiting are the upstreams that are pending, each once.
func (b *books) waiting(events []pending) map[string]bool {
	waiting := map[string]bool{}
	for _, e := range events {
		if e.Kind == entry.Upstream {
			if waiting[e.key] {
				b.bad("P6: %s is pending twice", e.key)
			}
			waiting[e.key] = true
		}
	}
	return waiting
}

// checkAcked: what CCS was told is stored is stored (P1).
func (b *books) checkAcked(waiting map[string]bool, dead map[string]entry.DeadLetter) {
	stored := map[string]int{} // by device and message id: how many sendings the ledger's entries account for
	for key, u := range b.ups {
		if b.fate(u, waiting, dead) != "" {
			stored[u.from+"\t"+u.id] += u.times
		}
		if e := b.byKey[key]; e != nil && waiting[key] {
			if _, done := b.effects[e.id]; done {
				b.bad("P7: %s is pending and has had its effect", key)
			}
		}
	}
	acked := map[string]int{}
	var list strings.Builder
	b.w.server.WriteAcked(&list) //nolint:errcheck // a Builder takes all
	for lines := bufio.NewScanner(strings.NewReader(list.String())); lines.Scan(); {
		acked[lines.Text()]++
	}
	for name, n := range acked {
		if n > stored[name] {
			b.bad("P1: %d of %q were acked to CCS, the ledger has %d", n, name, stored[name])
		}
	}
}

// checkReceived: what CCS got was stored before (P2), and groups in their order (P5).
func (b *books) checkReceived(h *Host) {
	for _, s := range b.w.options.Sessions {
		if s.CCS == nil {
			continue
		}
		for _, token := range b.targets(s.SenderID) {
			r, _ := b.w.server.Device(token)
			var all []arrival
			for _, m := range r.Last {
				all = append(all, arrival{m.MessageID, m.Duplicate})
				b.byCCS[m.MessageID] = true
			}
			b.arrived(h, token, all)
		}
	}
}

// arrival is one downstream that came to its target.
type arrival struct {
	mid       string
	duplicate bool
}

// arrived checks what came to one target.
func (b *books) arrived(h *Host, target string, all []arrival) {
	last := map[string]string{} // by group: the newest one that came
	for _, m := range all {
		d := b.downs[m.mid]
		switch {
		case d == nil:
			b.bad("P2: %s got %s, which nobody sent", target, m.mid)
			continue
		case d.stored:
		case !d.direct():
			b.bad("P2: %s got %s, and the changes it belongs to are not committed", target, m.mid)
		case d.waits && d.host == h:
			b.bad("P2: %s got %s, and its sender has not heard that it is stored", target, m.mid)
		}
		b.received[m.mid] = true
		if d.over {
			b.bad("P4: %s got %s, which was canceled", target, m.mid)
		}
		if lane := groupLane(d); lane != "" && !m.duplicate && d.ttl == nil {
			// A device is of one session, but a group has several devices: compare within a device.
			if b.seqs[m.mid] < b.seqs[last[lane]] {
				b.bad("P5: %s got %s after %s, which is newer and of its group", target, m.mid, last[lane])
			}
			last[lane] = m.mid
		}
	}
}

// targets are those of a session.
func (b *books) targets(session string) []string {
	all := []string{"/topics/news", fmt.Sprintf("dev-%s-3-new", session)}
	for i := range 4 {
		all = append(all, fmt.Sprintf("dev-%s-%d", session, i))
	}
	if session == fcmSender {
		all = append(all, "fid-0", "fid-1")
		for _, kind := range []string{"blamed-", "policy-", "ends-", "silent-"} {
			all = append(all, poisonToken+kind+session) // FCM takes them
		}
	}
	return all
}

// stopped: a clean stop answers all; nothing waits for a host that is gone.
func (b *books) stopped() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.downs {
		if d.waits && d.owner == "" {
			b.bad("P2: the API's send of %s was never answered", d.mid)
		}
	}
}

// recovered checks a host that has just started on the disk of one that ended:
// what CCS got before must be there, else it was sent before it was stored (P2).
func (b *books) recovered() {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.host
	here := map[string]bool{}
	for _, d := range h.Ledger.Downstreams(0, 1<<20) {
		here[d.MessageID] = true
	}
	b.readState(h)
	ended := map[string]bool{}
	for _, e := range b.pendingEvents(h) {
		if name, ok := strings.CutPrefix(e.key, "out|"); ok {
			ended[name[:strings.Index(name, "|")]] = true
		}
	}
	for _, n := range b.effects {
		if name, ok := strings.CutPrefix(n.Key, "out|"); ok {
			ended[name[:strings.Index(name, "|")]] = true
		}
	}
	for _, d := range b.dead(h) {
		ended[d.MessageID] = true
	}
	for mid := range b.received {
		if d := b.downs[mid]; d.owner != "" && !here[mid] && !ended[mid] {
			b.bad("P2: CCS got %s, and the ledger knows nothing of it after a restart", mid)
		}
	}
}

// close is the last reckoning, when nothing is left to do.
func (b *books) close() {
	status, err := b.w.host.Dispatch.Status(context.Background()) // not under mu, which it may wait for
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.host
	if !b.w.settled() {
		r := b.w.server.Report()
		b.bad("P8: not settled: CCS has %d upstreams waiting and %d in flight\nledger %+v\nevents %+v\ndownstreams %+v\nsessions %+v\nplugins %+v %v",
			r.Waiting, r.InFlight, h.Ledger.Counts(), b.pendingEvents(h), h.Ledger.Downstreams(0, 100), statuses(h), status.Plugins, err)
	}
	dead := b.dead(h)
	for key, u := range b.ups {
		switch fate := b.fate(u, nil, dead); {
		case fate == "":
			b.bad("P8: %s is nowhere at the end", key)
		case u.unusable && !strings.HasPrefix(fate, "dead"):
			b.bad("P1: the unusable %s is %s", key, fate)
		}
	}
	for _, d := range dead {
		b.buried[strings.Join(strings.Fields(d.Reason + " - -")[:2], " ")]++
	}
	outcomes, receipts := map[string]string{}, map[string]bool{}
	for id, n := range b.effects {
		kind, rest, _ := strings.Cut(n.Key, "|")
		switch {
		case strings.HasPrefix(id, "shared "):
		case kind == "out":
			mid, status, _ := strings.Cut(rest, "|")
			outcomes[mid] = status
		case kind == "rcpt":
			receipts[rest] = true
		}
	}
	for mid, d := range b.downs {
		if !d.stored {
			continue
		}
		outcome, heard := outcomes[mid]
		_, buried := dead[deadKey("outcome", "", "", mid)]
		if d.owner != "" && !heard && !buried {
			b.bad("P4: nobody heard how %s ended", mid)
		}
		if heard {
			b.checkOutcome(d, outcome)
		}
		if _, buried := dead[deadKey("receipt", "", "", "dr2:"+mid)]; d.receipt && b.byCCS[mid] && !receipts[mid] && !buried {
			b.bad("P8: the receipt of %s is nowhere at the end", mid)
		}
	}
	b.checkReceipts(outcomes, receipts, dead)
	b.checkReplaced(outcomes)
	b.checkTimers(h, b.deadTimers(h, dead))
	if c := b.w.server.Counts(); c.Receipts != c.ReceiptsAcked {
		b.bad("P1: %d receipts, %d acked", c.Receipts, c.ReceiptsAcked)
	}
	if err := h.Ledger.Verify(context.Background()); err != nil {
		b.bad("%v", err)
	}
}

func statuses(h *Host) (all []any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, status := range h.statuses {
		all = append(all, status())
	}
	return all
}

// checkOutcome: a downstream ended as the books of CCS, or of FCM, say.
func (b *books) checkOutcome(d *downstream, outcome string) {
	outcome, gone := strings.CutSuffix(outcome, "|gone")
	status, code, _ := strings.Cut(outcome, "|")
	switch status {
	case "acked":
		if !b.received[d.mid] {
			b.bad("P4: %s is acked, and nobody took it", d.mid)
		}
	case "failed":
		if d.session == fcmSender {
			b.checkFailed(d, code, gone)
			return
		}
		blamed := code == ccs.CodeStreamError && (d.poison || b.blamed)
		if !slices.Contains(nackCodes, code) && !blamed && code != ccs.CodeConnectionLost { // which cuts can bring about too
			b.bad("P4: %s failed with %q", d.mid, code)
		}
		if gone != (code == "DEVICE_UNREGISTERED" || code == "BAD_REGISTRATION") {
			b.bad("%s failed with %s, and its target is gone: %v", d.mid, code, gone)
		}
	case "expired":
		if d.ttl == nil {
			b.bad("P4: %s expired without a TTL", d.mid)
		}
	case "canceled":
		if b.received[d.mid] {
			b.bad("P4: %s is canceled, and somebody took it", d.mid)
		}
	default:
		b.bad("P4: %s ended as %q", d.mid, outcome)
	}
}

// count adds what became of all to what was seen.
func (b *books) count() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, n := range b.effects {
		kind, rest, _ := strings.Cut(n.Key, "|")
		if strings.HasPrefix(id, "shared ") {
			kind = "shared key" // once more
		} else if kind == "out" {
			_, how, _ := strings.Cut(rest, "|")
			kind = "outcome " + strings.TrimSuffix(how, "|")
		}
		seen.add("handled "+kind, 1)
	}
	for _, e := range b.events {
		seen.add("deliveries", uint64(e.delivered))
		seen.add("failed deliveries", uint64(e.retries))
		if e.replayed {
			seen.add("replayed", 1)
		}
	}
	for why, n := range b.buried {
		seen.add("dead: "+why, uint64(n))
	}
}
