package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"balhost/sdk/message"
	"balhost/sdk/wire"

	"github.com/oklog/ulid/v2"
)

// Limits of a Tx. A call that would exceed one fails with ErrInvalid, and the Tx
// stays as it was before the call. If the handler ignores the error and returns
// nil, the rest is committed.
const (
	MaxChanges     = message.MaxChanges     // downstreams, timers, keys written, keys read, keys listed and lists, together
	MaxChangeBytes = message.MaxChangeBytes // bytes of all of them together
	MaxKey         = message.MaxKey         // bytes of a state key
	MaxValue       = message.MaxValue       // bytes of one value, or of a timer's data, as JSON
)

// Tx collects what a handler does: the downstreams that it sends, the state that it
// changes, and the timers that it sets. If the handler returns nil, all of it is committed together with
// the end of the event. Otherwise nothing is committed (P7). A Tx ends when its
// handler returns. Others see nothing of it before the commit. The state belongs to
// the plugin alone, and stays when the plugin is replaced.
//
// A Tx is not a snapshot. The first Get of a key returns what is committed at that
// moment, and List what is committed at its own. So two Gets can return values from before
// and after another commit, and values that never existed together. The host checks this
// when the handler ends: if a key that it read has changed, or one has come, gone or
// changed in what it listed, nothing is committed, and the handler runs again
// from its start, with the same Attempt. This is so after nil, an error, Retry,
// Reject and a panic. So a handler may trust what it reads.
//
// What a handler does outside of its Tx (a request, a mail, a line in a file)
// happens again in each run. Give such a call an id that is the same in each run,
// for example the event's id. Or make the call from Outcome or Run.
type Tx struct {
	calls    *calls // for Get
	sessions *sessions
	event    string // id of the event; "" in Host.Update
	session  string // of the event: the default for downstreams
	delivery uint64 // of the event; 0 in Host.Update
	timed    bool   // the plugin has a Timer handler
	span     string // in Host.Update that of its ctx, which its downstreams belong to

	mu     sync.Mutex // guards what follows
	ended  bool
	sends  []*wire.Downstream
	writes map[string]*wire.Write
	timers []*wire.Schedule       // at most one of a key
	cancel []string               // message ids
	reads  map[string]*wire.Reply // the first answer for each key; later Gets use it
	ranges []*wire.Range
	listed int // what the ranges count
	bytes  int
}

var errEnded = errors.New("this Tx has ended: its handler has returned")

// Send adds a downstream and returns the id that it will have. The id is the same
// at every attempt of the event. If the host has no such session, or the session's
// transport cannot carry the downstream, Send returns ErrInvalid, and the Tx stays as it
// was. Nothing leaves the host before the commit.
func (tx *Tx) Send(d Downstream) (messageID string, err error) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if d.MessageID == "" {
		d.MessageID = tx.nextID()
	}
	if d.Session == "" {
		d.Session = tx.session
	}
	p, size, err := encode(d, tx.sessions, tx.session)
	if err != nil {
		return "", err
	}
	if err := tx.grow(1, size); err != nil {
		return "", fmt.Errorf("send %s: %w", d.MessageID, err)
	}
	p.Traceparent = tx.span
	tx.sends = append(tx.sends, p)
	return d.MessageID, nil
}

// CancelSend cancels the plugin's downstream with this id, in whatever session it is, if
// it has not gone out by the commit: it ends as Canceled, with the code CANCELED, and
// Outcome hears of it. One that has gone out, even if it waits for another attempt, goes
// on; so does one that waited at a restart of the host, unless its NotBefore still lay
// ahead. An id that there is not is no error. The outcomes count towards the size of the
// commit, with the Context of each.
func (tx *Tx) CancelSend(messageID string) error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	err := message.CheckID(messageID)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrInvalid, err)
	} else {
		err = tx.grow(1, len(messageID))
	}
	if err != nil {
		return fmt.Errorf("cancel %.64q: %w", messageID, err)
	}
	tx.cancel = append(tx.cancel, messageID)
	return nil
}

// nextID is made of the event's id and the number of the call, so that a handler
// that runs again does not send twice (P2).
func (tx *Tx) nextID() string {
	if tx.event == "" {
		return ulid.Make().String()
	}
	return tx.event + "-" + strconv.Itoa(len(tx.sends)+1)
}

// Put sets a key of the plugin's state to v, as JSON of at most MaxValue bytes.
// Put of nil stores null, and the key exists. Use Delete to remove a key.
func (tx *Tx) Put(key string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("put %q: %w: %w", key, ErrInvalid, err)
	}
	return tx.write("put", &wire.Write{Key: key, Value: value})
}

// Delete removes a key of the plugin's state. A key that does not exist is no error.
func (tx *Tx) Delete(key string) error {
	return tx.write("delete", &wire.Write{Key: key, Remove: true})
}

func (tx *Tx) write(verb string, w *wire.Write) error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if err := w.Check(); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	count, size := 1, w.Size()
	if old := tx.writes[w.Key]; old != nil {
		count, size = 0, len(w.Value)-len(old.Value)
	}
	if err := tx.grow(count, size); err != nil {
		return fmt.Errorf("%s %q: %w", verb, w.Key, err)
	}
	if tx.writes == nil {
		tx.writes = map[string]*wire.Write{}
	}
	tx.writes[w.Key] = w
	return nil
}

// Get decodes the value of a key of the plugin's state into v, and reports whether
// the key exists. If not, v stays as it is. Get returns what this Tx has put, and
// otherwise the same value each time. If another commit changes the key before
// this one's, the handler runs again, and this counts as no attempt. A key that the
// Tx has put before its first Get is not compared: the last commit wins. If many
// handlers use one key, Get may wait for the handler that uses it now.
func (tx *Tx) Get(ctx context.Context, key string, v any) (bool, error) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if err := wire.CheckKey(key); err != nil {
		return false, fmt.Errorf("get: %w", err)
	}
	if w := tx.writes[key]; w != nil {
		return decode(key, w.Value, v)
	}
	r := tx.reads[key]
	if r == nil {
		if err := tx.grow(1, len(key)); err != nil {
			return false, fmt.Errorf("get %q: %w", key, err)
		}
		var err error
		if r, err = tx.calls.call(ctx, &wire.Call{Op: &wire.Call_Get{Get: key}, Delivery: tx.delivery}); err != nil {
			return false, fmt.Errorf("get %q: %w", key, err)
		}
		if tx.reads == nil {
			tx.reads = map[string]*wire.Reply{}
		}
		tx.reads[key] = r
	}
	return decode(key, r.Value, v)
}

func decode(key string, value []byte, v any) (bool, error) {
	if len(value) == 0 {
		return false, nil
	}
	if err := json.Unmarshal(value, v); err != nil {
		return true, fmt.Errorf("get %q: the stored value does not fit %T: %w", key, v, err)
	}
	return true, nil
}

// grow adds count changes and size bytes to the Tx, or says why they don't fit.
func (tx *Tx) grow(count, size int) error {
	if tx.ended {
		return errEnded
	}
	if err := wire.CheckSize(tx.count()+count, tx.bytes+size); err != nil {
		return err
	}
	tx.bytes += size
	return nil
}

// count is how many changes the Tx has.
func (tx *Tx) count() int {
	return len(tx.sends) + len(tx.writes) + len(tx.timers) + len(tx.cancel) + len(tx.reads) + tx.listed
}

// end closes the Tx and returns what is to be committed, or nil if it is empty.
func (tx *Tx) end() *wire.Changes {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.ended = true
	if tx.count() == 0 {
		return nil
	}
	c := &wire.Changes{Send: tx.sends, Schedule: tx.timers, Range: tx.ranges, Cancel: tx.cancel}
	for _, w := range tx.writes {
		c.Write = append(c.Write, w)
	}
	for key, r := range tx.reads {
		c.Read = append(c.Read, &wire.Read{Key: key, Version: r.Version})
	}
	return c
}

// encode checks a downstream, and returns its form on the wire and its size there.
// event is the session of the event that is handled.
func encode(d Downstream, among *sessions, event string) (*wire.Downstream, int, error) {
	checked, err := d.Checked()
	if err == nil {
		err = among.fit(checked, event)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("send: %w downstream: %w", ErrInvalid, err)
	}
	p := wire.DownstreamToProto(checked)
	return p, p.Size(), nil
}
