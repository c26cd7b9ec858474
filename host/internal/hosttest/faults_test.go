package hosttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/ccssim"
	"balhost/host/internal/config"
	"balhost/sdk/message"
	"balhost/sdk/wire"
)

// act does one thing of the schedule.
func (w *world) act() {
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	n := w.rnd.IntN(total)
	for _, a := range actions {
		if n -= a.weight; n < 0 {
			w.logf("%s%s", a.name, a.do(w))
			return
		}
	}
}

// action is one kind of thing that happens; what it returns is for the log.
type action struct {
	weight int
	name   string
	do     func(*world) string
}

var actions []action

func init() { // not a literal: act, which reads it, would be a part of it
	actions = []action{
		{30, "upstreams", (*world).upstreams},
		{6, "again", (*world).again},
		{2, "unusable", (*world).unusable},
		{8, "plugin sends", (*world).pluginSends},
		{4, "API sends", (*world).apiSends},
		{5, "plugin cancels", (*world).pluginCancels},
		{4, "API cancels", (*world).apiCancels},
		{4, "nothing", func(*world) string { return "" }},

		{6, "cut", (*world).cut},
		{4, "cut in what the host writes", (*world).cutWrites},
		{5, "drain", (*world).drain},
		{6, "nack", (*world).nack},
		{3, "no answer", (*world).noAnswer},
		{2, "nacks end", (*world).nacksEnd},
		{3, "freeze", (*world).freeze},
		{2, "stream error", (*world).streamError},
		{2, "odd", (*world).odd},
		{2, "canonical", (*world).canonical},

		{5, "slow disk", (*world).slowDisk},
		{2, "disk full or not", func(w *world) string { on := chance(w.rnd, 60); w.disk.Full(on); return fmt.Sprint(" ", on) }},
		{3, "kill", (*world).kill},
		{4, "kill at a commit", (*world).killAtCommit},
		{2, "stop", (*world).stop},
		{3, "config", (*world).reconfigure},

		{4, "plugin dies", (*world).pluginDies},
		{2, "reload", (*world).reload},
		{2, "pause", (*world).pause},
		{2, "resume", (*world).resume},
		{3, "replay", (*world).replay},
	}
	actions = append(actions, slices.Concat(fcmActions(), gatewayActions())...)
}

// session is the sender id of one of them.
func (w *world) session() string {
	return w.options.Sessions[w.rnd.IntN(len(w.options.Sessions))].SenderID
}

// upper is the sender id of one over which upstreams come.
func (w *world) upper() string {
	for {
		if s := w.options.Sessions[w.rnd.IntN(len(w.options.Sessions))]; s.CCS != nil {
			return s.SenderID
		}
	}
}

// upstreams sends some, of few devices, so that lanes fill.
func (w *world) upstreams() string {
	n := 1 + w.rnd.IntN(8)
	var ids []string
	for range n {
		session := w.upper()
		u := &upstream{
			session: session, from: fmt.Sprintf("dev-%s-%d", session, w.rnd.IntN(4)),
			category: []string{"com.alpha", "com.alpha", "com.beta", "com.other", ""}[w.rnd.IntN(5)],
		}
		w.upSeq++
		u.id = fmt.Sprintf("u%d", w.upSeq)
		data := map[string]string{"n": fmt.Sprint(w.upSeq)}
		if chance(w.rnd, 70) {
			data["room"] = fmt.Sprint("room", w.rnd.IntN(3))
			u.room = data["room"]
		}
		if old := w.books.anyUpstream(w.rnd); old != nil && chance(w.rnd, 5) {
			u.id, u.from, u.session, u.category = old.id, old.from, old.session, old.category // same id, other data: another message
		}
		u.data = fmt.Sprint(data["n"], " ", data["room"])
		u.send = ccssim.Upstream{Sender: u.session, From: u.from, Category: u.category, MessageID: u.id, Data: marshal(data)}
		w.sendUp(u)
		ids = append(ids, u.id)
	}
	return fmt.Sprint(" ", ids)
}

// sendUp has a device send u, which may have been sent before.
func (w *world) sendUp(u *upstream) {
	w.books.created(u)
	if _, err := w.server.Send(u.send); err != nil {
		w.books.wrong("send an upstream: %v", err)
	}
}

// again sends an upstream that was sent before (P6).
func (w *world) again() string {
	u := w.books.anyUpstream(w.rnd)
	if u == nil {
		return ": nothing yet"
	}
	w.sendUp(u)
	return " " + u.id
}

// unusable sends what has from and message_id, and else makes no sense (P1).
func (w *world) unusable() string {
	w.upSeq++
	session := w.upper()
	u := &upstream{session: session, from: fmt.Sprintf("dev-%s-%d", session, w.rnd.IntN(4)), id: fmt.Sprintf("u%d", w.upSeq), unusable: true}
	u.send = ccssim.Upstream{
		Sender: session, From: u.from, MessageID: u.id,
		Payload: fmt.Sprintf(`{"from":%q,"message_id":%q,"category":"com.alpha","data":17}`, u.from, u.id),
	}
	w.sendUp(u)
	return " " + u.id
}

// downstream makes one; mid decides all about it, so that it is the same each time.
func (w *world) downstream(mid, owner, session string) (*downstream, message.Downstream) {
	r := w.roll("downstream", mid)
	m := message.Downstream{
		MessageID: mid, Session: session, To: message.Token(fmt.Sprintf("dev-%s-%d", session, r.IntN(4))),
		Data: marshal(map[string]string{"id": mid, "text": strings.Repeat("<&ä", r.IntN(20))}),
	}
	switch n := r.IntN(30); {
	case session == aloneSender: // has nothing but devices
	case n < 3:
		m.To = message.Topic("news")
	case n == 3:
		m.To = message.Token(poisonToken + []string{"blamed-", "policy-", "ends-", "silent-"}[r.IntN(4)] + session)
	}
	if session == fcmSender && chance(r, 20) {
		m.To = message.FID(fmt.Sprintf("fid-%d", r.IntN(2)))
	}
	if chance(r, 60) {
		m.Group = fmt.Sprint("g", r.IntN(3))
	}
	if chance(r, 35) {
		m.Options.TTL = message.TTL([]time.Duration{0, 2 * time.Second, 10 * time.Second, time.Minute}[r.IntN(4)])
	}
	m.Options.ReceiptRequested = chance(r, 30)
	w.later(&m, r)
	return &downstream{
		mid: mid, owner: owner, session: session, group: m.Group, ttl: m.Options.TTL, receipt: m.Options.ReceiptRequested && session != fcmSender && session != aloneSender,
		asks: m.Options.ReceiptRequested, to: m.To, notBefore: m.NotBefore, replace: m.Replace,
		poison: strings.HasPrefix(m.To.Token, poisonToken),
	}, m
}

// pluginSends is Host.Send: it goes on until the answer is yes (P2), in the
// plugin's next process and the next host too, as a plugin does that keeps the id.
func (w *world) pluginSends() string {
	name, session := []string{"alpha", "beta"}[w.rnd.IntN(2)], w.session()
	w.sendSeq++
	mid := fmt.Sprintf("send-%s-%d", name, w.sendSeq)
	d, m := w.downstream(mid, name, session)
	checked, err := m.Checked()
	if err != nil {
		w.books.wrong("downstream: %v", err)
		return ""
	}
	on := wire.DownstreamToProto(checked)
	persistent := chance(w.rnd, 60)
	w.calling.Add(1)
	w.callers.Go(func() error {
		defer w.calling.Add(-1)
		for range 100 {
			if p := w.books.serving(name); p != nil && w.callSend(p, d, on, persistent) {
				return nil
			}
			time.Sleep(300 * time.Millisecond)
		}
		return nil // the host is gone for good
	})
	return " " + mid
}

// callSend asks once, and reports whether that was the last time.
func (w *world) callSend(p *Process, d *downstream, on *wire.Downstream, persistent bool) (done bool) {
	w.books.offered(d, p.Host())
	on.Session = label(p.Host(), d.session)
	reply, err := p.Call(&wire.Call{Op: &wire.Call_Send{Send: on}})
	switch {
	case err != nil:
		w.books.sendLost(d.mid)
		return !persistent
	case reply.GetCode() == wire.Reply_OK:
		w.books.sendStored(d.mid)
		return true
	case reply.GetCode() != wire.Reply_UNAVAILABLE:
		w.books.wrong("P2: Host.Send of %s: %v %s", d.mid, reply.GetCode(), reply.GetError())
		return true
	}
	return false
}

// apiSends is balhost send.
func (w *world) apiSends() string {
	w.sendSeq++
	mid := fmt.Sprintf("api-%d", w.sendSeq)
	d, m := w.downstream(mid, "", w.session())
	w.apiSend(d, m)
	return " " + mid
}

// others are downstreams that CCS takes, one a session: device 3 has no socket there. A poison is found by
// comparison with them.
func (w *world) others() {
	for _, o := range w.options.Sessions {
		w.sendSeq++
		mid := fmt.Sprintf("api-%d", w.sendSeq)
		w.apiSend(&downstream{mid: mid, session: o.SenderID, to: message.Token("dev-" + o.SenderID + "-3")},
			message.Downstream{MessageID: mid, Session: o.SenderID, To: message.Token("dev-" + o.SenderID + "-3"), Data: map[string]string{"id": mid}})
	}
}

func (w *world) apiSend(d *downstream, m message.Downstream) {
	h := w.host
	m.Session = label(h, m.Session)
	checked, err := m.Checked()
	if err != nil {
		w.books.wrong("downstream: %v", err)
		return
	}
	w.books.offered(d, h)
	w.callers.Go(func() error {
		if _, err := h.API.Send(context.Background(), checked); err == nil {
			w.books.sendStored(d.mid)
		} else {
			w.books.sendLost(d.mid)
		}
		return nil
	})
}

// some is a connection's number in ccssim's books, or 0 for all.
func (w *world) some() int {
	r := w.server.Report()
	var open []int
	for _, c := range r.Conns {
		if c.State == ccssim.StateBound || c.State == ccssim.StateDraining {
			open = append(open, c.ID)
		}
	}
	if len(open) == 0 || chance(w.rnd, 25) {
		return 0
	}
	return open[w.rnd.IntN(len(open))]
}

func (w *world) cut() string {
	c := ccssim.Cut{Mode: []ccssim.CutMode{ccssim.CutFIN, ccssim.CutRST, ccssim.CutBlackhole}[w.rnd.IntN(3)], Conn: w.some()}
	if chance(w.rnd, 70) {
		c.After = w.rnd.IntN(1500)
	}
	if _, err := w.server.CutWith(c); err != nil {
		w.books.wrong("%v", err)
	}
	return fmt.Sprintf(" %+v", c)
}

func (w *world) cutWrites() string {
	i, n, silent := w.rnd.IntN(8), w.rnd.IntN(1500), chance(w.rnd, 50)
	return fmt.Sprintf(" %d after %d, silent %v: %v", i, n, silent, w.host.Link.CutAfter(i, n, silent))
}

func (w *world) drain() string {
	d := ccssim.Drain{Conn: w.some(), Silent: chance(w.rnd, 25), NoUpstream: chance(w.rnd, 30)}
	if chance(w.rnd, 70) {
		d.Grace = ccssim.Duration(upTo(w.rnd, 10*time.Second))
	}
	return fmt.Sprintf(" %+v: %d", d, w.server.DrainWith(d))
}

var nackCodes = []string{
	"SERVICE_UNAVAILABLE", "INTERNAL_SERVER_ERROR", "DEVICE_MESSAGE_RATE_EXCEEDED", "CONNECTION_DRAINING", "DEVICE_UNREGISTERED",
	"BAD_REGISTRATION", "AUTHENTICATION_FAILED", "SOMETHING_NEW", "INVALID_JSON",
}

func (w *world) nack() string {
	n := ccssim.Nack{Count: 1 + w.rnd.IntN(6), Code: nackCodes[w.rnd.IntN(len(nackCodes))], Description: "as you like it"}
	if chance(w.rnd, 30) {
		n.Token = "dev-*-1"
	}
	w.server.Nack(n)
	return fmt.Sprintf(" %+v", n)
}

func (w *world) nacksEnd() string {
	w.server.ClearNacks()
	w.poison()
	return ""
}

func (w *world) noAnswer() string {
	n := 1 + w.rnd.IntN(3)
	w.server.Nack(ccssim.Nack{Count: n})
	return fmt.Sprint(" ", n)
}

func (w *world) freeze() string {
	w.frozen = !w.frozen
	w.server.Freeze(w.frozen)
	return fmt.Sprint(" ", w.frozen)
}

func (w *world) streamError() string {
	condition := []string{"system-shutdown", "connection-timeout", "invalid-xml", "policy-violation", "internal-server-error"}[w.rnd.IntN(5)]
	if condition == "invalid-xml" || condition == "policy-violation" {
		w.books.blame()
	}
	return fmt.Sprintf(" %s: %d", condition, w.server.StreamError(condition))
}

// odd is what CCS never sent, and must be harmless (P10).
func (w *world) odd() string {
	raw := []string{
		`<message><data:gcm xmlns:data="google:mobile:data">{"message_type":"control","control_type":"NEWS"}</data:gcm></message>`,
		`<message><gcm xmlns="google:mobile:data">{"message_type":"greeting","x":[1,{}]}</gcm></message>`,
		`<message><gcm xmlns="google:mobile:data">{"message_type":"ack","from":"nobody","message_id":"never-sent"}</gcm></message>`,
		`<presence/>`, ` `, `<iq type="get" id="s1"><ping xmlns="urn:xmpp:ping"/></iq>`, `<x xmlns="urn:x"><y/></x>`,
	}[w.rnd.IntN(7)]
	return fmt.Sprintf(" %s: %d", raw, w.server.Inject(raw))
}

func (w *world) canonical() string {
	session := w.upper()
	token := fmt.Sprintf("dev-%s-3", session)
	w.server.SetCanonical(token, []string{"", token + "-new"}[w.rnd.IntN(2)])
	return " " + token
}

func (w *world) slowDisk() string {
	if chance(w.rnd, 40) {
		w.disk.Slow(nil)
		return " no more"
	}
	most := []time.Duration{time.Millisecond, 20 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second}[w.rnd.IntN(4)]
	r := rand.New(rand.NewPCG(w.rnd.Uint64(), 0)) // the disk's own; it is under the disk's lock
	w.disk.Slow(func() time.Duration { return upTo(r, most) })
	return fmt.Sprint(" up to ", most)
}

func (w *world) kill() string {
	w.host.Kill()
	synctest.Wait() // badger may be writing a table
	return ""
}

func (w *world) killAtCommit() string {
	m, n := BeforeCommit+Moment(w.rnd.IntN(2)), w.rnd.IntN(12)
	w.disk.KillAt(m, n)
	return fmt.Sprintf(" %d, %d others first", m, n)
}

func (w *world) stop() string {
	err := w.host.Stop()
	select {
	case <-w.host.Dead():
		return " and kill"
	default:
	}
	if err != nil {
		w.books.wrong("stop: %v", err)
	}
	w.books.stopped()
	w.boot()
	synctest.Wait()
	w.books.recovered()
	return ""
}

// reconfigure changes the sessions of the running host: their names, their
// connections, their windows. The host may refuse it, when CCS doesn't answer.
func (w *world) reconfigure() string {
	w.rename() // a slice of its own
	for i := range w.options.Sessions {
		switch s := &w.options.Sessions[i]; {
		case chance(w.rnd, 50):
		case s.CCS != nil:
			changed := *s.CCS // the running host has the old one
			changed.Connections, changed.Window = 1+w.rnd.IntN(3), 1+w.rnd.IntN(changed.Window)
			s.CCS = &changed
		case s.FCMv1 != nil:
			changed := *s.FCMv1
			changed.Connections = 1 + w.rnd.IntN(3)
			s.FCMv1 = &changed
		}
	}
	h, sessions, force := w.host, w.options.Sessions, chance(w.rnd, 30)
	w.books.named(sessions)
	w.callers.Go(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err := h.Reconfigure(ctx, sessions, force)
		switch refused := (admin.Refusal{}); {
		case err == nil:
			seen.add("configs", 1)
			w.checkNames(h, sessions)
		case errors.As(err, &refused):
			seen.add("configs refused", 1)
		case !errors.Is(err, ErrStopped):
			w.books.wrong("reload: %v", err)
		}
		return nil
	})
	text, _ := json.Marshal(sessions)
	return fmt.Sprintf(" force %v: %s", force, text)
}

// checkNames: after a reload plugins are told the names of its config, unless
// config.hcl has changed again.
func (w *world) checkNames(h *Host, sessions []config.Session) {
	var want []string
	for _, s := range sessions {
		want = append(want, s.Name)
	}
	if got := h.SessionNames(); !slices.Equal(got, want) && slices.EqualFunc(h.config().Sessions, want, func(s config.Session, name string) bool { return s.Name == name }) {
		w.books.wrong("after a reload the sessions are called %q, not %q", got, want)
	}
}

func (w *world) pluginDies() string {
	name := []string{"alpha", "beta"}[w.rnd.IntN(2)]
	p := w.host.Serving(name)
	if p == nil {
		return ": it is dead"
	}
	p.Die("the schedule says so")
	return " " + name
}

func (w *world) reload() string {
	name := []string{"alpha", "beta"}[w.rnd.IntN(2)]
	w.host.Reload(name)
	return " " + name
}

func (w *world) pause() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return fmt.Sprint(": ", w.host.Dispatch.Pause(ctx, "alpha"))
}

func (w *world) resume() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return fmt.Sprint(": ", w.host.Dispatch.Resume(ctx, "alpha"))
}

// replay gives some dead letters another try (P5, P8).
func (w *world) replay() string {
	dead, err := w.host.Ledger.Dead("", 1000)
	if err != nil {
		return ": " + err.Error()
	}
	var ids []string
	for _, d := range dead {
		if strings.HasPrefix(d.Reason, "rejected") && chance(w.rnd, 50) {
			ids = append(ids, d.ID)
		}
	}
	w.books.replaying(ids)
	done, gone, err := w.host.API.Replay(ids)
	return fmt.Sprintf(" %d: %d %v %v", len(ids), done, gone, err)
}
