package main

import (
	"context"
	"strings"
	"sync"
	"time"

	"balhost/sdk"
)

// The plugin's state. A message to a BAL is under inPrefix until a connection has room for it,
// and under outPrefix, with its sequence_id, until the BAL has acked it. Handlers put under
// inPrefix; only Run touches the rest, so no two ever meet in one key.
//
//	in/SESSION/EVENT      EVENT is the event's id, which sorts by time; "!" and a hash: a refusal
//	out/SESSION/SEQUENCE  16 digits
//	next/SESSION          the next sequence_id
const (
	inPrefix   = "in/"
	outPrefix  = "out/"
	nextPrefix = "next/"
)

// mailbox is what memory knows of the messages that wait for one session id: how many there
// are, and where to look for them. The messages are in the state.
type mailbox struct {
	session string
	hint    chan struct{} // a handler is about to commit a message
	serving sync.Mutex    // held by the connection that serves

	mu       *sync.Mutex          // the bridge's; guards what follows
	live     *conn                // the one that logged on last
	expected map[string]time.Time // keys whose commit no list has shown yet, and since when
	order    []string             // of the last maxExpected of them; some may have been taken
	last     string               // the greatest key that was taken; nothing below it waits but what is expected
	held     int
}

// maxExpected is four times what the host lets the plugin have in flight.
const maxExpected = 1024

// box is the mailbox of a session id. It is called with mu held, and what it gives is used
// before mu is released or while it is live: an empty one goes with its connection.
func (b *bridge) box(session string) *mailbox {
	box := b.boxes[session]
	if box == nil {
		box = &mailbox{session: session, hint: make(chan struct{}, 1), mu: &b.mu, expected: map[string]time.Time{}}
		b.boxes[session] = box
	}
	return box
}

// keyOf is where a message to a BAL waits.
func keyOf(session, event string) string { return inPrefix + session + "/" + event }

// expect says that a handler will commit a message under key. It comes before the commit, so
// that no list starts behind key from then on. If as many wait as may, it gives how many.
func (b *bridge) expect(session, key string) (full int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	box := b.box(session)
	if box.held >= b.config.Hold {
		return box.held
	}
	box.expect(key)
	return 0
}

// forget says that the message is not committed.
func (b *bridge) forget(session, key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	box := b.box(session)
	if _, is := box.expected[key]; is {
		delete(box.expected, key)
		box.held--
	}
}

// expect is called with mu held.
func (b *mailbox) expect(key string) {
	if _, again := b.expected[key]; !again {
		b.held++
	}
	b.expected[key] = time.Now()
	if b.order = append(b.order, key); len(b.order) > maxExpected { // without a BAL nobody takes them
		b.drop(b.order[0])
		b.order = b.order[1:]
	}
	select {
	case b.hint <- struct{}{}:
	default:
	}
}

// waiting is about how many messages wait.
func (b *mailbox) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}

// drop forgets an expected key, so lists begin before it until it is taken. It is called with
// mu held.
func (b *mailbox) drop(key string) {
	if _, is := b.expected[key]; is {
		delete(b.expected, key)
		b.last = min(b.last, before(key))
	}
}

// before is less than key, and at most a few keys lie between.
func before(key string) string { return key[:len(key)-1] }

// expecting reports whether a handler's commit has not been seen yet. One that takes more
// than a minute has mostly failed.
func (b *mailbox) expecting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, since := range b.expected {
		if time.Since(since) > time.Minute {
			b.drop(key)
		}
	}
	return len(b.expected) > 0
}

// start is the key behind which all that waits is, and all that handlers are about to commit.
func (b *mailbox) start() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	start := b.last
	for key := range b.expected {
		start = min(start, before(key))
	}
	return start
}

// list gives up to max messages that wait, the oldest first. It does not begin at the first key
// each time: the state's deleted keys lie there, and it costs time to pass over them. A handler
// can begin and commit while the list is made. If its key lies before the list, a later message
// of the same device may be in it, so the list is made again.
func (b *mailbox) list(ctx context.Context, h *sdk.Host, max int) (items []sdk.Item, more bool, err error) {
	for after := b.start(); ; {
		items, more, err = h.List(ctx, inPrefix+b.session+"/", after, max)
		if err != nil {
			return nil, false, err
		}
		if start := b.start(); start < after {
			after = start
			continue
		}
		if len(items) == 0 && after == "" {
			b.mu.Lock()
			b.held = len(b.expected) // what was counted twice, or not committed, is forgotten
			b.mu.Unlock()
		}
		return items, more, nil
	}
}

// taken says that messages wait no more.
func (b *mailbox) taken(items []sdk.Item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, it := range items {
		delete(b.expected, it.Key)
		if b.last < it.Key {
			b.last = it.Key
		}
	}
	b.held = max(b.held-len(items), 0)
}

// lookAtAll has the next list begin at the first key.
func (b *mailbox) lookAtAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = ""
}

const errReplaced = peerError("another connection has logged on with this session id")

// takeOver makes c the only connection of the session id, as GIMMM did: the newest wins. It
// returns when the one before has ended, and false if a still newer one has come. After true
// the caller calls leave.
func (b *bridge) takeOver(c *conn, session string) bool {
	b.mu.Lock()
	box := b.box(session)
	old := box.live
	box.live, c.box = c, box
	b.mu.Unlock()
	if old != nil {
		old.end(errReplaced)
	}
	box.serving.Lock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if box.live != c {
		box.serving.Unlock()
		return false
	}
	box.last = "" // a new connection looks at all
	return true
}

func (b *bridge) leave(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	box := c.box
	if box.live == c {
		box.live = nil
		if box.held == 0 && len(box.expected) == 0 {
			delete(b.boxes, box.session)
		}
	}
	box.serving.Unlock()
}

// count finds what waits from before, in all mailboxes.
func (b *bridge) count(ctx context.Context) error {
	for after, more := "", true; more; {
		var items []sdk.Item
		var err error
		if items, more, err = b.host.List(ctx, inPrefix, after, 0); err != nil {
			return err
		}
		b.mu.Lock()
		for _, it := range items {
			session, _, _ := strings.Cut(strings.TrimPrefix(it.Key, inPrefix), "/")
			box := b.box(session)
			if _, is := box.expected[it.Key]; !is { // what a handler of this process has put is counted
				box.held++
			}
			after = it.Key
		}
		b.mu.Unlock()
	}
	return nil
}
