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

// Limits of a Tx. A call that would exceed one fails with ErrInvalid and leaves
// the Tx as it was: a handler that ignores the error commits the rest.
const (
	MaxChanges     = message.MaxChanges     // downstreams, keys written and keys read
	MaxChangeBytes = message.MaxChangeBytes // bytes of all of them together
	MaxKey         = message.MaxKey         // bytes of a state key
	MaxValue       = message.MaxValue       // bytes of one value, as JSON
)

// Tx is what a handler does: downstreams and state, committed together with
// the event when the handler returns nil, and not at all otherwise (P7). It ends
// with its handler. Nothing is visible to others before the commit; a plugin's
// state is its own and survives its replacement.
//
// A Tx is no snapshot: each first Get of a key sees what is committed at that
// moment, so two Gets can see the state before and after another commit, and what
// you compute from both may belong to no state that ever was. Only the end is
// checked: when a key that was read has changed by then, nothing is committed and
// the handler runs again from its start, with the same Attempt, whether it
// returned nil, an error, Retry or Reject, or panicked. So it need not mistrust
// what it reads; but what it does outside of its Tx (a request, a mail, a line in a
// file) happens once more with each run. Give such calls an id that is the same
// each time, as the event's is, or make them from Outcome or Run.
type Tx struct {
	calls    *calls // for Get
	event    string // id of the event; "" in Host.Update
	session  string // of the event: the default for downstreams
	delivery uint64 // of the event; 0 in Host.Update

	mu     sync.Mutex // guards what follows
	ended  bool
	sends  []*wire.Downstream
	writes map[string]*wire.Write
	reads  map[string]*wire.Reply // what Get saw first, for the rest of the Tx
	bytes  int
}

var errEnded = errors.New("this Tx has ended with its handler: nothing more can be done in it")

// Send adds a downstream and returns the id it will have, which is the same at
// every attempt of the event. What CCS would refuse is refused here, as
// ErrInvalid, and leaves the Tx as it was.
func (tx *Tx) Send(d Downstream) (messageID string, err error) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if d.MessageID == "" {
		d.MessageID = tx.nextID()
	}
	if d.Session == "" {
		d.Session = tx.session
	}
	p, size, err := encode(d)
	if err != nil {
		return "", err
	}
	if err := tx.grow(1, size); err != nil {
		return "", fmt.Errorf("send %s: %w", d.MessageID, err)
	}
	tx.sends = append(tx.sends, p)
	return d.MessageID, nil
}

// nextID is derived from the event and the call's index, so that a handler
// that runs again can't send twice (P2).
func (tx *Tx) nextID() string {
	if tx.event == "" {
		return ulid.Make().String()
	}
	return tx.event + "-" + strconv.Itoa(len(tx.sends)+1)
}

// Put sets a key of the plugin's state to v, as JSON of at most MaxValue bytes.
// nil becomes null, which is there; Delete removes a key.
func (tx *Tx) Put(key string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("put %q: %w: %w", key, ErrInvalid, err)
	}
	return tx.write("put", &wire.Write{Key: key, Value: value})
}

// Delete removes a key of the plugin's state; one that isn't there is no error.
func (tx *Tx) Delete(key string) error {
	return tx.write("delete", &wire.Write{Key: key, Delete: true})
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

// Get decodes a key of the plugin's state into v and says whether there is such
// a key; v is left alone when there is none. It sees the Tx's own writes, and
// the same value each time. When the key has changed by the commit, the handler
// runs again, which doesn't count as an attempt. A key that the Tx has put before
// its first Get is not read: the last commit of it counts. Where many handlers want
// one key, Get may wait a little for the one that has it.
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
		return true, fmt.Errorf("get %q: stored value does not fit a %T: %w", key, v, err)
	}
	return true, nil
}

// grow makes room for so many more changes and bytes, or says why not.
func (tx *Tx) grow(count, size int) error {
	if tx.ended {
		return errEnded
	}
	if err := wire.CheckSize(len(tx.sends)+len(tx.writes)+len(tx.reads)+count, tx.bytes+size); err != nil {
		return err
	}
	tx.bytes += size
	return nil
}

// end closes the Tx and returns what is to be committed; nil for nothing.
func (tx *Tx) end() *wire.Changes {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.ended = true
	if len(tx.sends)+len(tx.writes)+len(tx.reads) == 0 {
		return nil
	}
	c := &wire.Changes{Send: tx.sends}
	for _, w := range tx.writes {
		c.Write = append(c.Write, w)
	}
	for key, r := range tx.reads {
		c.Read = append(c.Read, &wire.Read{Key: key, Version: r.Version})
	}
	return c
}

// encode checks a downstream and gives it the wire's form, and its size there.
func encode(d Downstream) (*wire.Downstream, int, error) {
	checked, err := d.Checked()
	if err != nil {
		return nil, 0, fmt.Errorf("send: %w downstream: %w", ErrInvalid, err)
	}
	p := wire.DownstreamToProto(checked)
	return p, p.Size(), nil
}
