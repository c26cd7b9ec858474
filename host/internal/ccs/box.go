package ccs

import (
	"errors"
	"sync"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/fcm"
	"balhost/host/internal/xmpp"
)

// box lies between those who hear something and the writer: the reading
// goroutine and the ledger's callbacks put in, serve takes out. Nothing in it
// is the only copy of a message (P0): what is lost with it CCS sends again, or
// the outbox does.
type box struct {
	hint chan struct{} // "look again"

	mu        sync.Mutex // guards what follows
	turn      sync.Cond  // the reader may go on: there is room again, or shut
	mail      mail
	undecided int  // submitted, not called back yet
	bytes     int  // of the payloads that are undecided
	held      bool // the reader waits for room
	read      fifo // when each upstream that was admitted and is not acked was read, oldest first
	turned    turnedAway
	refused   error // why the first upstream was not stored; from then on nothing is acked (P1)
	deaf      bool  // no more upstreams are taken
	shut      bool
}

// mail is what came since the last look.
type mail struct {
	acks    []ack
	answers []answer
	asked   []request // the peer's iqs, to be answered
	drain   bool      // CCS wants this connection drained
	hurry   bool      // its place is needed: end as soon as all is answered
	tooBig  []ack     // of upstreams that the ledger can't hold
	bytes   int       // about what the peer's words in acks, answers and asked take
	stalled bool      // the reader waits for room, so answers may wait unread
	refused error     // see box; said again at every look
	ended   error     // why nothing more will be heard; said again at every look
}

// ack is owed for one upstream or receipt that is stored.
type ack struct {
	to, id fcm.Name
	read   time.Time
}

// bytes is about what its names take.
func (a ack) bytes() int {
	return len(a.to.Text) + len(a.to.JSON) + len(a.id.Text) + len(a.id.JSON)
}

// answer is CCS's word on one downstream.
type answer struct {
	id                string // message id
	nack              bool
	code, description string
	token             string            // registration_id of an ack
	refusal           *xmpp.StanzaError // instead of ack or nack; id is then the stanza's, which is the same
	echo              echo              // what else it says of the downstream
}

// request is an iq that the peer wants answered.
type request struct {
	id, from string
	ping     bool
}

// What one connection can have waiting for the ledger and for the writer: so
// many, and so many bytes, over by one stanza at most. CCS stops at about 100
// un-acked upstreams, and so do we at a window of downstreams. A peer that
// doesn't, or that reads nothing, is not read any further until the others have
// caught up.
const (
	maxHeld      = 4096
	maxHeldBytes = 16 << 20
)

func newBox() *box {
	b := &box{hint: make(chan struct{}, 1)}
	b.turn.L = &b.mu
	return b
}

// put changes the mail and wakes the writer.
func (b *box) put(change func(*mail)) {
	b.mu.Lock()
	change(&b.mail)
	b.mu.Unlock()
	b.ring()
}

// answer is put for what comes most. size is that of its payload.
func (b *box) answer(a answer, size int) {
	b.mu.Lock()
	b.mail.answers = append(b.mail.answers, a)
	b.mail.bytes += size
	b.mu.Unlock()
	b.ring()
}

// await is asked before each stanza is read. It waits while too much lies here
// or at the ledger.
func (b *box) await() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.held = b.full(); b.held; b.held = b.full() {
		b.turn.Wait()
	}
}

func (b *box) full() bool {
	m := &b.mail
	n := b.undecided + len(m.acks) + len(m.tooBig) + len(m.answers) + len(m.asked)
	return !b.shut && (n >= maxHeld || b.bytes+m.bytes >= maxHeldBytes)
}

func (b *box) ring() {
	select {
	case b.hint <- struct{}{}:
	default:
	}
}

// admit is asked before an upstream of size bytes is submitted. It says no
// where submitting makes no sense: one before it was not stored, or the
// connection is about to end. CCS sends it again.
func (b *box) admit(read time.Time, size int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.deaf || b.shut || b.refused != nil {
		b.turned.add(read)
		return false
	}
	b.read.push(read)
	b.undecided++
	b.bytes += size
	return true
}

// decided is the ledger's word on an upstream that was admitted with size. It
// comes in the order of the calls: after the first that was not stored, none is
// acked (P1).
func (b *box) decided(a ack, size int, err error) {
	b.mu.Lock()
	b.undecided--
	b.bytes -= size
	switch {
	case b.shut, b.refused != nil:
	case err == nil:
		b.mail.acks = append(b.mail.acks, a)
		b.mail.bytes += a.bytes()
	case errors.Is(err, entry.ErrTooLarge): // sent again it would be no smaller: the others go on
		b.mail.tooBig = append(b.mail.tooBig, a)
		b.mail.bytes += a.bytes()
	default:
		b.refused = err
	}
	b.turn.Signal()
	b.mu.Unlock()
	b.ring()
}

// take empties the box into m, whose old memory the box uses next.
func (b *box) take(m *mail) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*m, b.mail = b.mail, mail{acks: m.acks[:0], answers: m.answers[:0], asked: m.asked[:0]}
	m.stalled, m.refused, b.mail.ended = b.held, b.refused, m.ended
	b.turn.Signal()
}

// wrote says that n acks are on the wire.
func (b *box) wrote(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.read.drop(n)
}

// unacked is how many upstreams were read and not acked, each in a slot of
// CCS's own window, since when the oldest waits, and why they are not stored.
func (b *box) unacked() (n int, since time.Time, refused error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	since = b.read.first()
	if since.IsZero() {
		since = b.turned.since
	}
	return b.read.len() + b.turned.n, since, b.refused
}

// deafen takes no more upstreams. It reports whether all that were taken are decided.
func (b *box) deafen() (quiet bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deaf = true
	return b.undecided == 0 && len(b.mail.acks) == 0
}

// settled reports whether every upstream that was taken is decided.
func (b *box) settled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.undecided == 0 || b.refused != nil
}

// shutdown is the box's end: callbacks that come later are dropped, a waiting
// reader goes on.
func (b *box) shutdown() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	b.turn.Broadcast()
}

// turnedAway counts upstreams that are not admitted, and so never acked. There
// is no end to them while the ledger has no room, so nothing is kept of each.
type turnedAway struct {
	n     int
	since time.Time // when the first was read
}

func (t *turnedAway) add(read time.Time) {
	if t.n == 0 {
		t.since = read
	}
	t.n++
}

// fifo is a queue of times.
type fifo struct {
	times []time.Time
	head  int
}

func (q *fifo) len() int         { return len(q.times) - q.head }
func (q *fifo) push(t time.Time) { q.times = append(q.times, t) }

func (q *fifo) first() time.Time {
	if q.len() == 0 {
		return time.Time{}
	}
	return q.times[q.head]
}

func (q *fifo) drop(n int) {
	q.head += n
	if q.head >= len(q.times)/2 { // each time moves at most once for each that left
		q.times = q.times[:copy(q.times, q.times[q.head:])]
		q.head = 0
	}
}
