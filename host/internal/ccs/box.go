package ccs

import (
	"errors"
	"sync"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/fcm"
	"balhost/host/internal/xmpp"
)

// box is how the writer hears of things: the reading goroutine and the ledger's
// callbacks put them in, serve empties it. Nothing in it is the only copy of a
// message (P0): CCS sends again what is not acked, and the outbox what is not answered.
type box struct {
	hint chan struct{} // "look again"

	mu        sync.Mutex // guards what follows
	space     sync.Cond  // the reader may go on: the box is not full any more, or shut
	mail      mail
	undecided int  // upstreams that the ledger has and that are not stored yet
	bytes     int  // of their payloads
	held      bool // the reader waits for space
	read      fifo // when each upstream that was admitted and is not acked was read, oldest first
	turned    turnedAway
	notStored error // why the first upstream was not stored; from then on nothing is acked (P1)
	deaf      bool  // no more upstreams are admitted
	shut      bool
}

// mail is what came since the writer looked last.
type mail struct {
	acks    []ack
	answers []answer
	asked   []request // the peer's iqs, to be answered
	drain   bool      // CCS wants this connection drained
	hurry   bool      // its place is needed: end as soon as all is answered
	tooBig  []ack     // of upstreams that the ledger can't hold
	bytes   int       // about what the peer's words in acks, answers and asked take
	stalled bool      // the reader waits for space, so answers may wait unread

	// These stay: every look sees them again.
	notStored error // see box
	ended     error // why nothing more will be heard
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
	rejection         *xmpp.StanzaError // instead of ack or nack; id is then the stanza's, which is the same
	echo              echo              // what else it says of the downstream
}

// request is an iq that the peer wants answered.
type request struct {
	id, from string
	ping     bool
}

// This many things, and this many bytes, may wait on one connection for the ledger
// and the writer; one stanza more at most. CCS stops at about 100 un-acked
// upstreams, and we stop at a window of downstreams. A peer that does not stop, or
// that reads nothing, is not read any further until the ledger and the writer have
// caught up.
const (
	maxHeld      = 4096
	maxHeldBytes = 16 << 20
)

func newBox() *box {
	b := &box{hint: make(chan struct{}, 1)}
	b.space.L = &b.mu
	return b
}

// put changes the mail and wakes the writer.
func (b *box) put(change func(*mail)) {
	b.mu.Lock()
	change(&b.mail)
	b.mu.Unlock()
	b.ring()
}

// answer puts CCS's word on a downstream, whose payload has size bytes.
func (b *box) answer(a answer, size int) {
	b.mu.Lock()
	b.mail.answers = append(b.mail.answers, a)
	b.mail.bytes += size
	b.mu.Unlock()
	b.ring()
}

// await is called before each stanza is read. It waits while too much lies in the
// box or at the ledger.
func (b *box) await() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.held = b.full(); b.held; b.held = b.full() {
		b.space.Wait()
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

// admit is asked before an upstream of size bytes is submitted. It says no when
// one before it was not stored, or the connection is about to end: then CCS sends
// it again on another connection.
func (b *box) admit(read time.Time, size int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.deaf || b.shut || b.notStored != nil {
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
	case b.shut, b.notStored != nil:
	case err == nil:
		b.mail.acks = append(b.mail.acks, a)
		b.mail.bytes += a.bytes()
	case errors.Is(err, entry.ErrTooLarge): // it would be too large again: the others go on
		b.mail.tooBig = append(b.mail.tooBig, a)
		b.mail.bytes += a.bytes()
	default:
		b.notStored = err
	}
	b.space.Signal()
	b.mu.Unlock()
	b.ring()
}

// empty moves what is in the box to m. The box goes on with m's old memory.
func (b *box) empty(m *mail) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*m, b.mail = b.mail, mail{acks: m.acks[:0], answers: m.answers[:0], asked: m.asked[:0]}
	m.stalled, m.notStored, b.mail.ended = b.held, b.notStored, m.ended
	b.space.Signal()
}

// wrote says that n upstreams wait for no ack any more: it is on the wire, or never will be.
func (b *box) wrote(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.read.drop(n)
}

// unacked is how many upstreams were read and are not acked, since when the oldest
// waits, and why they are not stored. Each of them holds a slot of CCS's own window.
func (b *box) unacked() (n int, since time.Time, notStored error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	since = b.read.first()
	if since.IsZero() {
		since = b.turned.since
	}
	return b.read.len() + b.turned.n, since, b.notStored
}

// deafen admits no more upstreams. It reports whether all acks are with the writer.
func (b *box) deafen() (quiet bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deaf = true
	return b.undecided == 0 && len(b.mail.acks) == 0
}

// decidedAll reports whether no ack can follow any more.
func (b *box) decidedAll() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.undecided == 0 || b.notStored != nil
}

// shutdown is the box's end: what callbacks say later is dropped, and a reader that
// waits goes on.
func (b *box) shutdown() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	b.space.Broadcast()
}

// turnedAway counts upstreams that are not admitted, and so never acked. They may be
// many while the ledger has no room, so nothing is kept of each.
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
	if q.head >= len(q.times)/2 { // so on average each is moved once
		q.times = q.times[:copy(q.times, q.times[q.head:])]
		q.head = 0
	}
}
