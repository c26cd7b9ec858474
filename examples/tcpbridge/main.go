// Command tcpbridge is a plugin through which the business layer (BAL) of another program
// connects over TCP, in any language, as it did with GIMMM: lines of JSON, LOGON, UPSTREAM,
// ACK, DOWNSTREAM and so on. README.md beside it is the protocol; python and java are
// clients of it. It shows
//
//   - a queue in the plugin's state: what a handler puts there is committed with the event,
//     so it can wait for days, costs no attempts, and is never lost or doubled (P7, P8);
//   - a server in Run, which never runs in two instances at once;
//   - Host.Update: what a BAL hands over is on disk before the BAL hears of it;
//   - outcomes and receipts that go to whoever sent the downstream, by its Context and id.
//
// Handlers only put messages into the state, each under its event's id (mailbox.go). A
// connection moves them from there into its window (window.go), writes them, and deletes
// them when the BAL has acked them (conn.go). Start at bridge.run and conn.push.
package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"balhost/sdk"
)

func main() { sdk.Serve(newBridge().plugin()) }

// bridge has the plugin's functions.
type bridge struct {
	config          config
	listen          func(network, address string) (net.Listener, error)
	host            *sdk.Host
	refused, logons limited // what the log tells of peers

	mu    sync.Mutex          // guards what follows, and what is in the boxes
	boxes map[string]*mailbox // by session id: those that hold something, or have a connection
	lobby []*conn             // those that have not logged on yet, the oldest first
}

func newBridge() *bridge {
	return &bridge{config: defaults(), listen: net.Listen, boxes: map[string]*mailbox{}}
}

func (b *bridge) plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:       "tcpbridge",
		Version:    "1.0.0",
		Categories: []string{"com.example.bal"}, // of the example; yours stand in the plugin's block in config.hcl
		Config:     &b.config,
		Start:      b.start,
		Run:        b.run,
		Upstream:   b.upstream,
		Outcome:    b.outcome,
		Receipt:    b.receipt,
	}
}

// start refuses a config that can't work. The host shows the error.
func (b *bridge) start(_ context.Context, h *sdk.Host) error {
	b.host = h
	return b.config.check(h.Sessions())
}

func (b *bridge) upstream(_ context.Context, tx *sdk.Tx, m sdk.Upstream) error {
	return b.hold(tx, m.ID, line{
		Type: typeUpstream, SessionID: m.Category, HostSession: m.Session,
		FCMData: encode(upstreamData{From: m.From, Category: m.Category, MessageID: m.MessageID, Data: m.Data}),
	})
}

// outcome tells the BAL how its downstream ended. Each gets exactly one of the two (P4).
func (b *bridge) outcome(_ context.Context, tx *sdk.Tx, o sdk.Outcome) error {
	from, err := originOf(o.Context)
	if err != nil {
		return sdk.Reject(err)
	}
	l := line{SessionID: from.SessionID, HostSession: o.Session, GroupID: o.Group}
	if o.Status == sdk.Acked {
		l.Type = typeDownstreamAck
		l.FCMData = encode(ackData{From: addressOf(o.To), MessageID: ownID(o.MessageID, from.SessionID), Type: "ack", NewToken: o.NewToken})
		return b.hold(tx, o.ID, l)
	}
	l.Type, l.FCMData = typeDownstreamReject, from.FCMData
	if l.Error = o.Code; l.Error == "" {
		l.Error = "EXPIRED" // its time to live has passed
	}
	if l.ErrorDescription = o.Description; l.ErrorDescription == "" {
		l.ErrorDescription = fmt.Sprintf("%s after %d attempts", o.Status, o.Attempts)
	}
	return b.hold(tx, o.ID, l)
}

// receipt tells the BAL that a device has got its downstream.
func (b *bridge) receipt(_ context.Context, tx *sdk.Tx, r sdk.Receipt) error {
	session, id, err := splitID(r.OriginalMessageID)
	if err != nil {
		return sdk.Reject(err)
	}
	d := receiptData{Type: "receipt", From: "gcm.googleapis.com", Category: r.Category, MessageID: "dr2:" + id}
	d.Data.Status, d.Data.Original, d.Data.Device = r.Status, id, r.Device
	if r.SentAt.Unix() > 0 {
		d.Data.SentMs = fmt.Sprint(r.SentAt.UnixMilli())
	}
	return b.hold(tx, r.ID, line{Type: typeDownstreamReceipt, SessionID: session, HostSession: r.Session, FCMData: encode(d)})
}

const maxHeld = 512 << 10 // bytes of a message to a BAL

// hold puts a message to a BAL into the state, where it stays until the BAL has acked it. Its
// key is made of the event's id, so it is there once, and the host's ids keep the order
// within a device (P5).
func (b *bridge) hold(tx *sdk.Tx, event string, l line) error {
	if err := checkSessionID(l.SessionID); err != nil {
		return sdk.Reject(fmt.Errorf("no business layer can log on for this category: %w", err))
	}
	if n := len(encode(l)); n > maxHeld {
		return sdk.Reject(fmt.Errorf("a message of %d bytes: a business layer gets at most %d", n, maxHeld))
	}
	key := keyOf(l.SessionID, event)
	if n := b.expect(l.SessionID, key); n > 0 {
		return sdk.Retry(time.Minute, fmt.Errorf("%d messages wait for the business layer %s, as many as config's hold allows", n, l.SessionID))
	}
	err := tx.Put(key, l)
	if err != nil {
		b.forget(l.SessionID, key)
	}
	return err
}
